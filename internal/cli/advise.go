package cli

import (
	"fmt"
	"strconv"

	"github.com/camada/camada/build/advise"
	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/display"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) adviseCommand() *cobra.Command {
	var how string
	last := 20
	cmd := &cobra.Command{
		Use: "advise [OPTIONS] [BUILD|NAME|DIRECTORY]", Short: "Say how a Dockerfile could be arranged better, and what that would have saved",
		Long: `Say which instructions of a Dockerfile to move or to split, which COPY takes files that do not matter, which ARG comes
too early, and which layers hold caches of package managers.

The figures are those of the last builds of the same Dockerfile: they were measured, and are replayed with a cache that would
have known more. Nothing is estimated: without builds in the history there are no figures. Seconds are those of the longest
chain of steps that wait for each other; bytes are those of compressed layers that would not have been new. Figures
of different advice can overlap.`,
		Example: `  camada advise app
  camada advise --last 50 .
  camada advise --format '{{range .Advice}}{{.Line}} {{.SecondsPerBuild}}{{println}}{{end}}' app`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if last < 1 {
				return usage(cmd, "--last %d: want a number of builds", last)
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				r, err := e.Advise(cmd.Context(), firstOf(args), last)
				if err != nil {
					return err
				}
				if how != "" && how != "table" {
					return format.Show(a.stdout, how, r)
				}
				return a.printAdvice(r)
			})
		},
	}
	cmd.Flags().StringVar(&how, "format", "", "table, json or a Go `template`")
	cmd.Flags().IntVarP(&last, "last", "n", last, "look at the last `number` of builds")
	return cmd
}

func (a *app) printAdvice(r *advise.Report) error {
	builds := len(r.Builds) - 1
	if len(r.Advice) == 0 {
		if builds == 0 {
			fmt.Fprintln(a.stdout, "no advice: the history has only one build, and nothing to compare it with")
		} else {
			fmt.Fprintf(a.stdout, "no advice: over %s nothing would have saved anything\n", plural(builds, "build"))
		}
		return nil
	}
	type row struct {
		n int
		advise.Advice
	}
	var rows []row
	for i, v := range r.Advice {
		rows = append(rows, row{i + 1, v})
	}
	err := format.Table[row]{Columns: []format.Column[row]{
		{Header: "#", Value: func(r row) string { return strconv.Itoa(r.n) }},
		{Header: "LINE", Value: func(r row) string { return strconv.Itoa(r.Line) }},
		{Header: "SECONDS/BUILD", Value: func(r row) string { return fmt.Sprintf("%.2f", r.SecondsPerBuild) }},
		{Header: "BYTES/PUSH", Value: func(r row) string { return display.Bytes(r.BytesPerPush) }},
		{Header: "BUILDS", Value: func(r row) string { return fmt.Sprintf("%d of %d", r.Helped, r.Builds) }},
		{Header: "INSTRUCTION", Value: func(r row) string { return shorten(oneLine(r.Step), 60, false) }},
	}}.Write(a.stdout, "", rows)
	if err != nil {
		return err
	}
	for i, v := range r.Advice {
		fmt.Fprintf(a.stdout, "\n#%d %s\n   measured: %s\n", i+1, safe(v.Text), safe(v.Evidence))
		for _, s := range v.Steps {
			fmt.Fprintf(a.stdout, "   would have stayed cached: %s\n", safe(oneLine(s)))
		}
		if v.Assumes != "" {
			fmt.Fprintf(a.stdout, "   assumed: %s\n", safe(v.Assumes))
		}
	}
	return nil
}
