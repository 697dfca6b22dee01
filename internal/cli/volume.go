package cli

import (
	"fmt"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) volumeGroup() *cobra.Command {
	return a.group("volume", "Look after volumes",
		a.volumeCreateCommand(), a.volumeInspectCommand(), a.volumeLsCommand(), a.volumePruneCommand(), a.volumeRmCommand())
}

func (a *app) volumeCreateCommand() *cobra.Command {
	var o engine.VolumeOptions
	var labels, options []string
	cmd := &cobra.Command{
		Use: "create [OPTIONS] [VOLUME]", Short: "Make a volume",
		Long: `Make a volume: a directory that outlives the containers that use it. With the options type, device and o it is a file system that is mounted
in each container that uses it, as mount(8) would.`,
		Example: `  camada volume create --label app=web data
  camada volume create -o type=tmpfs -o o=size=64m scratch
  camada volume create -o type=none -o o=bind -o device=/srv/data data`,
		Args: args(0, 1), Annotations: map[string]string{inNamespace: alone},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o.Name = strings.Join(args, "")
			if o.Labels, err = keyValues("--label", labels, func(string) (string, bool) { return "", true }); err != nil {
				return err
			}
			if o.Options, err = keyValues("--opt", options, func(string) (string, bool) { return "", false }); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				name, err := e.CreateVolume(cmd.Context(), o)
				if err == nil {
					fmt.Fprintln(a.stdout, name)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Driver, "driver", "d", "", "`driver`: local, which is the only one")
	listFlag(f, &labels, "label", "", "label, `NAME=VALUE`")
	listFlag(f, &options, "opt", "o", "option of the driver, `NAME=VALUE`: type, device or o")
	return cmd
}

func (a *app) volumeLsCommand() *cobra.Command {
	var quiet bool
	var how string
	var filters []string
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List volumes",
		Example: `  camada volume ls
  camada volume ls --filter dangling=true -q`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				rows, err := e.Volumes(cmd.Context(), filters)
				if err != nil {
					return err
				}
				if quiet {
					for _, r := range rows {
						fmt.Fprintln(a.stdout, r.Name)
					}
					return nil
				}
				return format.Table[engine.VolumeRow]{Columns: []format.Column[engine.VolumeRow]{
					{Header: "DRIVER", Value: func(r engine.VolumeRow) string { return r.Driver }},
					{Header: "VOLUME NAME", Value: func(r engine.VolumeRow) string { return r.Name }},
				}}.Write(a.stdout, how, rows)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "print names only")
	f.StringVar(&how, "format", "", "table, json or a Go `template`")
	listFlag(f, &filters, "filter", "f", "`name=`, label=, driver= or dangling=true|false")
	return cmd
}

func (a *app) volumeInspectCommand() *cobra.Command {
	var how string
	cmd := &cobra.Command{
		Use: "inspect [OPTIONS] VOLUME...", Short: "Show all that is known of volumes",
		Example: "  camada volume inspect -f '{{.Mountpoint}}' data", Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.inspect(args, how, func(name string) (any, error) { return e.InspectVolume(cmd.Context(), name) })
			})
		},
	}
	cmd.Flags().StringVarP(&how, "format", "f", "", "json or a Go `template`")
	return cmd
}

func (a *app) volumeRmCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rm [OPTIONS] VOLUME...", Aliases: []string{"remove"}, Short: "Remove volumes",
		Long:    "Remove volumes with all that is in them. One that a container uses, running or not, stays.",
		Example: "  camada volume rm data", Args: args(1, -1), Annotations: map[string]string{inNamespace: alone},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					if err := e.RemoveVolume(cmd.Context(), name); err != nil && !(force && errdefs.IsNotFound(err)) {
						return err
					}
					fmt.Fprintln(a.stdout, name)
					return nil
				})
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "it is no error that there is none")
	return cmd
}

func (a *app) volumePruneCommand() *cobra.Command {
	var p pruneFlags
	var all bool
	cmd := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove volumes that no container uses",
		Long:    "Remove the anonymous volumes that no container uses; with --all, those that have a name too.",
		Example: "  camada volume prune --all --filter label=temporary", Args: args(0, 0), Annotations: map[string]string{inNamespace: alone},
		RunE: func(cmd *cobra.Command, _ []string) error {
			warning := "This will remove anonymous local volumes not used by at least one container."
			if all {
				warning = "This will remove all local volumes not used by at least one container."
			}
			return a.prune(cmd, p, warning, func(e *engine.Engine, filter engine.PruneFilter) error {
				names, bytes, err := e.PruneVolumes(cmd.Context(), all, filter)
				a.pruned("Deleted Volumes", names)
				if err == nil {
					a.reclaimed(bytes)
				}
				return err
			})
		},
	}
	p.register(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "remove those that have a name too")
	return cmd
}
