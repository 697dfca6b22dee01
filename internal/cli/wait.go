package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/spf13/cobra"
)

func (a *app) waitCommand() *cobra.Command {
	var o engine.WaitOptions
	interval := ""
	cmd := &cobra.Command{
		Use: "wait [OPTIONS] CONTAINER...", Short: "Wait for containers to end and print their exit codes",
		Long: `Wait for containers to end and print their exit codes. With --condition it is another state that is waited for; the exit code of a container
that has not ended is -1.`,
		Example: `  camada wait job
  camada wait --condition healthy --interval 1s web`,
		Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.Interval, err = waitInterval(interval); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					code, err := e.Wait(cmd.Context(), name, o)
					if err != nil {
						return err
					}
					fmt.Fprintln(a.stdout, code)
					return nil
				})
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.Conditions, "condition", nil, "`state` to wait for: created, running, paused, restarting, exited, healthy, unhealthy or removed; can be repeated")
	f.StringVarP(&interval, "interval", "i", "", "`time` between two looks at the condition, or milliseconds (default: 250ms)")
	return cmd
}

// waitInterval reads a time, or a number of milliseconds.
func waitInterval(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if ms, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(ms) * time.Millisecond, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errdefs.Invalid("--interval %q: want a time such as 1s, or milliseconds", text)
	}
	return d, nil
}
