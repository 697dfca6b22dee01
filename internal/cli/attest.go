package cli

import (
	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) referrersCommand() *cobra.Command {
	var how, artifactType string
	var noTrunc bool
	cmd := &cobra.Command{
		Use: "referrers [OPTIONS] IMAGE", Short: "List what is attached to an image: SBOM, provenance, signatures",
		Long: `List the manifests that refer to an image: its SBOM, its provenance, signatures and whatever else names it as
its subject. They belong to the image's digest, never change it, and go where it goes.`,
		Example: `  camada referrers app
  camada referrers --format '{{.Digest}} {{.Predicate}}' app`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				rows, err := e.Referrers(cmd.Context(), args[0], artifactType)
				if err != nil {
					return err
				}
				return format.Table[engine.ReferrerRow]{Columns: []format.Column[engine.ReferrerRow]{
					{Header: "DIGEST", Value: func(r engine.ReferrerRow) string { return shortID(r.Digest, noTrunc) }},
					{Header: "TYPE", Value: func(r engine.ReferrerRow) string { return r.Type }},
					{Header: "PREDICATE", Value: func(r engine.ReferrerRow) string { return r.Predicate }},
					{Header: "SUBJECT", Value: func(r engine.ReferrerRow) string { return shortID(r.Subject, noTrunc) }},
					{Header: "SIZE", Value: func(r engine.ReferrerRow) string { return r.Size }},
				}}.Write(a.stdout, how, rows)
			})
		},
	}
	cmd.Flags().StringVar(&artifactType, "artifact-type", "", "only those of this `type`")
	cmd.Flags().BoolVar(&noTrunc, "no-trunc", false, "do not shorten")
	cmd.Flags().StringVar(&how, "format", "", "table, json or a Go `template`")
	return cmd
}
