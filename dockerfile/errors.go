package dockerfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/util/suggest"
)

// maxSnippet is how many lines of an instruction an Error shows.
const maxSnippet = 6

// Error is a mistake in a Dockerfile, or a step of it that failed, with the
// place where it stands.
//
//	Dockerfile:7: unknown instruction: RUNN (did you mean RUN?)
//	   7 | RUNN make
type Error struct {
	// File is the Dockerfile's name as the user gave it.
	File string
	// Line and EndLine are the first and the last line, from 1; 0 when the
	// error belongs to no line.
	Line, EndLine int
	// Snippet is the text of the lines, without line ends; long instructions
	// are cut.
	Snippet []string
	// Cause is what is wrong. Its class is the Error's class.
	Cause error
	// Hint says what was probably meant, or what to do. It may be empty.
	Hint string
}

// Error returns the place, the cause, the hint, and the lines below them.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	b.WriteString(e.Cause.Error())
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	for i, s := range e.Snippet {
		fmt.Fprintf(&b, "\n%4d | %s", e.Line+i, s)
	}
	if n := e.EndLine - e.Line + 1; len(e.Snippet) > 0 && n > len(e.Snippet) {
		b.WriteString("\n     | ...")
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// ErrorAt returns cause as an *Error at loc. A cause that is one already is
// returned as it is, so that the innermost place wins.
func (f *File) ErrorAt(loc []parser.Range, cause error, hint string) error {
	if cause == nil {
		return nil
	}
	var have *Error
	if errors.As(cause, &have) {
		return cause
	}
	e := &Error{File: f.Name, Cause: cause, Hint: hint}
	e.Line, e.EndLine = lineRange(loc)
	e.EndLine = min(e.EndLine, len(f.lines))
	if e.Line > 0 && e.Line <= len(f.lines) {
		end := min(e.EndLine, e.Line+maxSnippet-1)
		e.Snippet = slices.Clone(f.lines[e.Line-1 : max(end, e.Line)])
	}
	return e
}

// Within says before the cause of an error what it happened in. The place stays.
func (f *File) Within(what string, err error) error {
	var have *Error
	if !errors.As(err, &have) {
		return fmt.Errorf("%s: %w", what, err)
	}
	e := *have
	e.Cause = fmt.Errorf("%s: %w", what, have.Cause)
	return &e
}

// Invalid is ErrorAt with a cause of class ErrInvalid made of a format.
func (f *File) Invalid(loc []parser.Range, hint, format string, args ...any) error {
	return f.ErrorAt(loc, errdefs.Invalid(format, args...), hint)
}

// unsupported is a part of the language that this builder does not have yet.
func (f *File) unsupported(loc []parser.Range, what, hint string) error {
	return f.ErrorAt(loc, errdefs.Unsupported("%s is not supported yet", what), hint)
}

// fromParser turns an error of BuildKit's packages into an *Error.
func (f *File) fromParser(err error) error {
	var have *Error
	if errors.As(err, &have) {
		return err
	}
	var loc []parser.Range
	var le *parser.LocationError
	if errors.As(err, &le) && len(le.Locations) > 0 {
		loc = le.Locations[0]
	}
	var unknown *instructions.UnknownInstructionError
	if errors.As(err, &unknown) {
		hint := DidYouMean(unknown.Instruction, instructionNames())
		return f.Invalid(loc, hint, "unknown instruction: %s", unknown.Instruction)
	}
	msg := err.Error()
	if rest, ok := strings.CutPrefix(msg, "dockerfile parse error on line "); ok {
		if _, text, ok := strings.Cut(rest, ": "); ok {
			msg = text
		}
	}
	if strings.Contains(msg, "parser directive") || strings.HasPrefix(msg, "invalid escape token") {
		// The parser counts these lines from 0.
		line, _ := lineRange(loc)
		loc = []parser.Range{{Start: parser.Position{Line: line + 1}, End: parser.Position{Line: line + 1}}}
	}
	hint := ""
	if strings.Contains(msg, "unterminated heredoc") {
		hint = f.heredocHint(loc)
	}
	return f.Invalid(loc, hint, "%s", msg)
}

// heredocHint says which line is missing.
func (f *File) heredocHint(loc []parser.Range) string {
	line, _ := lineRange(loc)
	if line < 1 || line > len(f.lines) {
		return ""
	}
	for _, w := range strings.Fields(f.lines[line-1]) {
		if h, err := parser.ParseHeredoc(w); err == nil && h != nil {
			return fmt.Sprintf("no later line is just %q", h.Name)
		}
	}
	return ""
}

// DidYouMean returns "did you mean X?" for the option that is closest to val,
// or "" when none is close. Case does not matter.
func DidYouMean(val string, options []string) string {
	options = slices.Clone(options)
	slices.Sort(options)
	if m, ok := suggest.Search(val, options, false); ok {
		return "did you mean " + m + "?"
	}
	return ""
}

func instructionNames() []string {
	return []string{
		"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL",
		"MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
	}
}

func lineRange(loc []parser.Range) (first, last int) {
	for _, r := range loc {
		if first == 0 || r.Start.Line < first {
			first = r.Start.Line
		}
		last = max(last, r.Start.Line, r.End.Line)
	}
	return first, last
}
