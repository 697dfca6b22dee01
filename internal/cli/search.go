package cli

import (
	"strconv"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) searchCommand() *cobra.Command {
	var o engine.SearchOptions
	var how string
	var noTrunc bool
	cmd := &cobra.Command{
		Use: "search [OPTIONS] [HOST/]TERM", Short: "Search a registry for images",
		Long: `Search docker.io for images. With a HOST, list the repositories of that registry whose names have TERM in them; all of them
for HOST/ alone. Many registries do not show such a list.`,
		Example: `  camada search --filter is-official=true postgres
  camada search localhost:5000/team
  camada search --format '{{.Name}}' registry.example.com/`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Term = args[0]
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				rows, err := e.Search(cmd.Context(), o)
				if err != nil {
					return err
				}
				return format.Table[engine.SearchRow]{Columns: []format.Column[engine.SearchRow]{
					{Header: "NAME", Value: func(r engine.SearchRow) string { return r.Name }},
					{Header: "DESCRIPTION", Value: func(r engine.SearchRow) string { return shorten(r.Description, 45, noTrunc) }},
					{Header: "STARS", Value: func(r engine.SearchRow) string { return strconv.Itoa(r.StarCount) }},
					{Header: "OFFICIAL", Value: func(r engine.SearchRow) string {
						if r.IsOfficial {
							return "[OK]"
						}
						return ""
					}},
				}}.Write(a.stdout, how, rows)
			})
		},
	}
	f := cmd.Flags()
	listFlag(f, &o.Filters, "filter", "f", "`stars=`N, is-official=true or is-automated=true")
	f.IntVar(&o.Limit, "limit", 0, "at most so `many` (default 25)")
	f.BoolVar(&noTrunc, "no-trunc", false, "do not shorten")
	f.StringVar(&how, "format", "", "table, json or a Go `template`")
	return cmd
}
