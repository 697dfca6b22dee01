package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/vuln/db"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	var s signerFlags
	signers := pflag.NewFlagSet("signers", pflag.ContinueOnError)
	s.addSigners(signers, "verify-key")
	var how, progress string
	cmd := &cobra.Command{
		Use: "update [OPTIONS]", Short: "Make the advisory database anew",
		Long: `Read advisories and make the database of them, in place of the one that is there. It stays as it was when anything cannot be read.

A source is a file, a directory with all below it, a URL, or oci://REFERENCE, an artifact of a registry. It holds exports of OSV (all.zip of one ecosystem or of all), single advisories in OSV's
form (such as a clone of GitHub's advisory database), the JSON of Debian's security tracker, Alpine's secdb, EPSS scores (CSV), or CISA's catalog of
exploited vulnerabilities (JSON). A database that "camada db update" made elsewhere is a source as well, alone.

Without --from the sources are those that CAMADA_ADVISORIES names, with spaces between them, or else OSV's own export of all ecosystems.

With --verify-key, or the flags of "camada verify" that name an owner of a certificate, each source must be an artifact that they signed ("camada db push --sign-key"): what is
not signed, or by somebody else, is refused before it is fetched. Instead of flags the environment can say so: CAMADA_ADVISORIES_KEY has public keys, with spaces between them;
CAMADA_ADVISORIES_IDENTITY, CAMADA_ADVISORIES_ISSUER and CAMADA_ADVISORIES_ROOTS have the owner of a certificate, its provider, and trusted_root.json or the certificates of an authority.

The same sources make the same file, byte for byte, when SOURCE_DATE_EPOCH is set; it is the time that the age of the database counts from.`,
		Example: `  camada db update
  camada db update --from /srv/mirror/osv --from epss_scores-current.csv.gz
  camada db update --from https://mirror.example.com/osv/Debian/all.zip --from https://mirror.example.com/osv/PyPI/all.zip
  camada db update --from oci://registry.example.com/security/advisories:latest
  camada db update --from oci://registry.example.com/security/advisories:latest --verify-key security.pub`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if oneChanged(signers) != "" {
				who, err := s.options(cmd)
				if err != nil {
					return err
				}
				o.Signers = &who
			}
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
	f.AddFlagSet(signers)
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
	var s signFlags
	signs := pflag.NewFlagSet("signs", pflag.ContinueOnError)
	s.addKey(signs, "sign-key")
	var progress string
	cmd := &cobra.Command{
		Use: "push [OPTIONS] NAME[:TAG]", Short: "Send the advisory database to a registry",
		Long: `Send the advisory database to a registry, as an artifact, so that other machines take it with "camada db update --from oci://NAME:TAG". What is printed is
its name by its digest.

With --sign-key, or --fulcio-url for an identity token, it is signed as "camada sign" does, before it gets its tag: "camada db update --verify-key" refuses any other.`,
		Example: `  camada db push registry.example.com/security/advisories:latest
  camada db push --sign-key camada.key registry.example.com/security/advisories:latest`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var by *engine.SigningKey
			if flag := oneChanged(signs); flag != "" {
				if by = &s.o.By; by.Key == "" && by.Fulcio == "" {
					return usage(cmd, "--%s needs --sign-key, or --fulcio-url", flag)
				}
				by.Password = a.keyPassword(s.password, false)
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				d, err := a.display(progress)
				if err != nil {
					return err
				}
				res, err := e.PushAdvisories(cmd.Context(), args[0], by, d)
				if err := errors.Join(err, d.Close()); err != nil {
					return err
				}
				fmt.Fprintln(a.stdout, res.Reference)
				return nil
			})
		},
	}
	cmd.Flags().AddFlagSet(signs)
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
