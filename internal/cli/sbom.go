package cli

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/internal/harmless"
	"github.com/spf13/cobra"
)

// sbomOptions are the flags of sbom.
type sbomOptions struct {
	how, platform, output string
	fresh, noTrunc        bool
}

func (a *app) sbomCommand() *cobra.Command {
	var o sbomOptions
	cmd := &cobra.Command{
		Use: "sbom [OPTIONS] IMAGE|ARCHIVE|DIRECTORY", Short: "Show what packages are in an image, as SPDX, CycloneDX or a table",
		Long: `Show the software bill of materials of an image or a directory: the packages of the system (dpkg, apk, rpm) and of languages (Go and Rust programs,
npm, Python, jars and Maven projects, gems, Composer, NuGet, and their lock files), and which layer, instruction and line of the Dockerfile brought each.

IMAGE is as for "camada layers". A directory is the root of a file system, or that of a project; dir:PATH says that it is one. Without --fresh the SPDX document
is the one that is attached to the image, when there is one.`,
		Example: `  camada sbom app > app.spdx.json
  camada sbom --format cyclonedx -o app.cdx.json app
  camada sbom --format table ./project
  camada sbom --format '{{.Name}} {{.Version}} {{.PURL}} {{.Dockerfile}}:{{.Line}}' app`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.sbom(cmd, args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.how, "format", "", "spdx-json (the default), spdx3-json, cyclonedx, table, json or a Go `template` for each package")
	f.StringVarP(&o.output, "output", "o", "", "write the document to a `file`")
	f.StringVar(&o.platform, "platform", "", "`platform` of the image")
	f.BoolVar(&o.fresh, "fresh", false, "make it from the image, also when one is attached")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "do not shorten")
	return cmd
}

func (a *app) sbom(cmd *cobra.Command, name string, o sbomOptions) error {
	kind := ""
	switch o.how {
	case "", "spdx", "spdx-json":
		kind = engine.SBOMSPDX
	case "spdx3", "spdx3-json":
		kind = engine.SBOMSPDX3
	case "cyclonedx", "cyclonedx-json":
		kind = engine.SBOMCycloneDX
	}
	if kind == "" && o.output != "" {
		return usage(cmd, "--output is for the formats spdx-json, spdx3-json and cyclonedx")
	}
	return a.with(cmd.Context(), func(e *engine.Engine) error {
		d, err := a.display("auto")
		if err != nil {
			return err
		}
		if kind != "" {
			doc, err := e.SBOM(cmd.Context(), name, engine.SBOMOptions{Platform: o.platform, Format: kind, Fresh: o.fresh}, d)
			if err := errors.Join(err, d.Close()); err != nil {
				return err
			}
			return a.document(o.output, doc)
		}
		r, err := e.Packages(cmd.Context(), name, o.platform, d)
		if err := errors.Join(err, d.Close()); err != nil {
			return err
		}
		for _, f := range r.Unread {
			fmt.Fprintf(a.stderr, "camada: warning: the packages listed in /%s could not be read\n", harmless.Line(f))
		}
		return packageTable(o.noTrunc).Write(a.stdout, o.how, r.Packages)
	})
}

func packageTable(noTrunc bool) format.Table[engine.PackageRow] {
	return format.Table[engine.PackageRow]{Columns: []format.Column[engine.PackageRow]{
		{Header: "NAME", Value: func(r engine.PackageRow) string { return r.Name }},
		{Header: "VERSION", Value: func(r engine.PackageRow) string { return r.Version }},
		{Header: "TYPE", Value: func(r engine.PackageRow) string { return r.Type }},
		{Header: "LICENSE", Value: func(r engine.PackageRow) string { return shorten(r.License, 30, noTrunc) }},
		{Header: "PATH", Value: func(r engine.PackageRow) string { return r.Path }},
		{Header: "LAYER", Value: func(r engine.PackageRow) string {
			if r.Layer == 0 {
				return ""
			}
			return strconv.Itoa(r.Layer)
		}},
		{Header: "FROM", Value: func(r engine.PackageRow) string {
			if r.Line > 0 {
				return shorten(fmt.Sprintf("%s:%d %s", r.Dockerfile, r.Line, joined(r.Instruction)), 50, noTrunc)
			}
			return shorten(joined(r.Instruction), 50, noTrunc)
		}},
	}}
}
