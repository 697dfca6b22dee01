package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/camada/camada/engine"
	"github.com/spf13/cobra"
)

func (a *app) createCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Make a container, to be started later",
		Example: `  camada create --name web -p 8080:80 web
  camada start web`,
		Args:        args(1, -1),
		Annotations: map[string]string{inNamespace: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Image, o.Args = args[0], args[1:]
			if err := o.complete(cmd.Flags()); err != nil {
				return &exitError{code: codeUsage, err: err}
			}
			o.OnPull, o.Warn = a.onPull(&o), a.warn
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				id, err := e.Create(cmd.Context(), o.RunOptions)
				if err == nil {
					fmt.Fprintln(a.stdout, id)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	o.register(f)
	f.Bool("help", false, "help for create")
	return cmd
}

func (a *app) startCommand() *cobra.Command {
	var o engine.StartOptions
	cmd := &cobra.Command{
		Use:   "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Start containers that do not run",
		Long: `Start containers that were made, or that have ended. What they wrote before is still there.

With -a or -i the command stays until the container ends, and its exit code is the container's.`,
		Example: `  camada start web db
  camada start -ai shell`,
		Args:        args(1, -1),
		Annotations: map[string]string{inNamespace: shared},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Attach = o.Attach || o.Interactive
			if o.Attach && len(args) > 1 {
				return usage(cmd, "-a and -i take one container")
			}
			o.Stdin, o.Stdout, o.Stderr = os.Stdin, os.Stdout, os.Stderr
			if o.Attach {
				signals, stop := passedOn()
				defer stop()
				o.Signals = signals
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				if o.Attach {
					return a.attached(cmd.Context(), e, args[0], o)
				}
				return a.each(args, func(name string) error {
					if _, err := e.Start(cmd.Context(), name, o); err != nil {
						return err
					}
					fmt.Fprintln(a.stdout, name)
					return nil
				})
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Attach, "attach", "a", false, "take the container's output, and pass signals on")
	f.BoolVarP(&o.Interactive, "interactive", "i", false, "give the container standard input")
	registerAttach(f, &o.DetachKeys, &o.NoSigProxy)
	return cmd
}

// attached starts a container and ends as it does.
func (a *app) attached(ctx context.Context, e *engine.Engine, name string, o engine.StartOptions) error {
	res, err := e.Start(ctx, name, o)
	if errors.Is(err, engine.ErrDetached) {
		return a.left()
	}
	if err != nil {
		return startError(err, codeFailed)
	}
	if res.ExitCode != 0 {
		return &exitError{code: res.ExitCode}
	}
	return nil
}

func (a *app) restartCommand() *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use: "restart [OPTIONS] CONTAINER...", Short: "Stop containers and start them again",
		Example: "  camada restart -t 3 web", Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.complete(cmd.Flags())
			// From outside of the user namespace, as in rm: what fails here fails, and is told, once more inside.
			if err := a.with(cmd.Context(), func(e *engine.Engine) error {
				for _, name := range args {
					_ = e.StopToRestart(cmd.Context(), name, o.StopOptions)
				}
				return nil
			}); err != nil {
				return err
			}
			if err := a.enterNamespace(cmd, shared); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					if err := e.Restart(cmd.Context(), name, o.StopOptions); err != nil {
						return err
					}
					fmt.Fprintln(a.stdout, name)
					return nil
				})
			})
		},
	}
	o.register(cmd.Flags())
	return cmd
}
