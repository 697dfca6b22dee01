package cli

import (
	"errors"
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/display"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) syncCommand() *cobra.Command {
	var opts engine.SyncOptions
	var quiet bool
	var mode, how string
	cmd := &cobra.Command{
		Use: "sync [OPTIONS] SOURCE DESTINATION", Short: "Make a registry or directory have the images of another",
		Long: `Bring the tags of a source that a destination does not have, or has otherwise. Sources are

  docker://HOST/REPOSITORY[:TAG]   a repository, or one tag of it
  docker://HOST                    all repositories that the registry lists
  oci:DIR                          an OCI image layout
  yaml:FILE                        a list: registries with images, images-by-tag-regex, images-by-semver, credentials and
                                   tls-verify, as skopeo sync has it

Destinations are docker://HOST[/PATH] and oci:DIR. A source that is one repository is brought to exactly this place (or keeps its name when only a
host is given); of several each keeps its name below it, with --scoped the host in front of that. Images of all platforms are brought.

A tag that has the same digest is left alone, so that a second run costs a request for each tag and side. What fails does not end the rest: the
exit code is 1, and the report says what.`,
		Example: `  camada sync docker://ghcr.io/org/app docker://registry.example.com/mirror/app
  camada sync --semver '>=1.2 <2' --newest 5 --delete docker://ghcr.io/org/app oci:mirror/app
  camada sync --tag 'v*' --exclude '*-rc*' --dry-run docker://ghcr.io/org/app docker://registry.example.com
  camada sync --scoped --format json yaml:images.yaml docker://registry.example.com/mirror`,
		Args: args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Source, opts.Destination = args[0], args[1]
			if quiet {
				mode = "quiet"
			}
			d, err := a.display(mode)
			if err != nil {
				return err
			}
			var rows []engine.SyncRow
			err = a.with(cmd.Context(), func(e *engine.Engine) error {
				return e.Sync(cmd.Context(), opts, d, func(r engine.SyncRow) {
					if rows = append(rows, r); r.Action == engine.SyncFailed {
						fmt.Fprintf(a.stderr, "%s: %s\n", r.Destination, r.Error)
					}
				})
			})
			err = errors.Join(err, d.Close())
			if !quiet && len(rows) > 0 {
				err = errors.Join(syncTable().Write(a.stdout, how, rows), err)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&opts.Tags, "tag", nil, "only tags that match this `pattern` (* ? [a-z]); may be repeated")
	f.StringArrayVar(&opts.Exclude, "exclude", nil, "no tags that match this `pattern`; may be repeated")
	f.StringVar(&opts.Regexp, "tag-regex", "", "only tags in which this regular `expression` is found")
	f.StringVar(&opts.Range, "semver", "", "only tags that are versions of this `range`, e.g. '>=1.2 <2', '~1.4', '^2'")
	f.IntVar(&opts.Newest, "newest", 0, "only the newest `number` of these: the highest versions with --semver, else those created last")
	f.BoolVar(&opts.Delete, "delete", false, "remove such tags of the destination that are not brought")
	f.BoolVar(&opts.DryRun, "dry-run", false, "change nothing, and say what would be done")
	f.BoolVar(&opts.Scoped, "scoped", false, "put the source's host into the path of what comes from several repositories")
	f.BoolVar(&opts.Referrers, "referrers", false, "bring what is attached to the images too: SBOM, provenance, signatures")
	f.StringVar(&opts.Platform, "platform", "", "bring the image for this `platform` alone, e.g. linux/arm64")
	f.BoolVarP(&quiet, "quiet", "q", false, "print failures only")
	f.StringVar(&mode, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	f.StringVar(&how, "format", "", "table, json or a Go `template`")
	return cmd
}

func syncTable() format.Table[engine.SyncRow] {
	return format.Table[engine.SyncRow]{Columns: []format.Column[engine.SyncRow]{
		{Header: "DESTINATION", Value: func(r engine.SyncRow) string { return r.Destination }},
		{Header: "ACTION", Value: func(r engine.SyncRow) string { return r.Action }},
		{Header: "DIGEST", Value: func(r engine.SyncRow) string { return shortID(r.Digest.String(), false) }},
		{Header: "SENT", Value: func(r engine.SyncRow) string { return display.Bytes(r.Bytes) }},
	}}
}
