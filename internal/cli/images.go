package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/display"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) imagesCommand() *cobra.Command {
	var quiet, noTrunc, digests, all bool
	var how string
	var filters []string
	cmd := &cobra.Command{
		Use: "images [OPTIONS] [REPOSITORY[:TAG]]", Aliases: []string{"ls"}, Short: "List images",
		Example: `  camada images
  camada images --digests app
  camada images --format '{{.Repository}}:{{.Tag}} {{.Size}}'`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				rows, err := e.Images(cmd.Context(), engine.ImageFilter{Name: name, Filters: filters})
				if err != nil {
					return err
				}
				if quiet {
					seen := map[string]bool{}
					for _, r := range rows {
						if !seen[r.ID] {
							seen[r.ID] = true
							fmt.Fprintln(a.stdout, shortID(r.ID, noTrunc))
						}
					}
					return nil
				}
				return format.Table[engine.ImageRow]{Columns: imageColumns(noTrunc, digests)}.Write(a.stdout, how, rows)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "accepted for docker's sake: there are no hidden images")
	f.BoolVarP(&quiet, "quiet", "q", false, "print IDs only")
	f.BoolVar(&noTrunc, "no-trunc", false, "do not shorten")
	f.BoolVar(&digests, "digests", false, "show digests")
	f.StringVar(&how, "format", "", "table, json or a Go `template`")
	listFlag(f, &filters, "filter", "f", "`reference=`PATTERN or label=NAME[=VALUE]")
	return cmd
}

func imageColumns(noTrunc, digests bool) []format.Column[engine.ImageRow] {
	cols := []format.Column[engine.ImageRow]{
		{Header: "REPOSITORY", Value: func(r engine.ImageRow) string { return r.Repository }},
		{Header: "TAG", Value: func(r engine.ImageRow) string { return r.Tag }},
	}
	if digests {
		cols = append(cols, format.Column[engine.ImageRow]{Header: "DIGEST", Value: func(r engine.ImageRow) string { return r.Digest }})
	}
	return append(cols,
		format.Column[engine.ImageRow]{Header: "IMAGE ID", Value: func(r engine.ImageRow) string { return shortID(r.ID, noTrunc) }},
		format.Column[engine.ImageRow]{Header: "CREATED", Value: func(r engine.ImageRow) string { return ago(r.CreatedAt) }},
		format.Column[engine.ImageRow]{Header: "SIZE", Value: func(r engine.ImageRow) string { return r.Size }},
	)
}

// shortID is docker's short form of an image's ID.
func shortID(id string, whole bool) string {
	if whole {
		return id
	}
	if len(id) > 7 && id[:7] == "sha256:" {
		id = id[7:]
	}
	return shorten(id, 12, false)
}

func (a *app) inspectCommand() *cobra.Command {
	var how string
	var o engine.InspectOptions
	cmd := &cobra.Command{
		Use: "inspect [OPTIONS] NAME...", Short: "Show all that is known of containers, images, networks and volumes",
		Example: `  camada inspect app
  camada inspect -f '{{.State.ExitCode}}' job
  camada inspect -f '{{range .Mounts}}{{.Source}} on {{.Destination}}{{println}}{{end}}' web
  camada inspect --type image -f '{{json .Config.Env}}' app`,
		Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.inspect(args, how, func(name string) (any, error) { return e.Inspect(cmd.Context(), name, o) })
			})
		},
	}
	cmd.Flags().StringVarP(&how, "format", "f", "", "json or a Go `template`")
	cmd.Flags().StringVar(&o.Type, "type", "", "`container`, image, network or volume; the first of them that has the name when it is not given")
	cmd.Flags().BoolVarP(&o.Size, "size", "s", false, "count what a container takes")
	return cmd
}

// inspect shows each of the things that are named: as one JSON array, or each through a template.
func (a *app) inspect(names []string, how string, f func(string) (any, error)) error {
	all := []any{}
	eachErr := a.each(names, func(name string) error {
		v, err := f(name)
		if err != nil {
			return err
		}
		if how != "" && how != "json" {
			return format.Show(a.stdout, how, v)
		}
		all = append(all, v)
		return nil
	})
	if how == "" || how == "json" {
		return errors.Join(format.Show(a.stdout, "", all), eachErr)
	}
	return eachErr
}

func (a *app) historyCommand() *cobra.Command {
	var noTrunc, quiet bool
	var how string
	cmd := &cobra.Command{
		Use: "history [OPTIONS] IMAGE", Short: "Show the instructions that made an image",
		Example: "  camada history --no-trunc app", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				rows, err := e.History(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if quiet {
					for _, r := range rows {
						fmt.Fprintln(a.stdout, shortID(r.ID, noTrunc))
					}
					return nil
				}
				return format.Table[engine.HistoryRow]{Columns: []format.Column[engine.HistoryRow]{
					{Header: "IMAGE", Value: func(r engine.HistoryRow) string { return shortID(r.ID, noTrunc) }},
					{Header: "CREATED", Value: func(r engine.HistoryRow) string { return ago(r.CreatedAt) }},
					{Header: "CREATED BY", Value: func(r engine.HistoryRow) string { return shorten(r.CreatedBy, 45, noTrunc) }},
					{Header: "SIZE", Value: func(r engine.HistoryRow) string { return r.Size }},
					{Header: "COMMENT", Value: func(r engine.HistoryRow) string { return r.Comment }},
				}}.Write(a.stdout, how, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&noTrunc, "no-trunc", false, "do not shorten")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print IDs only")
	cmd.Flags().StringVar(&how, "format", "", "table, json or a Go `template`")
	return cmd
}

func (a *app) rmiCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rmi [OPTIONS] IMAGE...", Short: "Remove images",
		Long: `Remove the tags of images. What a tag pointed to stays in its history ("camada log") and can be
rolled back to until garbage collection takes it ("camada gc").`,
		Example: "  camada rmi app:old", Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					gone, err := e.RemoveImage(cmd.Context(), name, force)
					for _, g := range gone {
						fmt.Fprintln(a.stdout, "Untagged:", g)
					}
					return err
				})
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "remove all tags of an ID, and those that a container uses")
	return cmd
}

func (a *app) saveCommand() *cobra.Command {
	var o engine.SaveOptions
	var output string
	cmd := &cobra.Command{
		Use: "save [OPTIONS] IMAGE...", Short: "Write images to an archive",
		Long: `Write images to an archive that other tools load.

Formats:
  auto            an OCI layout that is a docker archive too: docker, podman, skopeo, crane read it
  oci-archive     an OCI layout in a tar
  docker-archive  what "docker save" wrote before version 25, with uncompressed layers
  oci-dir         an OCI layout in a directory (-o DIRECTORY)`,
		Example: `  camada save -o app.tar app:1.2
  camada save app | ssh host docker load
  camada save --format oci-dir -o layout app`,
		Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Images = args
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				if o.Format == "oci-dir" {
					if output == "" || output == "-" {
						return usage(cmd, "--format oci-dir needs -o DIRECTORY")
					}
					o.Directory = output
					return e.Save(cmd.Context(), o)
				}
				f, finish, err := a.outputFile(cmd, output)
				if err != nil {
					return err
				}
				o.Writer = f
				return finish(e.Save(cmd.Context(), o))
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "`file` to write (default: standard output)")
	cmd.Flags().StringVar(&o.Format, "format", "auto", "`auto`, oci-archive, docker-archive or oci-dir")
	cmd.Flags().BoolVar(&o.Referrers, "referrers", false, "save what is attached to the images too: SBOM, provenance, signatures (oci formats)")
	return cmd
}

func (a *app) loadCommand() *cobra.Command {
	var o engine.LoadOptions
	var input, mode string
	var quiet bool
	cmd := &cobra.Command{
		Use: "load [OPTIONS]", Short: "Read images from an archive",
		Long: `Read images from an archive that camada, docker, podman, buildah, skopeo, umoci or crane wrote: OCI or docker
archives, compressed or not, or a directory with an OCI layout.`,
		Example: `  camada load -i app.tar
  docker save app | camada load
  camada load -i layout/ -t app`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if quiet {
				mode = "quiet"
			}
			d, err := a.display(mode)
			if err != nil {
				return err
			}
			o.Input = os.Stdin
			if input != "" && input != "-" {
				st, err := os.Stat(input)
				if err != nil {
					return fmt.Errorf("open the archive: %w", err)
				}
				if st.IsDir() {
					o.Directory = input
				} else {
					f, err := os.Open(input)
					if err != nil {
						return fmt.Errorf("open the archive: %w", err)
					}
					defer f.Close()
					o.Input = f
				}
			} else if isTerminal(a.stdin) {
				return usage(cmd, "standard input is a terminal; name a file with -i or redirect")
			}
			var loaded []string
			err = a.with(cmd.Context(), func(e *engine.Engine) error {
				loaded, err = e.Load(cmd.Context(), o, d)
				return err
			})
			if err := errors.Join(err, d.Close()); err != nil {
				return err
			}
			for _, l := range loaded {
				fmt.Fprintln(a.stdout, "Loaded image:", l)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&input, "input", "i", "", "`file` or directory to read (default: standard input)")
	cmd.Flags().StringVarP(&o.Tag, "tag", "t", "", "`name` for an image that has none in the archive")
	cmd.Flags().StringVar(&mode, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

func (a *app) importCommand() *cobra.Command {
	var o engine.ImportOptions
	cmd := &cobra.Command{
		Use: "import [OPTIONS] FILE|- [NAME[:TAG]]", Short: "Make an image of a root file system in a tar",
		Example: "  camada import -c 'CMD [\"/bin/sh\"]' rootfs.tar.xz mine:1",
		Args:    args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Input = os.Stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("open the archive: %w", err)
				}
				defer f.Close()
				o.Input = f
			}
			if len(args) == 2 {
				o.Name = args[1]
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				id, err := e.Import(cmd.Context(), o)
				if err == nil {
					fmt.Fprintln(a.stdout, id)
				}
				return err
			})
		},
	}
	listFlag(cmd.Flags(), &o.Changes, "change", "c", "Dockerfile `instruction` for the image's config")
	cmd.Flags().StringVarP(&o.Message, "message", "m", "", "`comment` for the history")
	cmd.Flags().StringVar(&o.Platform, "platform", "", "`platform` of the image")
	return cmd
}

func (a *app) exportCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "export [OPTIONS] CONTAINER|IMAGE", Short: "Write the root file system of a container or an image as a tar",
		Example: "  camada export -o rootfs.tar web", Args: args(1, 1),
		Annotations: map[string]string{inNamespace: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				f, finish, err := a.outputFile(cmd, output)
				if err != nil {
					return err
				}
				return finish(e.Export(cmd.Context(), args[0], f))
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "`file` to write (default: standard output)")
	return cmd
}
