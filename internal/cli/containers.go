package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func containerColumns(size bool) []format.Column[engine.ContainerRow] {
	columns := []format.Column[engine.ContainerRow]{
		{Header: "CONTAINER ID", Value: func(r engine.ContainerRow) string { return r.ID }},
		{Header: "IMAGE", Value: func(r engine.ContainerRow) string { return r.Image }},
		{Header: "COMMAND", Value: func(r engine.ContainerRow) string { return r.Command }},
		{Header: "CREATED", Value: func(r engine.ContainerRow) string { return r.RunningFor }},
		{Header: "STATUS", Value: func(r engine.ContainerRow) string { return r.Status }},
		{Header: "PORTS", Value: func(r engine.ContainerRow) string { return r.Ports }},
		{Header: "NAMES", Value: func(r engine.ContainerRow) string { return r.Names }},
	}
	if size {
		columns = append(columns, format.Column[engine.ContainerRow]{Header: "SIZE", Value: func(r engine.ContainerRow) string { return r.Size }})
	}
	return columns
}

func (a *app) psCommand() *cobra.Command {
	var o engine.ContainerFilter
	var quiet, latest bool
	var how string
	cmd := &cobra.Command{
		Use:   "ps [OPTIONS]",
		Short: "List containers",
		Example: `  camada ps -a
  camada ps -q --filter name=web
  camada ps -a --size --last 3
  camada ps --format '{{.ID}} {{.Status}}'`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				if latest {
					o.Last = 1
				}
				size := o.Size
				o.Size = size || strings.Contains(how, ".Size")
				rows, err := e.Containers(cmd.Context(), o)
				if err != nil {
					return err
				}
				if quiet {
					for _, r := range rows {
						fmt.Fprintln(a.stdout, r.ID)
					}
					return nil
				}
				return format.Table[engine.ContainerRow]{Columns: containerColumns(size)}.Write(a.stdout, how, rows)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.All, "all", "a", false, "show those that do not run too")
	f.BoolVarP(&quiet, "quiet", "q", false, "print IDs only")
	f.BoolVarP(&latest, "latest", "l", false, "show the latest only")
	f.IntVarP(&o.Last, "last", "n", 0, "show this `number` of the latest")
	f.BoolVar(&o.NoTrunc, "no-trunc", false, "do not shorten")
	f.BoolVarP(&o.Size, "size", "s", false, "show what the files of each take")
	f.StringVar(&how, "format", "", "table, json or a Go `template`")
	listFlag(f, &o.Filters, "filter", "f", "`name=`, id=, label=, status=, exited=, ancestor=, before=, since=, volume=, network=, health=, publish= or expose=")
	return cmd
}

func (a *app) stopCommand() *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use: "stop [OPTIONS] CONTAINER...", Short: "Ask containers to end, and end them when they do not",
		Example: "  camada stop -t 30 web", Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.complete(cmd.Flags())
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					if err := e.Stop(cmd.Context(), name, o.StopOptions); err != nil {
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

// stopOptions are what stop and restart have in common.
type stopOptions struct {
	engine.StopOptions
	seconds int
}

func (o *stopOptions) register(f *pflag.FlagSet) {
	f.IntVarP(&o.seconds, "time", "t", 10, "`seconds` to wait before SIGKILL; -1 waits without end (default: the container's --stop-timeout)")
	f.IntVar(&o.seconds, "timeout", 10, "the same as --time")
	_ = f.MarkHidden("timeout")
	f.StringVarP(&o.Signal, "signal", "s", "", "`signal` in place of the container's own")
}

func (o *stopOptions) complete(f *pflag.FlagSet) {
	if f.Changed("time") || f.Changed("timeout") {
		d := time.Duration(o.seconds) * time.Second
		o.Timeout = &d
	}
}

func (a *app) killCommand() *cobra.Command {
	sig := "KILL"
	cmd := &cobra.Command{
		Use: "kill [OPTIONS] CONTAINER...", Short: "Send a signal to containers",
		Example: "  camada kill -s HUP web", Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					if err := e.Kill(cmd.Context(), name, sig); err != nil {
						return err
					}
					fmt.Fprintln(a.stdout, name)
					return nil
				})
			})
		},
	}
	cmd.Flags().StringVarP(&sig, "signal", "s", sig, "`signal` by name or number")
	return cmd
}

func (a *app) rmCommand() *cobra.Command {
	var force, volumes bool
	cmd := &cobra.Command{
		Use: "rm [OPTIONS] CONTAINER...", Short: "Remove containers",
		Example: "  camada rm -f web", Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if force { // from outside of the user namespace, as in reset
				err := a.with(cmd.Context(), func(e *engine.Engine) error {
					gone, err := e.EndAll(cmd.Context(), args)
					for _, name := range gone { // those of run --rm
						fmt.Fprintln(a.stdout, name)
					}
					args = slices.DeleteFunc(slices.Clone(args), func(name string) bool { return slices.Contains(gone, name) })
					return err
				})
				if err != nil || len(args) == 0 {
					return err
				}
			}
			if err := a.enterNamespace(cmd, alone); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					err := e.RemoveContainer(cmd.Context(), name, force, volumes)
					if force && errdefs.IsNotFound(err) { // as it shall be
						fmt.Fprintln(a.stderr, "camada:", err)
						return nil
					}
					if err != nil {
						return err
					}
					fmt.Fprintln(a.stdout, name)
					return nil
				})
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "end it first when it runs")
	cmd.Flags().BoolVarP(&volumes, "volumes", "v", false, "remove the volumes that were made for it without a name, too")
	return cmd
}

// shorten cuts s to n characters unless whole.
func shorten(s string, n int, whole bool) string {
	if r := []rune(s); !whole && len(r) > n {
		if n > 12 {
			return string(r[:n-1]) + "…"
		}
		return string(r[:n])
	}
	return s
}

// ago says how long ago t was, in docker's words.
func ago(t time.Time) string {
	if t.IsZero() || t.Unix() <= 0 {
		return "N/A"
	}
	return engine.HumanDuration(time.Since(t)) + " ago"
}

// outputFile opens the file that -o names, or standard output, which must not be a terminal.
func (a *app) outputFile(cmd *cobra.Command, name string) (f *os.File, finish func(error) error, err error) {
	if name == "" || name == "-" {
		if isTerminal(os.Stdout) {
			return nil, nil, usage(cmd, "standard output is a terminal; name a file with -o or redirect")
		}
		return os.Stdout, func(err error) error { return err }, nil
	}
	return createFile(name)
}

// createFile makes a file that gets its name only when finish is called without an error.
func createFile(name string) (*os.File, func(error) error, error) {
	f, err := newFile(name)
	if err != nil {
		return nil, nil, fmt.Errorf("create %s: %w", name, err)
	}
	return f.File, func(err error) error {
		if err == nil {
			err = f.publish()
		}
		if err = errors.Join(err, f.discard()); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		return nil
	}, nil
}
