package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func containerColumns(noTrunc bool) []format.Column[engine.ContainerRow] {
	return []format.Column[engine.ContainerRow]{
		{Header: "CONTAINER ID", Value: func(r engine.ContainerRow) string { return shorten(r.ID, 12, noTrunc) }},
		{Header: "IMAGE", Value: func(r engine.ContainerRow) string { return r.Image }},
		{Header: "COMMAND", Value: func(r engine.ContainerRow) string { return `"` + shorten(r.Command, 20, noTrunc) + `"` }},
		{Header: "CREATED", Value: func(r engine.ContainerRow) string { return ago(r.CreatedAt) }},
		{Header: "STATUS", Value: func(r engine.ContainerRow) string { return r.Status }},
		{Header: "PORTS", Value: func(r engine.ContainerRow) string { return r.Ports }},
		{Header: "NAMES", Value: func(r engine.ContainerRow) string { return r.Names }},
	}
}

func (a *app) psCommand() *cobra.Command {
	var all, quiet, noTrunc, latest bool
	var how string
	var filters []string
	cmd := &cobra.Command{
		Use:     "ps [OPTIONS]",
		Aliases: []string{"container-ls"},
		Short:   "List containers",
		Example: `  camada ps -a
  camada ps -q --filter name=web
  camada ps --format '{{.ID}} {{.Status}}'`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				rows, err := e.Containers(cmd.Context(), engine.ContainerFilter{All: all || latest, Filters: filters})
				if err != nil {
					return err
				}
				if latest && len(rows) > 1 {
					rows = rows[:1]
				}
				if quiet {
					for _, r := range rows {
						fmt.Fprintln(a.stdout, shorten(r.ID, 12, noTrunc))
					}
					return nil
				}
				return format.Table[engine.ContainerRow]{Columns: containerColumns(noTrunc)}.Write(a.stdout, how, rows)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "show those that have ended too")
	f.BoolVarP(&quiet, "quiet", "q", false, "print IDs only")
	f.BoolVarP(&latest, "latest", "l", false, "show the latest only")
	f.BoolVar(&noTrunc, "no-trunc", false, "do not shorten")
	f.StringVar(&how, "format", "", "table, json or a Go `template`")
	f.StringArrayVarP(&filters, "filter", "f", nil, "`name=`, id=, label=, status= or ancestor=")
	return cmd
}

func (a *app) logsCommand() *cobra.Command {
	var o engine.LogOptions
	var tail string
	cmd := &cobra.Command{
		Use:     "logs [OPTIONS] CONTAINER",
		Short:   "Show what a container wrote",
		Example: "  camada logs -f --tail 20 web",
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Tail = -1
			if tail != "all" && tail != "" {
				if _, err := fmt.Sscanf(tail, "%d", &o.Tail); err != nil {
					return usage(cmd, "--tail %q: want a number or \"all\"", tail)
				}
			}
			o.Stdout, o.Stderr = a.stdout, a.stderr
			return a.with(cmd.Context(), func(e *engine.Engine) error { return e.Logs(cmd.Context(), args[0], o) })
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on showing what comes")
	f.StringVarP(&tail, "tail", "n", "all", "`number` of lines from the end")
	f.BoolVarP(&o.Timestamps, "timestamps", "t", false, "show when each line was written")
	return cmd
}

func (a *app) stopCommand() *cobra.Command {
	timeout := 10
	cmd := &cobra.Command{
		Use: "stop [OPTIONS] CONTAINER...", Short: "Ask containers to end, and end them when they do not",
		Example: "  camada stop -t 30 web", Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					if err := e.Stop(cmd.Context(), name, time.Duration(timeout)*time.Second); err != nil {
						return err
					}
					fmt.Fprintln(a.stdout, name)
					return nil
				})
			})
		},
	}
	cmd.Flags().IntVarP(&timeout, "time", "t", timeout, "`seconds` to wait before SIGKILL; -1 waits without end")
	return cmd
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

func (a *app) waitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "wait CONTAINER...", Short: "Wait for containers to end and print their exit codes",
		Example: "  camada wait job", Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					code, err := e.Wait(cmd.Context(), name)
					if err != nil {
						return err
					}
					fmt.Fprintln(a.stdout, code)
					return nil
				})
			})
		},
	}
}

func (a *app) rmCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rm [OPTIONS] CONTAINER...", Short: "Remove containers",
		Example: "  camada rm -f web", Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if force { // from outside of the user namespace, as in reset
				if err := a.with(cmd.Context(), func(e *engine.Engine) error { return e.EndAll(cmd.Context(), args) }); err != nil {
					return err
				}
			}
			if err := a.enterNamespace(cmd, true); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					if err := e.RemoveContainer(cmd.Context(), name, force); err != nil {
						return err
					}
					fmt.Fprintln(a.stdout, name)
					return nil
				})
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "end it first when it runs")
	cmd.Flags().BoolP("volumes", "v", false, "accepted for docker's sake: containers have no volumes of their own yet")
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
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0) // a device or a pipe is written as it is
		return f, func(err error) error {
			if cerr := f.Close(); err == nil {
				err = cerr
			}
			return err
		}, err
	}
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
