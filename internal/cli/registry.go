package cli

import (
	"errors"
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/display"
	"github.com/spf13/cobra"
)

func (a *app) pullCommand() *cobra.Command {
	var opts engine.PullOptions
	var quiet bool
	var mode string
	cmd := &cobra.Command{
		Use: "pull [OPTIONS] NAME[:TAG|@DIGEST]", Short: "Fetch an image from its registry",
		Long: `Fetch an image from its registry and name it.

Credentials are those of docker and podman (~/.docker/config.json with its helpers, REGISTRY_AUTH_FILE, containers/auth.json).
What was fetched before is not fetched again, and a pull that was interrupted goes on where it stopped.`,
		Example: `  camada pull debian:12
  camada pull --platform linux/arm64 ghcr.io/org/app:1
  camada pull localhost:5000/app@sha256:…`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Image = args[0]
			if quiet {
				mode = "quiet"
			}
			d, err := a.display(mode)
			if err != nil {
				return err
			}
			var res engine.PullResult
			err = a.with(cmd.Context(), func(e *engine.Engine) error {
				res, err = e.Pull(cmd.Context(), opts, d)
				return err
			})
			if err := errors.Join(err, d.Close()); err != nil {
				return err
			}
			if !quiet {
				fmt.Fprintf(a.stdout, "Digest: %s\n", res.Digest)
				if res.New {
					fmt.Fprintf(a.stdout, "Status: Downloaded newer image for %s\n", res.Name)
				} else {
					fmt.Fprintf(a.stdout, "Status: Image is up to date for %s\n", res.Name)
				}
			}
			fmt.Fprintln(a.stdout, res.FullName)
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "print the name only")
	f.StringVar(&opts.Platform, "platform", "", "`platform` of the image, e.g. linux/arm64")
	f.StringVar(&mode, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	f.Bool("disable-content-trust", true, "accepted for docker's sake, and without effect")
	return cmd
}

func (a *app) pushCommand() *cobra.Command {
	var quiet bool
	var mode string
	cmd := &cobra.Command{
		Use: "push [OPTIONS] NAME[:TAG]", Short: "Send an image to its registry",
		Long: `Send an image, and what refers to it (SBOM, provenance), to the registry that its name begins with.

What the registry has is not sent again.`,
		Example: `  camada push ghcr.io/org/app:1
  camada tag app localhost:5000/app && camada push localhost:5000/app`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if quiet {
				mode = "quiet"
			}
			d, err := a.display(mode)
			if err != nil {
				return err
			}
			var res engine.PushResult
			err = a.with(cmd.Context(), func(e *engine.Engine) error {
				res, err = e.Push(cmd.Context(), args[0], d)
				return err
			})
			if err := errors.Join(err, d.Close()); err != nil {
				return err
			}
			if quiet {
				fmt.Fprintln(a.stdout, res.Name)
				return nil
			}
			fmt.Fprintf(a.stdout, "%s: digest: %s size: %d\n", res.Name, res.Digest, res.Size)
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "print the name only")
	f.StringVar(&mode, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	f.Bool("disable-content-trust", true, "accepted for docker's sake, and without effect")
	return cmd
}
