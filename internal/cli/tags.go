package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) tagCommand() *cobra.Command {
	var immutable bool
	var ci ciOptions
	cmd := &cobra.Command{
		Use: "tag [OPTIONS] SOURCE [TARGET]", Short: "Give an image a name",
		Long: `Make the tag TARGET point to what SOURCE points to. With --immutable the tag (TARGET, or SOURCE when there is
no TARGET) can never be moved or removed afterwards.

With --ci the tags follow from the state of git in the current directory, and TARGET is a name without a tag (default: that of SOURCE). A clean commit with the tag v1.2.3 gives 1.2.3, sha-COMMIT, and 1.2, 1 and
latest as far as no higher release is known; any other 1.2.3-5-gCOMMIT, sha-COMMIT and the branch, with -dirty when files were changed. All tags move or none. A release that is something else
already is refused with exit code 7.`,
		Example: `  camada tag app:latest app:1.2
  camada tag --immutable app:1.2
  camada tag --ci app:latest registry.example.com/app
  camada tag --ci --dry-run app`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if ci.on {
				if immutable {
					return usage(cmd, "--immutable and --ci: tags that follow a branch have to move")
				}
				return a.moveCI(cmd, ci, args)
			}
			if ci.dryRun || ci.how != "" || ci.dir != "." {
				return usage(cmd, "--dry-run, --format and --context are for --ci")
			}
			target := args[len(args)-1]
			if len(args) == 1 && !immutable {
				return usage(cmd, "%q requires SOURCE and TARGET", cmd.CommandPath())
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return e.Tag(cmd.Context(), args[0], target, immutable)
			})
		},
	}
	cmd.Flags().BoolVar(&immutable, "immutable", false, "refuse every later move of the tag")
	ci.flags(cmd.Flags())
	return cmd
}

func (a *app) untagCommand() *cobra.Command {
	return &cobra.Command{
		Use: "untag NAME...", Short: "Remove tags; their history stays",
		Long:    `Remove tags of the store, or of a registry that is named as docker://HOST/NAME:TAG or ssh://HOST/NAME:TAG.`,
		Example: "  camada untag app:old\n  camada untag docker://registry.example.com/app:old", Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					full, err := e.Untag(cmd.Context(), name)
					if err == nil {
						fmt.Fprintln(a.stdout, "Untagged:", full)
					}
					return err
				})
			})
		},
	}
}

func (a *app) logCommand() *cobra.Command {
	var how string
	var noTrunc bool
	cmd := &cobra.Command{
		Use: "log [OPTIONS] NAME", Short: "Show what a tag pointed to, when, and what moved it",
		Long: `Show what a tag pointed to, the newest first. docker://HOST/NAME:TAG and ssh://HOST/NAME:TAG are tags of a registry, which keeps a history
when it is camada serve.`,
		Example: `  camada log app
  camada log docker://registry.example.com/app:1
  camada log ssh://me@server/app:1`, Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				rows, err := e.Log(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return format.Table[engine.LogRow]{Columns: []format.Column[engine.LogRow]{
					{Header: "ENTRY", Value: func(r engine.LogRow) string { return r.Entry }},
					{Header: "WHEN", Value: func(r engine.LogRow) string { return r.Time.Local().Format(time.DateTime) }},
					{Header: "VERB", Value: func(r engine.LogRow) string { return r.Verb }},
					{Header: "DIGEST", Value: func(r engine.LogRow) string { return shortID(r.Digest, noTrunc) }},
					{Header: "BEFORE", Value: func(r engine.LogRow) string { return shortID(r.Before, noTrunc) }},
					{Header: "NOTE", Value: func(r engine.LogRow) string { return r.Note }},
				}}.Write(a.stdout, how, rows)
			})
		},
	}
	cmd.Flags().StringVar(&how, "format", "", "table, json or a Go `template`")
	cmd.Flags().BoolVar(&noTrunc, "no-trunc", false, "do not shorten")
	return cmd
}

func (a *app) rollbackCommand() *cobra.Command {
	var o engine.RollbackOptions
	cmd := &cobra.Command{
		Use: "rollback [OPTIONS] NAME [N]", Short: "Make a tag point to what it pointed to before",
		Long: `Make a tag point to what it pointed to N moves before (1 when N is not given), as "camada log" counts them. The rollback is
an entry of the log too, so it can be taken back. --to names what it was by its digest instead. A tag that was removed comes back.

docker://HOST/NAME:TAG and ssh://HOST/NAME:TAG are tags of a registry, which can do so when it is camada serve.`,
		Example: `  camada rollback app
  camada rollback app:1.2 3
  camada rollback --to 58af37050c6b app:1.2
  camada rollback docker://registry.example.com/app:1`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Moves = 1
			if len(args) == 2 {
				var err error
				if o.Moves, err = strconv.Atoi(args[1]); err != nil || o.Moves < 1 {
					return usage(cmd, "%q is not a number of moves", args[1])
				}
				if o.To != "" {
					return usage(cmd, "a number of moves, or --to: not both")
				}
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				d, err := e.Rollback(cmd.Context(), args[0], o)
				if err == nil {
					fmt.Fprintf(a.stdout, "%s is %s again\n", args[0], d)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&o.To, "to", "", "`digest` of what it was, or the first digits of it")
	return cmd
}
