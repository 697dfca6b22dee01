package cli

import (
	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) remoteTagsCommand() *cobra.Command {
	var o engine.RemoteTagsOptions
	var how string
	cmd := &cobra.Command{
		Use: "tags [OPTIONS] REPOSITORY", Short: "List the tags that a registry has of a repository",
		Long: `List the tags that a registry has of a repository, a line each. With --newest the highest versions alone, from the highest on.

Versions are those of semver.org, with or without a "v" before them; what follows a "-" (1.2.0-rc.1, 1.2-alpine) is in a range
only when the range names such a one.`,
		Example: `  camada tags debian
  camada tags --filter 'semver=^1.2' --sort version ghcr.io/org/app
  camada tags --filter 'pattern=*-slim' --newest 3 registry.example.com/app
  camada tags --format '{{.Name}}' localhost:5000/app`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Repository = args[0]
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				rows, err := e.RemoteTags(cmd.Context(), o)
				if err != nil {
					return err
				}
				return format.Table[engine.RemoteTag]{NoHeader: true, Columns: []format.Column[engine.RemoteTag]{
					{Header: "TAG", Value: func(r engine.RemoteTag) string { return r.Tag }},
				}}.Write(a.stdout, how, rows)
			})
		},
	}
	f := cmd.Flags()
	listFlag(f, &o.Filters, "filter", "f", "`pattern=`GLOB or semver=RANGE (^1.2, ~1.2.3, \">=1 <3\", 1.x)")
	f.IntVar(&o.Newest, "newest", 0, "only the `number` highest versions")
	f.StringVar(&o.Sort, "sort", "", "`order`: name, version, or none, as the registry has them (default name)")
	f.BoolVarP(&o.Reverse, "reverse", "r", false, "turn the order around")
	f.StringVar(&how, "format", "", "table, json or a Go `template`")
	return cmd
}
