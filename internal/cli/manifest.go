package cli

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/reference"
	"github.com/spf13/cobra"
)

func (a *app) manifestCommand() *cobra.Command {
	return a.group("manifest", "Look at manifests in registries", a.manifestInspectCommand())
}

func (a *app) manifestInspectCommand() *cobra.Command {
	var verbose, raw, insecure bool
	var how, platform string
	cmd := &cobra.Command{
		Use: "inspect [OPTIONS] NAME", Short: "Show the manifest or index of an image in its registry",
		Long: `Show what a registry has under a name: the manifest, or the index of several platforms. Nothing is fetched besides.

With --verbose each manifest of an index is shown, with descriptor and platform. --raw writes the bytes as they are: their digest is the image's.`,
		Example: `  camada manifest inspect debian:12
  camada manifest inspect --verbose --format '{{.Descriptor.Digest}}' debian:12
  camada manifest inspect --raw localhost:5000/app | sha256sum`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if verbose && (raw || platform != "") {
				return usage(cmd, "--verbose shows all manifests, and goes with neither --raw nor --platform")
			}
			if insecure {
				ref, err := reference.Parse(args[0])
				if err != nil {
					return err
				}
				a.insecure = append(a.insecure, ref.Host)
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				if verbose {
					return a.manifests(cmd, e, args[0], how)
				}
				m, err := e.RemoteManifest(cmd.Context(), args[0], platform)
				if err != nil {
					return err
				}
				if raw {
					_, err := a.stdout.Write(m.Raw)
					return err
				}
				if how != "" && how != "json" {
					return format.Show(a.stdout, how, json.RawMessage(m.Raw))
				}
				var b bytes.Buffer
				if err := json.Indent(&b, m.Raw, "", "    "); err != nil {
					return errdefs.With(errdefs.ErrCorrupt, err)
				}
				_, err = fmt.Fprintln(a.stdout, b.String())
				return err
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&verbose, "verbose", "v", false, "show descriptors, platforms and all manifests of an index")
	f.BoolVar(&raw, "raw", false, "write the bytes as they are")
	f.BoolVar(&insecure, "insecure", false, "the registry needs no valid certificate and may speak plain HTTP")
	f.StringVar(&platform, "platform", "", "the manifest of an index for this `platform`")
	f.StringVar(&how, "format", "", "json or a Go `template`")
	return cmd
}

// manifests shows all of an index as a list, or the one that there is, as docker does.
func (a *app) manifests(cmd *cobra.Command, e *engine.Engine, name, how string) error {
	all, isIndex, err := e.RemoteManifests(cmd.Context(), name)
	if err != nil {
		return err
	}
	if how != "" && how != "json" {
		for _, m := range all {
			if err := format.Show(a.stdout, how, m); err != nil {
				return err
			}
		}
		return nil
	}
	if isIndex {
		return format.Show(a.stdout, "", all)
	}
	return format.Show(a.stdout, "", all[0])
}
