package cli

import (
	"errors"
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/display"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) copyCommand() *cobra.Command {
	var opts engine.CopyImageOptions
	var quiet bool
	var mode, how string
	cmd := &cobra.Command{
		Use: "copy [OPTIONS] SOURCE DESTINATION", Short: "Copy an image from one place to another",
		Long: `Copy an image from one place to another. Places are

  docker://HOST/NAME[:TAG|@DIGEST]   a registry
  ssh://[USER@]HOST[:PORT]/NAME[…]   the registry of a user at a machine: ssh starts "camada serve --stdio" there
  oci:DIR[:TAG]                      a directory: an OCI image layout
  oci-archive:FILE[:TAG]             such a layout as a tar
  docker-archive:FILE[:NAME]         what docker save writes and docker load reads
  NAME                               the store

Between registries the blobs go straight through: nothing is stored here, and what the destination has, or can take from another repository
of the same registry, is not sent. Of an index the image for this machine is copied, unless --platform or --all say otherwise.`,
		Example: `  camada copy docker://ghcr.io/org/app:1 docker://registry.example.com/app:1
  camada copy --all --referrers docker://ghcr.io/org/app:1 oci:mirror:1
  camada copy app docker-archive:app.tar:app:1
  camada copy --format json docker://debian:12 oci-archive:debian.tar`,
		Args: args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Source, opts.Destination = args[0], args[1]
			if quiet {
				mode = "quiet"
			}
			d, err := a.display(mode)
			if err != nil {
				return err
			}
			var res engine.CopyImageResult
			err = a.with(cmd.Context(), func(e *engine.Engine) error {
				res, err = e.CopyImage(cmd.Context(), opts, d)
				return err
			})
			if err := errors.Join(err, d.Close()); err != nil {
				return err
			}
			switch {
			case how != "":
				return format.Table[engine.CopyImageResult]{Columns: []format.Column[engine.CopyImageResult]{
					{Header: "SOURCE", Value: func(r engine.CopyImageResult) string { return r.Source }},
					{Header: "DESTINATION", Value: func(r engine.CopyImageResult) string { return r.Destination }},
					{Header: "DIGEST", Value: func(r engine.CopyImageResult) string { return r.Digest.String() }},
					{Header: "COPIED", Value: func(r engine.CopyImageResult) string { return display.Bytes(r.Bytes) }},
				}}.Write(a.stdout, how, []engine.CopyImageResult{res})
			case quiet:
				fmt.Fprintln(a.stdout, res.Digest)
			default:
				fmt.Fprintf(a.stdout, "%s: digest: %s size: %d\n", res.Destination, res.Digest, res.Size)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&opts.All, "all", "a", false, "copy an index with all its images")
	f.StringVar(&opts.Platform, "platform", "", "`platform` of the image, e.g. linux/arm64")
	f.BoolVar(&opts.Referrers, "referrers", false, "copy what is attached to the image too: SBOM, provenance, signatures")
	f.BoolVarP(&quiet, "quiet", "q", false, "print the digest only")
	f.StringVar(&mode, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	f.StringVar(&how, "format", "", "table, json or a Go `template`")
	return cmd
}
