package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/anatomy/imagelint"
	"github.com/camada/camada/build"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/dockerfile/lint"
	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/internal/cli/lintreport"
	"github.com/spf13/cobra"
)

// lintOptions are the flags of lint: those of hadolint, by the same names.
type lintOptions struct {
	format, config, threshold       string
	platform                        string
	ignored, registries, labels     []string
	errors, warnings, infos, styles []string
	strictLabels, noPragmas, noFail bool
	fix, rules                      bool
}

func (a *app) lintCommand() *cobra.Command {
	var o lintOptions
	cmd := &cobra.Command{
		Use: "lint [OPTIONS] [DOCKERFILE|DIRECTORY|-|IMAGE]...", Short: "Say what in a Dockerfile or an image works and should not be done so",
		Long: `Look at Dockerfiles (default: ./Dockerfile) with the rules of BuildKit, hadolint and ShellCheck that make sense, under their codes, and
some of its own. Nothing is built, and no base image is asked for. What is no file is an image, as for "camada layers": its config and what is in its layers are
looked at.

Each finding has its place, a reason and what to do. --fix rewrites the file where the result stays the same.

Rules are switched off by "# hadolint ignore=CODE", "# camada ignore=CODE reason" or "# check=skip=CODE" above an instruction, by --ignore, or in
.camada-lint.yaml or .hadolint.yaml beside the Dockerfile or in the current directory. Rules that are off by default are switched on by giving them a severity.

Exit code 1 says that there is a finding of the severity of --failure-threshold or above.`,
		Example: `  camada lint
  camada lint --fix Dockerfile
  camada lint --failure-threshold warning --ignore DL3059 images/*/Dockerfile
  camada lint --format sarif . > lint.sarif
  camada lint --info DL3057 .              # switches a rule on
  camada lint app:1.2                      # an image
  camada lint --rules                      # the rules, and what they are about
  camada lint - < Dockerfile`,
		Args: args(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.rules {
				return a.printRules(o.format)
			}
			if len(args) == 0 {
				args = []string{"Dockerfile"}
			}
			return a.lint(cmd, o, args)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.format, "format", "f", "", "text, json, sarif, checkstyle, github, or a Go `template` for each finding")
	f.StringVarP(&o.threshold, "failure-threshold", "t", "", "fail from this `severity` on: error, warning, info, style, or none (default: info)")
	f.StringVarP(&o.config, "config", "c", "", "read this `file` in place of .camada-lint.yaml or .hadolint.yaml")
	listFlag(f, &o.ignored, "ignore", "", "`code` of a rule that is not applied; may be given again")
	listFlag(f, &o.errors, "error", "", "`code` of a rule whose findings are errors")
	listFlag(f, &o.warnings, "warning", "", "`code` of a rule whose findings are warnings")
	listFlag(f, &o.infos, "info", "", "`code` of a rule whose findings are information")
	listFlag(f, &o.styles, "style", "", "`code` of a rule whose findings are matters of style")
	listFlag(f, &o.registries, "trusted-registry", "", "`host` that images may come from; may be given again")
	listFlag(f, &o.labels, "require-label", "", "`NAME:KIND` of a label that must be there; KIND is text, rfc3339, semver, url, hash, spdx or email")
	f.BoolVar(&o.strictLabels, "strict-labels", false, "find labels that are not required")
	f.BoolVar(&o.noPragmas, "disable-ignore-pragma", false, "do not let comments switch rules off")
	f.BoolVar(&o.noFail, "no-fail", false, "exit with code 0 whatever is found")
	f.BoolVar(&o.fix, "fix", false, "rewrite the files where that does not change the result")
	f.StringVar(&o.platform, "platform", "", "os/arch[/variant] of an image for several")
	f.BoolVar(&o.rules, "rules", false, "list the rules")
	return cmd
}

// lint looks at files and images, and prints what it found.
func (a *app) lint(cmd *cobra.Command, o lintOptions, names []string) error {
	var rows []lintreport.Row
	failed := false
	for _, name := range names {
		look := a.lintDockerfile
		if isImage(name) {
			look = a.lintImage
		}
		cfg, found, err := look(cmd, o, name)
		if err != nil {
			return err
		}
		threshold := cfg.Threshold
		if threshold == lint.Ignore {
			threshold = lint.Info
		}
		for _, r := range found {
			level, err := lint.ParseSeverity(r.Level)
			failed = failed || err == nil && level >= threshold && !cfg.NoFail
		}
		rows = append(rows, found...)
	}
	if err := lintreport.Write(a.stdout, o.format, rows, lintreport.Options{Version: a.version, Color: color(a.stdout)}); err != nil {
		return err
	}
	if failed {
		return &exitError{code: codeFailed}
	}
	return nil
}

// isImage tells whether an argument names an image: what is no file, an archive, or an OCI layout.
func isImage(name string) bool {
	for _, p := range []string{"docker://", "oci:", "oci-archive:", "docker-archive:"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	info, err := os.Stat(name)
	switch {
	case name == "-" || name == "Dockerfile":
		return false
	case err != nil:
		return errors.Is(err, os.ErrNotExist)
	case info.IsDir():
		_, err = os.Stat(filepath.Join(name, "oci-layout"))
		return err == nil
	}
	return strings.HasSuffix(name, ".tar") || strings.Contains(filepath.Base(name), ".tar.") || strings.HasSuffix(name, ".tgz")
}

// lintImage looks at an image.
func (a *app) lintImage(cmd *cobra.Command, o lintOptions, name string) (lint.Config, []lintreport.Row, error) {
	if o.fix {
		return lint.Config{}, nil, usage(cmd, "--fix rewrites Dockerfiles, and %s is none", name)
	}
	cfg, err := o.settings(cmd, ".")
	if err != nil {
		return cfg, nil, err
	}
	d, err := a.display("auto")
	if err != nil {
		return cfg, nil, err
	}
	var found []engine.LintFinding
	err = a.with(cmd.Context(), func(e *engine.Engine) error {
		found, err = e.LintImage(cmd.Context(), name, o.platform, cfg, d)
		return err
	})
	if err = errors.Join(err, d.Close()); err != nil {
		return cfg, nil, err
	}
	rules := map[string]lint.Rule{}
	for _, r := range imagelint.Rules() {
		rules[r.Code] = r
	}
	var rows []lintreport.Row
	for _, f := range found {
		rows = append(rows, lintreport.Row{File: name, Code: f.Code, Level: f.Severity.String(), Message: f.Message, Reason: rules[f.Code].Reason, Fix: rules[f.Code].Fix,
			Layer: f.Layer, Instruction: f.Place.Instruction, Dockerfile: f.Place.Dockerfile, DockerfileLine: f.Place.Line, Paths: f.Paths})
	}
	return cfg, rows, nil
}

// lintDockerfile looks at a Dockerfile.
func (a *app) lintDockerfile(cmd *cobra.Command, o lintOptions, name string) (lint.Config, []lintreport.Row, error) {
	dir := "" // the context, when that is clear
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		dir = name
	}
	name, source, err := a.readDockerfile(name)
	if err != nil {
		return lint.Config{}, nil, err
	}
	if name == "Dockerfile" {
		dir = "."
	}
	cfg, err := o.settings(cmd, filepath.Dir(name))
	if err != nil {
		return cfg, nil, err
	}
	report, err := a.lintFile(cmd.Context(), o, name, source, dir, cfg)
	if err != nil {
		return cfg, nil, err
	}
	return cfg, lintRows(report), nil
}

// maxFixes is how often a file is looked at again after fixes: one can make room for another.
const maxFixes = 5

// lintFile looks at one file and, with --fix, mends it first.
func (a *app) lintFile(ctx context.Context, o lintOptions, name string, source []byte, dir string, cfg lint.Config) (*lint.Report, error) {
	report, err := build.Lint(ctx, name, source, dir, cfg)
	if err != nil || !o.fix {
		return report, err
	}
	mended := 0
	for range maxFixes {
		fixed, n := report.Fixed()
		if n == 0 {
			break
		}
		again, err := build.Lint(ctx, name, fixed, dir, cfg)
		if err != nil {
			return nil, err
		}
		report, source, mended = again, fixed, mended+n
	}
	if mended == 0 {
		return report, nil
	}
	if name == "-" {
		_, err = a.stdout.Write(source)
		return report, err
	}
	if err := rewriteFile(name, source); err != nil {
		return nil, fmt.Errorf("rewrite %s: %w", name, err)
	}
	fmt.Fprintf(a.stderr, "%s: %s mended\n", safe(name), plural(mended, "finding"))
	return report, nil
}

// rewriteFile gives a file another content, all at once.
func rewriteFile(name string, data []byte) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".camada-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// readDockerfile reads what an argument names: a file, the Dockerfile of a directory, or standard input.
func (a *app) readDockerfile(name string) (string, []byte, error) {
	if name == "-" {
		b, err := io.ReadAll(io.LimitReader(a.stdin, dockerfile.MaxSize+1))
		if err != nil {
			return name, nil, fmt.Errorf("read the Dockerfile from standard input: %w", err)
		}
		return name, b, nil
	}
	info, err := os.Stat(name)
	if err == nil && info.IsDir() {
		name = filepath.Join(name, "Dockerfile")
		info, err = os.Stat(name)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return name, nil, errdefs.NotFound("there is no Dockerfile at %s", name)
	case err != nil:
		return name, nil, err
	case !info.Mode().IsRegular() || info.Size() > dockerfile.MaxSize:
		return name, nil, errdefs.Invalid("%s: not a file of at most %d bytes", name, dockerfile.MaxSize)
	}
	b, err := os.ReadFile(name)
	return name, b, err
}

// settings are those of the configuration file and the flags; the flags win.
func (o *lintOptions) settings(cmd *cobra.Command, dir string) (lint.Config, error) {
	cfg, err := lintConfig(o.config, dir, ".")
	if err != nil {
		return cfg, err
	}
	cfg.Ignored = append(cfg.Ignored, commaList(o.ignored)...)
	cfg.TrustedRegistries = append(cfg.TrustedRegistries, commaList(o.registries)...)
	for _, l := range []struct {
		codes    []string
		severity lint.Severity
	}{{o.errors, lint.Error}, {o.warnings, lint.Warning}, {o.infos, lint.Info}, {o.styles, lint.Style}} {
		for _, code := range commaList(l.codes) {
			if !slices.ContainsFunc(lintRules(), func(r lint.Rule) bool { return r.Code == code || slices.Contains(r.Aliases, code) }) {
				return cfg, usage(cmd, "there is no rule %s; --rules lists them", code)
			}
			cfg.Override(code, l.severity)
		}
	}
	for _, l := range commaList(o.labels) {
		name, kind, _ := strings.Cut(l, ":")
		if err := cfg.RequireLabel(name, kind); err != nil {
			return cfg, usage(cmd, "--require-label %s: %v", l, err)
		}
	}
	if o.threshold != "" {
		if cfg.Threshold, err = lint.ParseSeverity(o.threshold); err != nil {
			return cfg, usage(cmd, "--failure-threshold: %v", err)
		}
	}
	cfg.StrictLabels = cfg.StrictLabels || o.strictLabels
	cfg.NoPragmas = cfg.NoPragmas || o.noPragmas
	cfg.NoFail = cfg.NoFail || o.noFail
	return cfg, nil
}

// lintConfig reads the configuration file of that name, or the first that one of the directories has.
func lintConfig(name string, dirs ...string) (lint.Config, error) {
	names := []string{name}
	if name == "" {
		names = nil
		for _, d := range dirs {
			for _, n := range []string{".camada-lint.yaml", ".hadolint.yaml", ".hadolint.yml"} {
				if p := filepath.Join(d, n); !slices.Contains(names, p) {
					names = append(names, p)
				}
			}
		}
	}
	const limit = 1 << 20
	for _, n := range names {
		f, err := os.Open(n)
		if errors.Is(err, os.ErrNotExist) && name == "" {
			continue
		}
		if err != nil {
			return lint.Config{}, err
		}
		b, err := io.ReadAll(io.LimitReader(f, limit+1))
		f.Close()
		if err != nil {
			return lint.Config{}, fmt.Errorf("read %s: %w", n, err)
		}
		if len(b) > limit {
			return lint.Config{}, errdefs.Limit("%s is larger than %d bytes", n, limit)
		}
		cfg, err := lint.ParseConfig(b)
		if err != nil {
			return cfg, fmt.Errorf("%s: %w", n, err)
		}
		return cfg, nil
	}
	return lint.Config{}, nil
}

func lintRows(r *lint.Report) []lintreport.Row {
	rules := map[string]lint.Rule{}
	for _, rule := range lint.Rules() {
		rules[rule.Code] = rule
	}
	var rows []lintreport.Row
	for _, f := range r.Findings {
		rule := rules[f.Code]
		row := lintreport.Row{
			File: r.Name, Line: f.Range.Start.Line, Column: f.Range.Start.Column, EndLine: f.Range.End.Line, EndColumn: f.Range.End.Column,
			Code: f.Code, Level: f.Severity.String(), Message: f.Message, Reason: rule.Reason, Fix: rule.Fix,
		}
		for _, e := range f.Edits {
			at := r.Range(e)
			row.Edits = append(row.Edits, lintreport.Edit{Line: at.Start.Line, Column: at.Start.Column, EndLine: at.End.Line, EndColumn: at.End.Column, Text: e.Text})
		}
		rows = append(rows, row)
	}
	return rows
}

// printRules lists the rules.
func (a *app) printRules(how string) error {
	return format.Table[lint.Rule]{Columns: []format.Column[lint.Rule]{
		{Header: "CODE", Value: func(r lint.Rule) string { return r.Code }},
		{Header: "ALSO", Value: func(r lint.Rule) string { return strings.Join(r.Aliases, " ") }},
		{Header: "SEVERITY", Value: func(r lint.Rule) string { return r.Severity.String() }},
		{Header: "FINDS", Value: func(r lint.Rule) string { return r.Name }},
	}}.Write(a.stdout, how, lintRules())
}

// lintRules are those for Dockerfiles and those for images, each once.
func lintRules() []lint.Rule {
	out := lint.Rules()
	for _, r := range imagelint.Rules() {
		if !slices.ContainsFunc(out, func(have lint.Rule) bool { return have.Code == r.Code }) {
			out = append(out, r)
		}
	}
	return out
}

// linter says what the linter looks for in a build: what the configuration beside the Dockerfile or the context says, and --lint. It is nil for nothing.
func (a *app) linter(cmd *cobra.Command, o *buildOptions, dir string) (*lint.Config, error) {
	from, err := lint.ParseSeverity(cmp.Or(o.lint, "warning"))
	if err != nil || from == lint.Ignore {
		return nil, usage(cmd, "--lint %s: want error, warning, info, style or none", o.lint)
	}
	if from == lint.None {
		return nil, nil
	}
	dirs := []string{"."}
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		dirs = append([]string{dir}, dirs...)
	}
	if o.file != "" && o.file != "-" {
		dirs = append([]string{filepath.Dir(o.file)}, dirs...)
	}
	cfg, err := lintConfig("", dirs...)
	if err != nil { // a build does not fail for it
		fmt.Fprintf(a.stderr, "camada: warning: the linter goes without its configuration: %v\n", err)
		cfg = lint.Config{}
	}
	cfg.Threshold = from
	return &cfg, nil
}
