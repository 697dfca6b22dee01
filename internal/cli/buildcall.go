package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/camada/camada/build"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/harmless"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/spf13/cobra"
)

// The methods of --call.
const (
	callBuild   = "build"
	callCheck   = "check"
	callOutline = "outline"
	callTargets = "targets"
)

// call is what --call asks for.
type call struct {
	name string
	json bool
}

// method reads --call and --check.
func (o *buildOptions) method(cmd *cobra.Command) (call, error) {
	c := call{name: callBuild}
	if o.check {
		if o.call != "" {
			return c, usage(cmd, "--check and --call cannot be used together")
		}
		c.name = callCheck
	}
	for part := range strings.SplitSeq(o.call, ",") {
		key, value, isOption := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case key == "":
		case isOption && key == "format" && value == "json":
			c.json = true
		case isOption && key == "format" && value == "text":
			c.json = false
		case isOption:
			return c, usage(cmd, "--call %s: unknown option %s", o.call, part)
		case key == callBuild || key == callCheck || key == callOutline || key == callTargets:
			c.name = key
		case key == "lint":
			c.name = callCheck
		default:
			return c, usage(cmd, "--call %s: want build, check, outline or targets", o.call)
		}
	}
	return c, nil
}

// callBuild evaluates a build without doing it.
func (a *app) callBuild(cmd *cobra.Command, c call, opts engine.BuildOptions) error {
	return a.with(cmd.Context(), func(e *engine.Engine) error {
		switch c.name {
		case callTargets:
			t, err := e.BuildTargets(cmd.Context(), opts)
			if err != nil {
				return err
			}
			return c.print(a.stdout, targetsJSON(t), func(w io.Writer) { printTargets(w, t) })
		case callOutline:
			o, err := e.OutlineBuild(cmd.Context(), opts)
			if err != nil {
				return err
			}
			return c.print(a.stdout, outlineJSON(o), func(w io.Writer) { printOutline(w, o) })
		}
		r, err := e.CheckBuild(cmd.Context(), opts)
		if err != nil {
			return err
		}
		if err := c.print(a.stdout, checkJSON(r), func(w io.Writer) { printChecks(w, r) }); err != nil {
			return err
		}
		if r.Err != nil && !c.json {
			return r.Err
		}
		if r.Err != nil || len(r.Warnings) > 0 {
			return &exitError{code: codeFailed}
		}
		return nil
	})
}

func (c call) print(w io.Writer, value any, text func(io.Writer)) error {
	if !c.json {
		text(w)
		return nil
	}
	b, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

// printWarnings tells after a build what the build checks found.
func (a *app) printWarnings(warnings []dockerfile.Warning) {
	if len(warnings) == 0 {
		return
	}
	fmt.Fprintf(a.stderr, "\n %s found (use --check to see the lines):\n", plural(len(warnings), "warning"))
	for _, w := range warnings {
		fmt.Fprintf(a.stderr, " - %s\n", harmless.Line(w.String()))
	}
}

// printChecks is what docker build --check prints.
func printChecks(w io.Writer, r *build.Checked) {
	switch n := len(r.Warnings); {
	case n == 0 && r.Err == nil:
		fmt.Fprintln(w, "Check complete, no warnings found.")
	case n == 1:
		fmt.Fprintln(w, "Check complete, 1 warning has been found!")
	case n > 1:
		fmt.Fprintf(w, "Check complete, %d warnings have been found!\n", n)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "\nWARNING: %s", warning.Rule)
		if warning.URL != "" {
			fmt.Fprintf(w, " - %s", warning.URL)
		}
		fmt.Fprintf(w, "\n%s\n", harmless.Text(warning.Text))
		printSource(w, r.Name, r.Source, warning.Location)
	}
	if len(r.Warnings) > 0 && r.Err != nil {
		fmt.Fprintln(w)
	}
}

// printSource shows lines of a Dockerfile with some before and after them.
func printSource(w io.Writer, name string, source []byte, loc []parser.Range) {
	lines := strings.Split(string(bytes.ToValidUTF8(source, []byte("\uFFFD"))), "\n")
	marked := map[int]bool{}
	start, end := 0, 0
	for _, r := range loc {
		for l := r.Start.Line; l <= max(r.Start.Line, r.End.Line) && l <= len(lines); l++ {
			marked[l] = true
			end = max(end, l)
			if start == 0 || l < start {
				start = l
			}
		}
	}
	if start < 1 {
		return
	}
	first, pad := start, 2
	if start == end {
		pad = 4
	}
	for p := 0; p < pad; p++ {
		if start > 1 {
			start--
			p++
		}
		if end != len(lines) {
			end++
			p++
		}
	}
	const rule = "--------------------"
	fmt.Fprintf(w, "%s:%d\n%s\n", name, first, rule)
	for i := start; i <= end; i++ {
		mark := "   "
		if marked[i] {
			mark = ">>>"
		}
		fmt.Fprintf(w, " %3d | %s %s\n", i, mark, safe(strings.TrimSuffix(lines[i-1], "\r")))
	}
	fmt.Fprintln(w, rule)
}

func printTargets(w io.Writer, t *build.Targets) {
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprint(tw, "TARGET\tDESCRIPTION\n")
	for i, s := range t.Stages {
		name := s.Name
		if i == len(t.Stages)-1 {
			name = strings.TrimSpace(name + " (default)")
		}
		fmt.Fprintf(tw, "%s\t%s\n", name, safe(s.DocComment))
	}
	tw.Flush()
}

func printOutline(w io.Writer, o *build.Outline) {
	table := func(pad int, rows ...string) {
		tw := tabwriter.NewWriter(w, 0, 0, pad, ' ', 0)
		for _, r := range rows {
			fmt.Fprintln(tw, r)
		}
		tw.Flush()
		fmt.Fprintln(w)
	}
	if o.Name != "" || o.Description != "" {
		name := o.Name
		if name == "" {
			name = "(default)"
		}
		rows := []string{"TARGET:\t" + name}
		if o.Description != "" {
			rows = append(rows, "DESCRIPTION:\t"+safe(o.Description))
		}
		table(1, rows...)
	}
	if len(o.Args) > 0 {
		rows := []string{"BUILD ARG\tVALUE\tDESCRIPTION"}
		for _, a := range o.Args {
			rows = append(rows, safe(a.Name)+"\t"+safe(a.Value)+"\t"+safe(a.Description))
		}
		table(3, rows...)
	}
	for _, l := range []struct {
		title string
		list  []outlineSecret
	}{{"SECRET", secretsJSON(o.Secrets)}, {"SSH", secretsJSON(o.SSH)}} {
		if len(l.list) == 0 {
			continue
		}
		rows := []string{l.title + "\tREQUIRED"}
		for _, s := range l.list {
			required := ""
			if s.Required {
				required = "true"
			}
			rows = append(rows, safe(s.Name)+"\t"+required)
		}
		table(3, rows...)
	}
}
