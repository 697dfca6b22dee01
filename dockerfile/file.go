package dockerfile

import (
	"bytes"
	"fmt"
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
	// Warnings are remarks, each with file and line.
	Warnings []string

	lines []string
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
	f := &File{Name: name}
	if len(src) > MaxSize {
		return nil, f.ErrorAt(nil, errdefs.Limit("the Dockerfile has %d bytes, more than %d", len(src), MaxSize), "")
	}
	if len(bytes.TrimSpace(src)) == 0 {
		return nil, f.Invalid(nil, "", "the Dockerfile is empty")
	}
	f.lines = splitLines(src)
	if err := f.directives(src); err != nil {
		return nil, err
	}
	res, err := parser.Parse(bytes.NewReader(src))
	if err != nil {
		return nil, f.fromParser(err)
	}
	f.Escape = res.EscapeToken
	for _, w := range res.Warnings {
		line := 0
		if w.Location != nil {
			line = w.Location.Start.Line
		}
		f.Warnings = append(f.Warnings, name+":"+strconv.Itoa(line)+": "+w.Short)
	}
	if err := f.checkOrder(res.AST); err != nil {
		return nil, err
	}
	// Not a nil linter: a "check=" comment makes BuildKit's parser use it.
	stages, args, err := instructions.Parse(res.AST, linter.New(&linter.Config{SkipAll: true}))
	if err != nil {
		return nil, f.fromParser(err)
	}
	if len(stages) == 0 {
		return nil, f.Invalid(nil, "", "the Dockerfile has no FROM")
	}
	if len(stages) > maxStages {
		return nil, f.ErrorAt(stages[maxStages].Location, errdefs.Limit("more than %d stages", maxStages), "")
	}
	f.Args = args
	for i, s := range stages {
		f.Stages = append(f.Stages, Stage{Stage: s, Index: i})
	}
	return f, f.check()
}

// check looks at what BuildKit's packages leave to the builder.
func (f *File) check() error {
	for i := range f.Stages {
		s := &f.Stages[i]
		for _, c := range s.Commands {
			if err := f.CheckCommand(c); err != nil {
				return err
			}
		}
		if s.Name == "" {
			continue
		}
		if s.Name == Scratch || s.Name == "context" {
			f.Warnings = append(f.Warnings, f.at(s.Location)+"stage name "+strconv.Quote(s.Name)+" is a reserved word")
		}
		for j := range i {
			if f.Stages[j].Name == s.Name {
				f.Warnings = append(f.Warnings, fmt.Sprintf("%sstage %q hides the one at line %d", f.at(s.Location), s.Name, firstLine(f.Stages[j].Location)))
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

func (f *File) at(loc []parser.Range) string {
	return f.Name + ":" + strconv.Itoa(firstLine(loc)) + ": "
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
