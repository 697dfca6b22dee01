package cli

import (
	"strconv"
	"time"

	"github.com/camada/camada/engine"
	"github.com/spf13/cobra"
)

func (a *app) logsCommand() *cobra.Command {
	var o engine.LogOptions
	var tail, since, until string
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] CONTAINER",
		Short: "Show what a container wrote",
		Example: `  camada logs -f --tail 20 web
  camada logs --since 10m --until 2026-01-02T15:04:05Z web`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o.Tail = -1
			if tail != "all" && tail != "" {
				if o.Tail, err = strconv.Atoi(tail); err != nil {
					return usage(cmd, "--tail %q: want a number or \"all\"", tail)
				}
			}
			now := time.Now()
			if o.Since, err = parseWhen(since, now); err != nil {
				return usage(cmd, "--since %s: %v", since, err)
			}
			if o.Until, err = parseWhen(until, now); err != nil {
				return usage(cmd, "--until %s: %v", until, err)
			}
			o.Stdout, o.Stderr = a.stdout, a.stderr
			return a.with(cmd.Context(), func(e *engine.Engine) error { return e.Logs(cmd.Context(), args[0], o) })
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on showing what comes")
	f.StringVarP(&tail, "tail", "n", "all", "`number` of lines from the end")
	f.BoolVarP(&o.Timestamps, "timestamps", "t", false, "show when each line was written")
	f.BoolVar(&o.Details, "details", false, "show what --log-opt labels, env and tag add")
	f.StringVar(&since, "since", "", "leave out what is older: a `time` (2026-01-02T15:04:05Z, seconds since 1970) or how long ago (10m)")
	f.StringVar(&until, "until", "", "leave out what is newer than this `time`")
	return cmd
}
