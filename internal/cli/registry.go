package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/display"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) pullCommand() *cobra.Command {
	var opts engine.PullOptions
	var quiet, unpack, deltas, plan bool
	var mode, how string
	cmd := &cobra.Command{
		Use: "pull [OPTIONS] NAME[:TAG|@DIGEST]", Short: "Fetch an image from its registry",
		Long: `Fetch an image from its registry and name it. Its layers are unpacked while they are fetched, so that it can be run at once;
those of an image for another platform are only stored.

Credentials are those of docker and podman (~/.docker/config.json with its helpers, REGISTRY_AUTH_FILE, containers/auth.json).
What was fetched before is not fetched again, and a pull that was interrupted goes on where it stopped. Where the image was pushed with --delta, layers are made from those of earlier versions that are
here and the few bytes that they lack; what comes out is verified as always, and the layer is fetched as a whole when it is not right.

ssh://[USER@]HOST[:PORT]/NAME is an image of the registry of that user at that machine: ssh starts "camada serve --stdio" there. The image is called NAME here. A file or a
directory is written as in "camada copy": docker-archive:FILE[:NAME], oci-archive:FILE[:TAG], oci:DIR[:TAG].`,
		Example: `  camada pull debian:12
  camada pull --platform linux/arm64 ghcr.io/org/app:1
  camada pull localhost:5000/app@sha256:…
  camada pull --unpack=false ghcr.io/org/app:1   # to push or save it, not to run it
  camada pull --plan ghcr.io/org/app:1           # what would be fetched
  camada pull ssh://me@server/app:1              # is app:1 here
  camada pull docker-archive:app.tar`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Image, opts.Packed, opts.NoDelta = args[0], !unpack, !deltas
			if plan {
				return a.planPull(cmd.Context(), opts, how)
			}
			if how != "" {
				return usage(cmd, "--format is for --plan")
			}
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
	f.BoolVar(&unpack, "unpack", true, "unpack the layers while they are fetched")
	f.BoolVar(&deltas, "delta", true, "make layers from earlier versions that are here, where the registry tells how")
	f.BoolVar(&plan, "plan", false, "say what would be fetched, and fetch nothing")
	f.StringVar(&how, "format", "", "of --plan: table, json or a Go `template`")
	f.StringVar(&opts.Platform, "platform", "", "`platform` of the image, e.g. linux/arm64")
	f.StringVar(&mode, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	f.Bool("disable-content-trust", true, "accepted for docker's sake, and without effect")
	return cmd
}

// planPull shows what a pull would fetch.
func (a *app) planPull(ctx context.Context, opts engine.PullOptions, how string) error {
	return a.with(ctx, func(e *engine.Engine) error {
		plan, err := e.PlanPull(ctx, opts)
		if err != nil {
			return err
		}
		if how != "" && how != "table" {
			return format.Show(a.stdout, how, plan)
		}
		err = format.Table[engine.PullStep]{Columns: []format.Column[engine.PullStep]{
			{Header: "WHAT", Value: func(s engine.PullStep) string { return s.Kind }},
			{Header: "DIGEST", Value: func(s engine.PullStep) string { return shortID(s.Digest.String(), false) }},
			{Header: "SIZE", Value: func(s engine.PullStep) string { return engine.HumanSize(s.Size) }},
			{Header: "HOW", Value: func(s engine.PullStep) string { return s.How }},
			{Header: "FETCHED", Value: func(s engine.PullStep) string { return engine.HumanSize(s.Fetch) }},
		}}.Write(a.stdout, "", plan.Steps)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "\n%s: %s of %s would be fetched\n", plan.Name, engine.HumanSize(plan.Fetch+plan.Asked), engine.HumanSize(plan.Size))
		return err
	})
}

func (a *app) pushCommand() *cobra.Command {
	var quiet bool
	var mode, from string
	var secrets secretsPolicy
	cmd := &cobra.Command{
		Use: "push [OPTIONS] NAME[:TAG] [DESTINATION]", Short: "Send an image to its registry",
		Long: `Send an image, and what refers to it (SBOM, provenance), to the registry that its name begins with.

What the registry has is not sent again. With a DESTINATION it goes there, whatever it is called here.

ssh://[USER@]HOST[:PORT]/NAME sends the image NAME to the registry of that user at that machine: ssh starts "camada serve --stdio" there. A file or a directory is written as
in "camada copy": docker-archive:FILE[:NAME], oci-archive:FILE[:TAG], oci:DIR[:TAG].

With --delta machines that have an earlier version of the image fetch only what changed: the push publishes, as a referrer of the
image, how its layers are made from those of the version that the registry has under this name, and of those that this tag was before; three at
most. --delta=NAME,… names the versions, which are here or in a registry. Any registry keeps it; camada pull uses it.

--secrets=block looks for keys, tokens and passwords in the image first, in what the registry does not have yet, and sends nothing when there are any. The exit code is 5 then.`,
		Example: `  camada push ghcr.io/org/app:1
  camada push app localhost:5000/app
  camada push ssh://me@server/app:1                 # app:1, to the registry of me at server
  camada push app:1 docker-archive:app.tar
  camada push --delta ghcr.io/org/app:2             # from what :2 was before
  camada push --delta=ghcr.io/org/app:1 ghcr.io/org/app:2
  camada push --secrets=block ghcr.io/org/app:1`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy, err := secrets.policy()
			if err != nil {
				return err
			}
			o := engine.PushOptions{Secrets: policy}
			if len(args) == 2 && cmd.Flags().Changed("delta") {
				return usage(cmd, "--delta is for images that have the name of their registry: give no DESTINATION")
			}
			if quiet {
				mode = "quiet"
			}
			d, err := a.display(mode)
			if err != nil {
				return err
			}
			var res engine.PushResult
			var rows []engine.DeltaRow
			err = a.with(cmd.Context(), func(e *engine.Engine) error {
				switch {
				case len(args) == 2:
					res, err = e.PushTo(cmd.Context(), args[0], args[1], o, d)
				case cmd.Flags().Changed("delta"):
					res, rows, err = e.PushDelta(cmd.Context(), args[0], deltaFrom(from), o, d)
				default:
					res, err = e.Push(cmd.Context(), args[0], o, d)
				}
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
			if cmd.Flags().Changed("delta") {
				a.printDeltas(rows)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "print the name only")
	f.StringVar(&from, "delta", "", "publish what changed since earlier `versions` too; without names: since what the tag was before")
	f.Lookup("delta").NoOptDefVal = deltaAuto
	secrets.addFlags(f)
	f.StringVar(&mode, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	f.Bool("disable-content-trust", true, "accepted for docker's sake, and without effect")
	return cmd
}

// deltaAuto is the value of --delta without one.
const deltaAuto = "auto"

// deltaFrom are the versions that --delta names.
func deltaFrom(flag string) []string {
	if flag == deltaAuto {
		return nil
	}
	return strings.FieldsFunc(flag, func(r rune) bool { return r == ',' })
}

// printDeltas tells what was published.
func (a *app) printDeltas(rows []engine.DeltaRow) {
	if len(rows) == 0 {
		fmt.Fprintln(a.stdout, "delta: there is no earlier version to start from")
	}
	for _, r := range rows {
		what := fmt.Sprintf("%d of %d layers, %s in the registry", r.Made, r.Layers, engine.HumanSize(r.Size))
		switch {
		case r.Versions == 0:
			what = "there is no earlier version to start from"
		case r.Made == 0 && r.Skipped == 0:
			what = "all layers are in the earlier versions"
		case r.Skipped > 0:
			what += fmt.Sprintf("; %d cannot be made again to the bit, and have none", r.Skipped)
		}
		fmt.Fprintf(a.stdout, "delta of %s: %s\n", r.Digest, what)
	}
}
