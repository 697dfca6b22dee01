// Package lint finds in a Dockerfile what works and should not be done so.
//
//	report := lint.Check(lint.Input{Name: "Dockerfile", Source: src}, lint.Config{})
//	for _, f := range report.Findings {
//		fmt.Println(f.Range.Start.Line, f.Code, f.Message)
//	}
//	fixed := report.Fixed()
//
// Rules are those of BuildKit, by their names, those of hadolint that still make sense, by their DL codes, those of ShellCheck that can be told from
// the syntax tree of a RUN, by their SC codes, and our own. Rules lists them all, each with its reason and what to do.
// A rule that two of them have is found once, under BuildKit's name; ignoring it works by each of its names.
//
// It reads the text alone: no image, no network, no store. So the findings are the same on every machine. What only the config of a
// base image tells is left to the build, whose checks are handed in as Input.Checks.
package lint

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/camada/camada/dockerfile"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Position is a place in the file, from 1. Column counts characters (code points).
type Position struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// Range is from Start to before End.
type Range struct {
	Start Position `json:"start"`
	End   Position `json:"end"`
}

// Edit takes the place of the bytes Start to End of the source.
type Edit struct {
	Start, End int
	Text       string
}

// Finding is one thing that was found.
type Finding struct {
	Code     string
	Severity Severity
	// Message says what was found.
	Message string
	Range   Range
	// Edits mend it without changing the file system of the result; there are none when that is not sure.
	Edits []Edit
}

// Warning is the finding as a build tells it.
func (f Finding) Warning() dockerfile.Warning {
	at := parser.Range{Start: parser.Position{Line: f.Range.Start.Line}, End: parser.Position{Line: f.Range.End.Line}}
	return dockerfile.Warning{Rule: f.Code, Description: f.Message, Text: f.Message, Location: []parser.Range{at}}
}

// Input is what is looked at.
type Input struct {
	// Name is what findings call the file.
	Name   string
	Source []byte
	// Checks are what the build checks found; nil are those that the text alone shows.
	Checks []dockerfile.Warning
	// Err is why a build would fail; it becomes a finding when the parser finds no mistake before it.
	Err error
}

// Report is what Check found.
type Report struct {
	Name     string
	Findings []Finding
	source   []byte
}

// Worst is the highest severity among the findings, Ignore when there are none.
func (r *Report) Worst() Severity {
	worst := Ignore
	for _, f := range r.Findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// Range says where an edit stands.
func (r *Report) Range(e Edit) Range {
	return newSource(r.source, '\\').rangeOf(span{e.Start, e.End})
}

// maxFindings bounds what one file can make of output.
const maxFindings = 5000

// Check looks at a Dockerfile. A file that cannot be parsed has a finding DL1000, besides what was found before the mistake.
func Check(in Input, cfg Config) *Report {
	r := &Report{Name: in.Name, source: in.Source}
	f, err := dockerfile.ParseChecked(in.Name, in.Source, cfg.Checks)
	l := &linter{file: f, cfg: &cfg, src: newSource(in.Source, f.Escape), rules: table()}
	checks := in.Checks
	if checks == nil {
		checks = f.Warnings
	}
	if err == nil {
		l.read()
		l.run()
		err = in.Err
	}
	for _, w := range checks {
		l.check(w)
	}
	if err != nil && !errors.Is(err, dockerfile.ErrChecks) {
		l.mistake(err)
	}
	l.ignores()
	r.Findings = l.sorted()
	return r
}

// linter is one look at a file.
type linter struct {
	file    *dockerfile.File
	cfg     *Config
	src     *source
	rules   map[string]*Rule
	stages  []*stage
	all     []*inst // in the order of the file, FROM among them
	scripts int     // how many were read
	found   []found
	said    []*pragma // what the comments say, once it was read
}

// found is a finding with the lines of its instruction, above which it may be ignored.
type found struct {
	Finding
	in *inst
}

// report notes a finding in an instruction at a range of the source; edits mend it.
func (l *linter) report(code string, in *inst, at span, message string, edits ...Edit) {
	if len(l.found) >= maxFindings {
		return
	}
	rule := l.rules[code]
	severity := l.cfg.Severity(rule)
	if severity == Ignore {
		return
	}
	if message == "" {
		message = rule.Name
	}
	l.found = append(l.found, found{Finding{Code: rule.Code, Severity: severity, Message: message, Range: l.src.rangeOf(at), Edits: edits}, in})
}

// check takes over what a build check found.
func (l *linter) check(w dockerfile.Warning) {
	rule := l.rules[w.Rule]
	if rule == nil {
		return // a remark of the build
	}
	in := l.instAt(w.Location)
	at := l.src.lines(firstLine(w.Location), lastLine(w.Location))
	if in != nil && firstLine(w.Location) == in.first {
		at = in.at
	}
	if w.Rule == "UndefinedVar" && in != nil && in.stage != nil && !in.stage.known {
		return // the base image may set it
	}
	l.report(w.Rule, in, at, w.Text, l.checkEdits(w.Rule, in, w)...)
}

// mistake reports why the file cannot be built.
func (l *linter) mistake(err error) {
	var e *dockerfile.Error
	if !errors.As(err, &e) {
		l.report("DL1000", nil, l.src.lines(1, 1), err.Error())
		return
	}
	text := e.Cause.Error()
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	first := max(e.Line, 1)
	l.report("DL1000", nil, l.src.lines(first, max(first, e.EndLine)), text)
}

// sorted returns the findings in the order of the file, each once.
func (l *linter) sorted() []Finding {
	out := make([]Finding, 0, len(l.found))
	for _, f := range l.found {
		out = append(out, f.Finding)
	}
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Range.Start.Line, b.Range.Start.Line), cmp.Compare(a.Range.Start.Column, b.Range.Start.Column),
			strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(out, func(a, b Finding) bool {
		return a.Code == b.Code && a.Range == b.Range && a.Message == b.Message
	})
}

func firstLine(loc []parser.Range) int {
	first := 0
	for _, r := range loc {
		if first == 0 || r.Start.Line < first {
			first = r.Start.Line
		}
	}
	return max(first, 1)
}

func lastLine(loc []parser.Range) int {
	last := 1
	for _, r := range loc {
		last = max(last, r.Start.Line, r.End.Line)
	}
	return last
}
