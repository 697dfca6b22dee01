package cli

import (
	"errors"
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/display"
	"github.com/spf13/cobra"
)

func (a *app) baseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "base",
		Short: "Make base images from a distribution's packages",
		Args:  args(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.baseDebianCommand())
	return cmd
}

func (a *app) baseDebianCommand() *cobra.Command {
	var o engine.BaseOptions
	var progressMode string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "debian [OPTIONS]",
		Short: "Make a base image straight from a signed Debian archive",
		Long: `Make a root file system from a Debian archive: its signature is verified against the keyring, every
package against its digest. Mirror, keyring and proxy are those of this machine's apt unless
told otherwise. The same state of the archive gives the same digest.

Variants:
  minbase     the essential packages and apt: a system in which apt and dpkg work on
  distroless  the named packages and what they need: no shell, no dpkg, but its records for scanners`,
		Example: `  camada base debian -t debian
  camada base debian --suite bookworm --include build-essential -t buildbase
  camada base debian --variant distroless --include libc6,ca-certificates,tzdata -t static`,
		Args:        args(0, 0),
		Annotations: map[string]string{inNamespace: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if quiet {
				progressMode = "quiet"
			}
			d, err := a.display(progressMode)
			if err != nil {
				return err
			}
			var res engine.BaseResult
			err = a.with(cmd.Context(), func(e *engine.Engine) error {
				res, err = e.BaseDebian(cmd.Context(), o, d)
				return err
			})
			if err := errors.Join(err, d.Close()); err != nil {
				return err
			}
			if quiet {
				fmt.Fprintln(a.stdout, res.Descriptor.Digest)
			} else {
				fmt.Fprintf(a.stderr, "%s is %s (%s)\n", res.Name, res.Descriptor.Digest, plural(res.Packages, "package"))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Suite, "suite", "", "`suite` of the archive, e.g. bookworm (default: the one of this machine's apt)")
	f.StringVar(&o.Variant, "variant", "minbase", "`minbase` or distroless")
	f.StringSliceVar(&o.Include, "include", nil, "more `packages`, separated by commas")
	f.StringVar(&o.Mirror, "mirror", "", "`URL` of the archive (default: the one of this machine's apt)")
	f.StringVar(&o.Keyring, "keyring", "", "`file` with the archive's keys (default: the one of this machine's apt)")
	f.StringVar(&o.Snapshot, "snapshot", "", "state of the archive at a `date`, 20260131T000000Z; needs a --mirror with {timestamp} in it, or apt's setting for snapshots")
	f.StringVar(&o.Arch, "arch", "", "`architecture` (default: this machine's)")
	f.StringVarP(&o.Tag, "tag", "t", "", "`name` of the image (default: debian:SUITE)")
	f.StringVar(&progressMode, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	f.BoolVarP(&quiet, "quiet", "q", false, "print the digest only")
	return cmd
}
