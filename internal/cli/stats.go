package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

// statsPause is the time between two looks: the processors' share is over it.
const statsPause = time.Second

func (a *app) statsCommand() *cobra.Command {
	var all, once, noTrunc bool
	var how string
	cmd := &cobra.Command{
		Use: "stats [OPTIONS] [CONTAINER...]", Short: "Show what containers use, live",
		Long: `Show what containers use of processors, memory, networks, disks and process numbers, every second until it is interrupted. The
network's figures are those of its interfaces, without the loopback one. Of a container without limits the kernel may count neither memory nor
disks as a whole: then those of its living processes are added up.`,
		Example: `  camada stats
  camada stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.MemUsage}}' web`,
		Args: args(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				s, err := e.Stats(cmd.Context(), args, all)
				if err != nil {
					return err
				}
				return a.showStats(cmd.Context(), s, how, once, noTrunc)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "show those that do not run too")
	f.BoolVar(&once, "no-stream", false, "show the figures once")
	f.BoolVar(&noTrunc, "no-trunc", false, "do not shorten")
	f.StringVar(&how, "format", "", "table, json or a Go `template`")
	return cmd
}

// showStats writes the figures again and again: on a terminal in the same place.
func (a *app) showStats(ctx context.Context, s *engine.Sampler, how string, once, noTrunc bool) error {
	f, _ := a.stdout.(*os.File)
	live := !once && f != nil && isTerminal(f)
	for {
		select {
		case <-ctx.Done():
			return nil // that is how it ends
		case <-time.After(statsPause):
		}
		rows, err := s.Next(ctx)
		if err != nil {
			return err
		}
		if noTrunc {
			for i := range rows {
				rows[i].ID = rows[i].FullID()
			}
		}
		var b bytes.Buffer
		if live {
			b.WriteString("\033[2J\033[H") // clear the screen, and go to its corner
		}
		if err := (format.Table[engine.StatsRow]{Columns: statsColumns()}).Write(&b, how, rows); err != nil {
			return err
		}
		if _, err := io.Copy(a.stdout, &b); err != nil || once {
			return err
		}
	}
}

func statsColumns() []format.Column[engine.StatsRow] {
	return []format.Column[engine.StatsRow]{
		{Header: "CONTAINER ID", Value: func(r engine.StatsRow) string { return r.ID }},
		{Header: "NAME", Value: func(r engine.StatsRow) string { return r.Name }},
		{Header: "CPU %", Value: func(r engine.StatsRow) string { return r.CPUPerc }},
		{Header: "MEM USAGE / LIMIT", Value: func(r engine.StatsRow) string { return r.MemUsage }},
		{Header: "MEM %", Value: func(r engine.StatsRow) string { return r.MemPerc }},
		{Header: "NET I/O", Value: func(r engine.StatsRow) string { return r.NetIO }},
		{Header: "BLOCK I/O", Value: func(r engine.StatsRow) string { return r.BlockIO }},
		{Header: "PIDS", Value: func(r engine.StatsRow) string { return r.PIDs }},
	}
}
