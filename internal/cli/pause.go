package cli

import (
	"context"
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/spf13/cobra"
)

// namesCommand is a verb that does one thing to each container that is named, and prints the names.
func (a *app) namesCommand(cmd *cobra.Command, f func(context.Context, *engine.Engine, string) error) *cobra.Command {
	cmd.Args = args(1, -1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.with(cmd.Context(), func(e *engine.Engine) error {
			return a.each(args, func(name string) error {
				if err := f(cmd.Context(), e, name); err != nil {
					return err
				}
				fmt.Fprintln(a.stdout, name)
				return nil
			})
		})
	}
	return cmd
}

func (a *app) pauseCommand() *cobra.Command {
	return a.namesCommand(&cobra.Command{
		Use: "pause CONTAINER...", Short: "Make all processes of containers stand still",
		Long: `Make all processes of containers stand still, until "camada unpause". A paused container can be stopped, killed and removed; nothing can be executed in it.`,
		Example: `  camada pause web
  camada ps --filter status=paused`,
	}, func(ctx context.Context, e *engine.Engine, name string) error { return e.Pause(ctx, name) })
}

func (a *app) unpauseCommand() *cobra.Command {
	return a.namesCommand(&cobra.Command{
		Use: "unpause CONTAINER...", Short: "Let the processes of paused containers go on",
		Example: "  camada unpause web",
	}, func(ctx context.Context, e *engine.Engine, name string) error { return e.Unpause(ctx, name) })
}

func (a *app) renameCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rename CONTAINER NEW_NAME", Short: "Give a container another name",
		Example: "  camada rename web web-old", Args: args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error { return e.Rename(cmd.Context(), args[0], args[1]) })
		},
	}
}
