package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/build/explain"
	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/display"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/internal/harmless"
	"github.com/spf13/cobra"
)

func (a *app) buildsCommand() *cobra.Command {
	var how string
	var quiet, noTrunc bool
	var last int
	cmd := &cobra.Command{
		Use: "builds [OPTIONS] [NAME|DIRECTORY]", Short: "List the builds of the history",
		Long: `List the builds that this store has seen, also those that failed or were killed: the youngest first, of all
contexts, or of one tag or directory. "camada explain ID" tells about one.`,
		Example: `  camada builds
  camada builds --last 5 app
  camada builds --format '{{.ID}} {{.Status}} {{.Cached}}/{{.Total}}' .`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				rows, err := e.Builds(cmd.Context(), firstOf(args))
				if err != nil {
					return err
				}
				if last > 0 && last < len(rows) {
					rows = rows[:last]
				}
				if quiet {
					for _, r := range rows {
						fmt.Fprintln(a.stdout, r.ID)
					}
					return nil
				}
				return format.Table[engine.BuildRow]{Columns: []format.Column[engine.BuildRow]{
					{Header: "BUILD", Value: func(r engine.BuildRow) string { return r.ID }},
					{Header: "NAME", Value: func(r engine.BuildRow) string { return shorten(r.Name, 40, noTrunc) }},
					{Header: "STATUS", Value: func(r engine.BuildRow) string { return r.Status }},
					{Header: "CREATED", Value: func(r engine.BuildRow) string { return ago(r.Started) }},
					{Header: "DURATION", Value: func(r engine.BuildRow) string { return duration(r.Duration) }},
					{Header: "CACHED", Value: func(r engine.BuildRow) string { return fmt.Sprintf("%d/%d", r.Cached, r.Total) }},
					{Header: "DIGEST", Value: func(r engine.BuildRow) string { return shortID(r.Digest, noTrunc) }},
				}}.Write(a.stdout, how, rows)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&how, "format", "", "table, json or a Go `template`")
	f.IntVarP(&last, "last", "n", 0, "the last `number` of builds only")
	f.BoolVarP(&quiet, "quiet", "q", false, "print IDs only")
	f.BoolVar(&noTrunc, "no-trunc", false, "do not shorten")
	return cmd
}

func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func duration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}

func (a *app) explainCommand() *cobra.Command {
	var how string
	var verbose bool
	cmd := &cobra.Command{
		Use: "explain [OPTIONS] [BUILD|NAME|DIRECTORY]", Short: "Say why the steps of a build were executed again",
		Long: `Say for each step of a build whether it was cached and, if not, exactly why: which instruction, build argument, file of
the context, base image or earlier step changed, and how.

BUILD is the ID of a build ("camada builds" lists them), or its beginning; NAME is a tag or digest, also one of a tag's
history as app@{1}; of several builds the last one is meant. Without a name it is the last build of all.`,
		Example: `  camada explain
  camada explain app
  camada explain --verbose .
  camada explain --format json app@{1}
  camada explain --format '{{range .Steps}}{{.Outcome}} {{.Name}}{{println}}{{end}}'`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				r, err := e.Explain(cmd.Context(), firstOf(args))
				if err != nil {
					return err
				}
				if how != "" {
					return format.Show(a.stdout, how, r)
				}
				return printReport(a.stdout, r, verbose)
			})
		},
	}
	cmd.Flags().StringVar(&how, "format", "", "json or a Go `template`")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show all files that changed, and whole texts")
	return cmd
}

// The values of build --explain.
const (
	explainText = "text"
	explainJSON = "json"
)

// explainBuild prints why the steps of a build that just ended were executed.
func (a *app) explainBuild(cmd *cobra.Command, how string, ids []string) error {
	return a.with(cmd.Context(), func(e *engine.Engine) error {
		for _, id := range ids {
			r, err := e.Explain(cmd.Context(), id)
			switch {
			case errdefs.IsNotFound(err): // it ended before there was something to do
			case err != nil:
				return err
			case how == explainJSON:
				err = json.NewEncoder(a.stdout).Encode(r)
			default:
				err = printReport(a.stderr, r, false)
			}
			if err != nil && !errdefs.IsNotFound(err) {
				return fmt.Errorf("explain the build: %w", err)
			}
		}
		return nil
	})
}

// maxFilesShown is how many files are shown unless all are asked for.
const maxFilesShown = 10

// explanation prints a report.
type explanation struct {
	b       strings.Builder
	verbose bool
}

func printReport(w io.Writer, r *explain.Report, verbose bool) error {
	x := &explanation{verbose: verbose}
	x.head(r)
	for i := range r.Steps {
		if s := &r.Steps[i]; len(r.Before) == 0 { // the head says it already
			s.Reasons = slices.DeleteFunc(s.Reasons, func(r explain.Reason) bool { return r.Kind == explain.First })
		}
		x.step(&r.Steps[i])
	}
	if _, err := io.WriteString(w, x.b.String()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func (x *explanation) printf(format string, args ...any) { fmt.Fprintf(&x.b, format, args...) }

func (x *explanation) head(r *explain.Report) {
	x.printf("build %s", r.ID)
	if len(r.Tags) > 0 {
		x.printf(" of %s", safe(strings.Join(r.Tags, ", ")))
	}
	x.printf(": %d of %s cached, %.2fs", r.Cached, plural(r.Total, "step"), r.Seconds)
	if r.Status != "Completed" && r.Status != "" {
		x.printf(", %s", strings.ToLower(r.Status))
	}
	switch {
	case len(r.Before) == 0:
		x.printf("; no earlier build to compare with\n")
	case len(r.Before) == 1:
		x.printf("; compared with build %s\n", r.Before[0])
	default:
		x.printf("; compared with builds %s\n", strings.Join(r.Before, ", "))
	}
}

func (x *explanation) step(s *explain.Verdict) {
	what := map[explain.Outcome]string{
		explain.Base: "BASE", explain.Cached: "CACHED", explain.Executed: "REBUILT", explain.Failed: "FAILED", explain.NotReached: "NOT REACHED",
	}[s.Outcome]
	x.printf("%-8s %s", what, safe(oneLine(s.Name)))
	if s.Outcome == explain.Executed || s.Outcome == explain.Failed {
		x.printf(" (")
		if s.Line > 0 {
			x.printf("line %d, ", s.Line)
		}
		x.printf("%.2fs", s.Seconds)
		if s.Size > 0 {
			x.printf(", %s", display.Bytes(s.Size))
		}
		x.printf(")")
	}
	x.printf("\n")
	if s.Note != "" {
		x.line(safe(s.Note))
	}
	for _, r := range s.Reasons {
		x.reason(r)
	}
	if s.Root != "" && !slices.ContainsFunc(s.Reasons, func(r explain.Reason) bool { return r.Name == s.Root }) {
		x.line("it began at " + safe(s.Root))
	}
	if s.Error != "" {
		x.line("error: " + safe(oneLine(s.Error)))
	}
}

const indent = "         "

func (x *explanation) line(s string) { x.printf("%s%s\n", indent, s) }

func (x *explanation) reason(r explain.Reason) {
	x.line(safe(r.Text))
	if x.verbose && len(r.Diff) == 0 && r.Kind == explain.Instruction {
		x.line("- " + safe(r.Old))
		x.line("+ " + safe(r.New))
	}
	for _, d := range r.Diff {
		x.line("  " + safe(d))
	}
	for i, c := range r.Changes {
		if i == maxFilesShown && !x.verbose {
			x.line(fmt.Sprintf("  and %d more", len(r.Changes)-i))
			break
		}
		x.line("  " + safe(fileLine(c)))
	}
}

// fileLine tells of one file in one line.
func fileLine(c explain.FileChange) string {
	name := c.Path
	if name == "" {
		name = "."
	}
	switch c.Change {
	case "added":
		return "added   " + name + " " + valueOf(c.NewDigest, c.NewLink, c.NewMode)
	case "removed":
		return "removed " + name + " " + valueOf(c.OldDigest, c.OldLink, c.OldMode)
	}
	var parts []string
	for _, w := range c.What {
		switch w {
		case "content":
			parts = append(parts, shortSum(c.OldDigest)+" -> "+shortSum(c.NewDigest))
		case "link":
			parts = append(parts, "link "+c.OldLink+" -> "+c.NewLink)
		case "mode", "type":
			parts = append(parts, w+" "+c.OldMode+" -> "+c.NewMode)
		}
	}
	return "changed " + name + " " + strings.Join(parts, ", ")
}

func valueOf(sum, link, mode string) string {
	switch {
	case sum != "":
		return shortSum(sum)
	case link != "":
		return "link " + link
	}
	return "mode " + mode
}

func shortSum(s string) string { return "sha256:" + shorten(s, 12, false) }

// oneLine is the first line of a text.
func oneLine(s string) string {
	first, _, more := strings.Cut(s, "\n")
	if more {
		first += " ..."
	}
	return first
}

// safe keeps foreign text from moving the cursor.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && harmless.Hidden(r) {
			return ' '
		}
		return r
	}, s)
}
