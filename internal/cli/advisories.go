package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/vuln/db"
	"github.com/spf13/cobra"
)

func (a *app) dbCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "db", Short: "Make and show the advisory database that scans use",
		Long: `The advisory database is one file, in the store or where CAMADA_DB says. "camada scan" looks packages up in it, without any network.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.dbUpdateCommand(), a.dbInfoCommand(), a.dbPushCommand())
	return cmd
}

func (a *app) dbUpdateCommand() *cobra.Command {
	var o engine.AdvisoryOptions
	var how, progress string
	cmd := &cobra.Command{
		Use: "update [OPTIONS]", Short: "Make the advisory database anew",
		Long: `Read advisories and make the database of them, in place of the one that is there. It stays as it was when anything cannot be read.

A source is a file, a directory with all below it, a URL, or oci://REFERENCE, an artifact of a registry. It holds exports of OSV (all.zip of one ecosystem or of all), single advisories in OSV's
form (such as a clone of GitHub's advisory database), the JSON of Debian's security tracker, Alpine's secdb, EPSS scores (CSV), or CISA's catalog of
exploited vulnerabilities (JSON). A database that "camada db update" made elsewhere is a source as well, alone.

Without --from the sources are those that CAMADA_ADVISORIES names, with spaces between them, or else OSV's own export of all ecosystems.

The same sources make the same file, byte for byte, when SOURCE_DATE_EPOCH is set; it is the time that the age of the database counts from.`,
		Example: `  camada db update
  camada db update --from /srv/mirror/osv --from epss_scores-current.csv.gz
  camada db update --from https://mirror.example.com/osv/Debian/all.zip --from https://mirror.example.com/osv/PyPI/all.zip
  camada db update --from oci://registry.example.com/security/advisories:latest`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				d, err := a.display(progress)
				if err != nil {
					return err
				}
				info, err := e.UpdateAdvisories(cmd.Context(), o, d)
				if err := errors.Join(err, d.Close()); err != nil {
					return err
				}
				return a.showAdvisories(how, info)
			})
		},
	}
	f := cmd.Flags()
	listFlag(f, &o.From, "from", "", "a `file, directory, URL or oci://REFERENCE` with advisories; may be given again")
	f.StringVar(&progress, "progress", "auto", "how to show progress: auto, plain, tty, json or quiet")
	f.StringVar(&how, "format", "", "json or a Go `template`")
	return cmd
}

func (a *app) dbInfoCommand() *cobra.Command {
	var how string
	var verify bool
	cmd := &cobra.Command{
		Use: "info [OPTIONS]", Short: "Show what is in the advisory database",
		Example: `  camada db info
  camada db info --verify
  camada db info --format '{{.Created}} {{.Advisories}}'`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				info, err := e.Advisories(verify)
				if err != nil {
					return err
				}
				return a.showAdvisories(how, info)
			})
		},
	}
	cmd.Flags().StringVar(&how, "format", "", "json or a Go `template`")
	cmd.Flags().BoolVar(&verify, "verify", false, "read all of it and compare it with its checksum")
	return cmd
}

func (a *app) dbPushCommand() *cobra.Command {
	var progress string
	cmd := &cobra.Command{
		Use: "push [OPTIONS] NAME[:TAG]", Short: "Send the advisory database to a registry",
		Long: `Send the advisory database to a registry, as an artifact, so that other machines take it with "camada db update --from oci://NAME:TAG". What is printed is
its name by its digest.`,
		Example: `  camada db push registry.example.com/security/advisories:latest`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				d, err := a.display(progress)
				if err != nil {
					return err
				}
				res, err := e.PushAdvisories(cmd.Context(), args[0], d)
				if err := errors.Join(err, d.Close()); err != nil {
					return err
				}
				fmt.Fprintln(a.stdout, res.Reference)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&progress, "progress", "auto", "how to show progress: auto, plain, tty, json or quiet")
	return cmd
}

func (a *app) showAdvisories(how string, i *engine.AdvisoryInfo) error {
	if how != "" && how != "table" {
		return format.Show(a.stdout, how, i)
	}
	day := func(t time.Time) string {
		if t.Unix() <= 0 {
			return "unknown"
		}
		return t.Format(time.DateOnly)
	}
	w := &lines{a.stdout}
	w.printf("%s: %s, made %s, newest advisory of %s\n", i.Path, engine.HumanSize(i.Size), i.Created.Format("2006-01-02 15:04 MST"), day(i.Newest))
	w.printf("%d advisories on %d packages in %d ecosystems, %d CVEs with EPSS or KEV, sha256:%s\n\n", i.Advisories, i.Packages, i.Ecosystems, i.Signals, i.Digest)
	err := format.Table[db.Source]{Columns: []format.Column[db.Source]{
		{Header: "SOURCE", Value: func(s db.Source) string { return s.Name }},
		{Header: "KIND", Value: func(s db.Source) string { return s.Kind }},
		{Header: "RECORDS", Value: func(s db.Source) string { return fmt.Sprint(s.Records) }},
		{Header: "NEWEST", Value: func(s db.Source) string { return day(s.Newest) }},
	}}.Write(a.stdout, "", i.Sources)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	return format.Table[db.Ecosystem]{Columns: []format.Column[db.Ecosystem]{
		{Header: "ECOSYSTEM", Value: func(e db.Ecosystem) string { return e.Name }},
		{Header: "PACKAGES", Value: func(e db.Ecosystem) string { return fmt.Sprint(e.Packages) }},
		{Header: "ENTRIES", Value: func(e db.Ecosystem) string { return fmt.Sprint(e.Entries) }},
	}}.Write(a.stdout, "", i.By)
}
