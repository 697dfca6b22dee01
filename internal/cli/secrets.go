package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/internal/cli/lintreport"
	"github.com/camada/camada/internal/harmless"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

// secretsOptions are the flags of secrets.
type secretsOptions struct {
	how, platform, allow string
	exit                 int
	partial, noTrunc     bool
}

func (a *app) secretsCommand() *cobra.Command {
	var o secretsOptions
	cmd := &cobra.Command{
		Use: "secrets [OPTIONS] IMAGE|ARCHIVE|DIRECTORY", Short: "Find keys, tokens and passwords in an image or a directory",
		Long: `Look for secrets in all layers of an image, also in files that a later layer removes, and in its variables, labels, annotations, commands and history; or in the
files of a directory.

IMAGE is as for "camada layers". What was found in a layer is remembered, so that only new layers are read. A secret is never shown: it is masked, and has a fingerprint.

An allow-list has a line for each thing that is accepted: a fingerprint, or path:PATTERN, or rule:NAME,path:PATTERN; then the day from which it is not
accepted any more, or never; then the reason.

The exit code is 0 also when there are findings, unless --exit-code asks for another one. It is 4 when not everything could be looked at (--partial accepts that).`,
		Example: `  camada secrets app
  camada secrets --exit-code 1 --allow .camada-secrets app.tar
  camada secrets .
  camada secrets --format sarif app > secrets.sarif
  camada secrets --format '{{range .Findings}}{{.Rule}} {{.Path}}{{"\n"}}{{end}}' app`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.secrets(cmd, args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.how, "format", "", "table, json, sarif or a Go `template`")
	f.StringVar(&o.platform, "platform", "", "os/arch[/variant] of an image for several")
	f.StringVar(&o.allow, "allow", os.Getenv(secretsAllowEnv), "accept what this `file` lists ("+secretsAllowEnv+")")
	f.IntVar(&o.exit, "exit-code", 0, "end with this `code` when there are findings")
	f.BoolVar(&o.partial, "partial", false, "accept that not everything could be looked at")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "do not shorten")
	return cmd
}

func (a *app) secrets(cmd *cobra.Command, name string, o secretsOptions) error {
	if o.exit < 0 || o.exit > 255 {
		return usage(cmd, "--exit-code %d: want a number from 0 to 255", o.exit)
	}
	opts := engine.SecretsOptions{Platform: o.platform, AllowName: o.allow}
	if o.allow != "" {
		var err error
		if opts.Allow, err = readSmall(o.allow); err != nil {
			return err
		}
	}
	return a.with(cmd.Context(), func(e *engine.Engine) error {
		d, err := a.display("auto")
		if err != nil {
			return err
		}
		r, err := e.Secrets(cmd.Context(), name, opts, d)
		if err := errors.Join(err, d.Close()); err != nil {
			return err
		}
		switch o.how {
		case "", "table":
			err = a.showSecrets(r, o)
		case "sarif":
			err = lintreport.Write(a.stdout, "sarif", secretRows(r), lintreport.Options{Version: a.version})
		default:
			err = format.Show(a.stdout, o.how, r)
		}
		return errors.Join(err, a.judgeSecrets(r, o))
	})
}

// readSmall reads a file of at most a megabyte; what is bigger is cut, and refused by whoever reads it.
func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<20+1))
}

// judgeSecrets chooses the exit code.
func (a *app) judgeSecrets(r *engine.SecretsReport, o secretsOptions) error {
	if n := len(r.Findings); n > 0 && o.exit != 0 {
		return &exitError{code: o.exit, err: fmt.Errorf("%s: there are secrets: %d", r.Image, n)}
	}
	err := r.Complete()
	switch {
	case err == nil:
		return nil
	case o.partial:
		fmt.Fprintf(a.stderr, "camada: warning: %s\n", harmless.Text(err.Error()))
		return nil
	}
	return &exitError{code: codeUnknown, err: fmt.Errorf("%w; --partial accepts that", err)}
}

// secretFrom is what brought a finding, and whether it is still to be seen.
func secretFrom(f *engine.SecretFinding) string {
	from := joined(f.Place.Instruction)
	if f.Place.Dockerfile != "" && f.Place.Line > 0 {
		from = fmt.Sprintf("%s:%d %s", f.Place.Dockerfile, f.Place.Line, from)
	}
	switch {
	case f.HiddenBy > 0:
		return fmt.Sprintf("(hidden by layer %d) %s", f.HiddenBy, from)
	case f.Hidden:
		return "(hidden) " + from
	}
	return from
}

func (a *app) showSecrets(r *engine.SecretsReport, o secretsOptions) error {
	if len(r.Findings) > 0 {
		t := format.Table[engine.SecretFinding]{Columns: []format.Column[engine.SecretFinding]{
			{Header: "RULE", Value: func(f engine.SecretFinding) string { return f.Rule }},
			{Header: "WHERE", Value: func(f engine.SecretFinding) string { return safe(f.At()) }},
			{Header: "SECRET", Value: func(f engine.SecretFinding) string { return f.Secret }},
			{Header: "FINGERPRINT", Value: func(f engine.SecretFinding) string { return f.Fingerprint }},
			{Header: "LAYER", Value: func(f engine.SecretFinding) string {
				if f.Place.Layer == 0 {
					return ""
				}
				return strconv.Itoa(f.Place.Layer)
			}},
			{Header: "FROM", Value: func(f engine.SecretFinding) string { return shorten(safe(secretFrom(&f)), 60, o.noTrunc) }},
		}}
		if err := t.Write(a.stdout, "", r.Findings); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout)
	}
	w := &lines{a.stdout}
	w.printf("%s: %s in %s (%s)", r.Image, plural(len(r.Findings), "secret"), plural(r.Files, "file"), units.HumanSize(float64(r.Bytes)))
	if r.Layers > 0 {
		w.printf(" of %s", plural(r.Layers, "layer"))
	}
	if r.Allowed > 0 {
		w.printf("; %d more are allowed", r.Allowed)
	}
	w.printf("\n")
	return nil
}

// secretRows are the findings for SARIF.
func secretRows(r *engine.SecretsReport) []lintreport.Row {
	var rows []lintreport.Row
	for i := range r.Findings {
		f := &r.Findings[i]
		row := lintreport.Row{File: f.Path, Line: f.Line, Column: f.Column, EndLine: f.Line, EndColumn: f.Column + 1, Code: f.Rule, Level: "error",
			Message: fmt.Sprintf("%s %s (%s)", f.At(), f.Secret, f.Fingerprint), Reason: f.Description, Fix: "Take it out of the image, and make a new one: whoever had the image has it."}
		if f.Where != "file" {
			row.File, row.Line = r.Image, 0
		}
		rows = append(rows, row)
	}
	return rows
}
