package dockerfile

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// MaxSize is the largest Dockerfile that is read, in bytes.
const MaxSize = 8 << 20

// maxStages bounds what one file can ask for.
const maxStages = 1000

// Scratch is the name of the empty base.
const Scratch = "scratch"

// File is a parsed Dockerfile. It is not changed after Parse.
type File struct {
	// Name is what messages call the file.
	Name string
	// Escape is the escape character, '\\' or '`'.
	Escape rune
	// Syntax and Check are the values of these parser directives, "" without one.
	// Syntax is noted only: the language is always the one of this package.
	Syntax, Check string
	// Args are the ARG instructions before the first FROM.
	Args []instructions.ArgCommand
	// Stages in the order of the file, at least one.
	Stages []Stage
	// Warnings are what the build checks found. Parse makes those that the text alone shows; the
	// builder of the graph adds those that need to know variables and base images.
	Warnings []Warning

	lines []string
	lint  *linter.Linter
}

// Stage is one FROM and what follows it.
type Stage struct {
	instructions.Stage
	// Index is the stage's place in the file, from 0.
	Index int
}

// Title is what people call the stage: its name, or "stage-N".
func (s Stage) Title() string {
	if s.Name != "" {
		return s.Name
	}
	return "stage-" + strconv.Itoa(s.Index)
}

// Parse reads a Dockerfile. Errors are *Error, of class ErrInvalid for mistakes,
// ErrUnsupported for what this builder does not have yet, and ErrLimit for a file that is too large.
func Parse(name string, src []byte) (*File, error) {
	f, err := ParseChecked(name, src, "")
	if err != nil {
		return nil, err
	}
	return f, nil
}

// ParseChecked is Parse with options for the build checks, e.g. "skip=all;error=true", in place of those of
// the file's "# check="; "" leaves them to the file. With an error it returns a File too, which has no more than what
// the checks found before it.
func ParseChecked(name string, src []byte, check string) (*File, error) {
	f := &File{Name: name}
	if len(src) > MaxSize {
		return f, f.ErrorAt(nil, errdefs.Limit("the Dockerfile has %d bytes, more than %d", len(src), MaxSize), "")
	}
	if len(bytes.TrimSpace(src)) == 0 {
		return f, f.Invalid(nil, "", "the Dockerfile is empty")
	}
	f.lines = splitLines(src)
	if err := f.directives(src, check); err != nil {
		return f, err
	}
	res, err := parser.Parse(bytes.NewReader(src))
	if err != nil {
		return f, f.fromParser(err)
	}
	f.Escape = res.EscapeToken
	for _, w := range res.Warnings {
		if w.URL == linter.RuleNoEmptyContinuation.URL && w.Location != nil {
			f.Warn(&linter.RuleNoEmptyContinuation, nil, []parser.Range{*w.Location}, linter.RuleNoEmptyContinuation.Format())
		}
	}
	if err := f.checkOrder(res.AST); err != nil {
		return f, err
	}
	stages, args, err := instructions.Parse(res.AST, f.lint)
	if err != nil {
		return f, f.fromParser(err)
	}
	if len(stages) == 0 {
		return f, f.Invalid(nil, "", "the Dockerfile has no FROM")
	}
	if len(stages) > maxStages {
		return f, f.ErrorAt(stages[maxStages].Location, errdefs.Limit("more than %d stages", maxStages), "")
	}
	f.Args = args
	for i, s := range stages {
		f.Stages = append(f.Stages, Stage{Stage: s, Index: i})
	}
	return f, f.check()
}

// check looks at what BuildKit's packages leave to the builder.
func (f *File) check() error {
	f.checkNames()
	f.checkCasing()
	for i := range f.Stages {
		for _, c := range f.Stages[i].Commands {
			if err := f.CheckCommand(c); err != nil {
				return err
			}
		}
	}
	return f.checkCopyFrom()
}

// checkOrder says clearly what BuildKit's parser says as "no build stage in
// current context".
func (f *File) checkOrder(ast *parser.Node) error {
	for _, n := range ast.Children {
		switch strings.ToUpper(n.Value) {
		case "FROM":
			return nil
		case "ARG":
			continue
		}
		if DidYouMean(n.Value, instructionNames()) != "" || !known(n.Value) {
			return nil // an unknown instruction: said better later
		}
		return f.Invalid(n.Location(), "only ARG and comments may come before it", "%s before the first FROM", strings.ToUpper(n.Value))
	}
	return nil
}

func known(name string) bool {
	for _, n := range instructionNames() {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

func firstLine(loc []parser.Range) int {
	n, _ := lineRange(loc)
	return n
}

// splitLines keeps what messages show: without line ends, and with control characters
// made harmless to a terminal.
func splitLines(src []byte) []string {
	lines := strings.Split(string(src), "\n")
	if n := len(lines); lines[n-1] == "" {
		lines = lines[:n-1]
	}
	for i, l := range lines {
		l = strings.TrimSuffix(l, "\r")
		if len(l) > 400 {
			l = l[:400] + "..."
		}
		lines[i] = strings.Map(func(r rune) rune {
			if (r < ' ' && r != '\t') || r == 0x7f || (r >= 0x80 && r < 0xa0) {
				return '\uFFFD'
			}
			return r
		}, strings.ToValidUTF8(l, "\uFFFD"))
	}
	return lines
}
