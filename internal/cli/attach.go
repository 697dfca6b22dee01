package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/camada/camada/engine"
	"github.com/spf13/cobra"
)

func (a *app) attachCommand() *cobra.Command {
	var o engine.AttachOptions
	cmd := &cobra.Command{
		Use:   "attach [OPTIONS] CONTAINER",
		Short: "Join the terminal or the streams of a running container",
		Long: `Join the standard streams of a running container; several may do that at once. The exit code is the container's.
The keys ctrl-p ctrl-q (--detach-keys) leave a container with a terminal, which goes on.`,
		Example: `  camada run -dit --name shell debian bash
  camada attach shell
  camada attach --no-stdin --sig-proxy=false web`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Stdin, o.Stdout, o.Stderr = os.Stdin, os.Stdout, os.Stderr
			if !o.NoSigProxy {
				signals, stop := passedOn()
				defer stop()
				o.Signals = signals
			}
			var code int
			err := a.with(cmd.Context(), func(e *engine.Engine) (err error) {
				code, err = e.Attach(cmd.Context(), args[0], o)
				return err
			})
			if errors.Is(err, engine.ErrDetached) {
				return a.left()
			}
			if err == nil && code != 0 {
				err = &exitError{code: code}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.NoStdin, "no-stdin", false, "pass no input on")
	registerAttach(f, &o.DetachKeys, &o.NoSigProxy)
	return cmd
}

// left tells that the user's keys left a container.
func (a *app) left() error {
	fmt.Fprintln(a.stderr, engine.ErrDetached)
	return nil
}
