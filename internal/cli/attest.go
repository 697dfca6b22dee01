package cli

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) referrersCommand() *cobra.Command {
	var how, artifactType string
	var noTrunc, fetch bool
	cmd := &cobra.Command{
		Use: "referrers [OPTIONS] IMAGE", Short: "List what is attached to an image: SBOM, provenance, signatures",
		Long: `List the manifests that refer to an image: its SBOM, its provenance, signatures and whatever else names it as
its subject. They belong to the image's digest, never change it, and go where it goes.`,
		Example: `  camada referrers app
  camada referrers --fetch ghcr.io/o/app    # bring what the registry has
  camada referrers --format '{{.Digest}} {{.Predicate}}' app`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				if fetch {
					if _, err := e.FetchReferrers(cmd.Context(), args[0], nil); err != nil {
						return err
					}
				}
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
	cmd.Flags().BoolVar(&fetch, "fetch", false, "bring them from the registry of the image's name before")
	cmd.Flags().BoolVar(&noTrunc, "no-trunc", false, "do not shorten")
	cmd.Flags().StringVar(&how, "format", "", "table, json or a Go `template`")
	return cmd
}

func (a *app) provenanceCommand() *cobra.Command {
	var how, platform, output string
	cmd := &cobra.Command{
		Use: "provenance [OPTIONS] IMAGE", Short: "Show how an image was built, as SLSA provenance",
		Long: `Show the provenance that is attached to an image: an in-toto statement with SLSA provenance v1. "camada build --provenance" makes it.`,
		Example: `  camada provenance app
  camada provenance --format '{{json .predicate.buildDefinition.resolvedDependencies}}' app`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				all, err := e.Provenance(cmd.Context(), args[0], platform)
				if err != nil {
					return err
				}
				if how == "" {
					return a.document(output, bytes.Join(all, nil))
				}
				for _, doc := range all {
					var v any
					if err := json.Unmarshal(doc, &v); err != nil {
						return err
					}
					if err := format.Show(a.stdout, how, v); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&how, "format", "", "json or a Go `template`")
	f.StringVarP(&output, "output", "o", "", "write it to a `file`")
	f.StringVar(&platform, "platform", "", "`platform` of the image")
	return cmd
}

// document writes a document to a file or to standard output.
func (a *app) document(output string, doc []byte) error {
	if output == "" || output == "-" {
		_, err := a.stdout.Write(doc)
		return err
	}
	if err := replaceFile(output, doc); err != nil {
		return fmt.Errorf("write %s: %w", output, err)
	}
	return nil
}

// attestations are the flags --sbom and --provenance, as buildx has them.
type attestations struct {
	sbom, provenance string
	attest           []string
}

func (t *attestations) flags(f *pflag.FlagSet) {
	f.StringVar(&t.sbom, "sbom", "false", "attach an SBOM to the image: `true` or false")
	f.StringVar(&t.provenance, "provenance", "false", "attach how it was built: true, false, `mode=min` or mode=max")
	listFlag(f, &t.attest, "attest", "", "the same as `type=sbom` or type=provenance[,mode=max][,disabled=true]; may be given again")
	f.Lookup("sbom").NoOptDefVal, f.Lookup("provenance").NoOptDefVal = "true", "true"
}

// set reads the flags.
func (t *attestations) set(opts *engine.BuildOptions) error {
	for _, s := range t.attest {
		if err := t.add(s); err != nil {
			return err
		}
	}
	var err error
	if opts.SBOM, err = boolAttr("--sbom", t.sbom); err != nil {
		return err
	}
	switch on, err := boolAttr("", t.provenance); {
	case t.provenance == "mode=max":
		opts.Provenance = engine.ProvenanceMax
	case t.provenance == "mode=min" || err == nil && on:
		opts.Provenance = engine.ProvenanceMin
	case err != nil:
		return errdefs.Invalid("--provenance=%s: want true, false, mode=min or mode=max", t.provenance)
	}
	return nil
}

// add reads one --attest.
func (t *attestations) add(s string) error {
	fields, err := csvFields("--attest", s)
	if err != nil {
		return err
	}
	attrs, err := csvAttrs("--attest", s, fields)
	if err != nil {
		return err
	}
	off, err := boolAttr("disabled", attrs["disabled"])
	if err != nil {
		return err
	}
	switch {
	case attrs["type"] == "sbom" && off:
		t.sbom = "false"
	case attrs["type"] == "sbom":
		t.sbom = "true"
	case attrs["type"] == "provenance" && off:
		t.provenance = "false"
	case attrs["type"] == "provenance" && attrs["mode"] != "":
		t.provenance = "mode=" + attrs["mode"]
	case attrs["type"] == "provenance":
		t.provenance = "true"
	default:
		return errdefs.Invalid("--attest %s: want type=sbom or type=provenance", s)
	}
	return nil
}
