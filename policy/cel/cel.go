// Package cel compiles and evaluates expressions of the Common Expression Language (https://cel.dev):
//
//	vars := map[string]*cel.Type{"image": cel.Struct("image", map[string]*cel.Type{"tag": cel.String, "size": cel.Int})}
//	p, err := cel.Compile(`image.tag != "latest" && image.size < 500 * 1000 * 1000`, vars)
//	v, err := p.Eval(ctx, func(name string) (any, error) { return facts[name], nil })
//
// It is the language of cel-spec without messages, without time zones by name, and without type values: what it does not have is refused when it is compiled,
// by name and place. Expressions are checked against the types of the variables, so that a misspelt field is told before it is needed.
//
// A variable is asked for when the evaluation comes to it, and once: what stands behind && and || or in the other branch of a conditional costs nothing. As the specification has
// it, false && x is false and true || x is true even when x, on either side, is an error.
//
// Evaluation is bounded: each step has a cost, in which long texts and lists count by their length, and the context is looked at.
package cel

import (
	"context"
	"fmt"
	"slices"

	"github.com/camada/camada/errdefs"
)

// The bounds of expressions.
const (
	// MaxText of an expression, in bytes.
	MaxText = 32 << 10
	// maxDepth of what is nested, and maxNodes of the tree.
	maxDepth = 64
	maxNodes = 4096
	// MaxCost of an evaluation, in steps.
	MaxCost = 1_000_000
)

// Program is an expression that was compiled. It is safe for use by many goroutines.
type Program struct {
	// Type is what the result is.
	Type *Type

	text  string
	root  *node
	names []string
}

// Compile parses an expression and checks it against the types of its variables. Errors are of class ErrInvalid, ErrLimit, or ErrUnsupported for what CEL has and
// this package has not, and say line and column.
func Compile(text string, vars map[string]*Type) (*Program, error) {
	if len(text) > MaxText {
		return nil, errdefs.Limit("an expression of %d bytes, more than %d", len(text), MaxText)
	}
	p := &parser{lexer: lexer{text: text}}
	root, err := p.all()
	if err != nil {
		return nil, err
	}
	c := &checker{text: text, vars: vars, functions: functions()}
	t, err := c.check(root)
	if err != nil {
		return nil, err
	}
	slices.Sort(c.used)
	return &Program{Type: t, text: text, root: root, names: slices.Compact(c.used)}, nil
}

// Variables are the names that the expression uses, sorted.
func (p *Program) Variables() []string { return p.names }

// String is the text that was compiled.
func (p *Program) String() string { return p.text }

// Eval evaluates the expression. lookup returns a variable as nil, bool, int64, uint64, float64, string, []byte, time.Time, time.Duration, []any or map[string]any of those; its errors end
// the evaluation where their result is needed, and can be found in the error with errors.Is.
func (p *Program) Eval(ctx context.Context, lookup func(name string) (any, error)) (any, error) {
	interrupted := func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	e := &evaluation{interrupted: interrupted, lookup: lookup, left: MaxCost, known: map[string]answer{}, text: p.text}
	v, err := e.eval(p.root, nil)
	if e.ended != nil { // neither && nor || make an error of a bound go away
		return nil, e.ended
	}
	return v, err
}

// place is line:column of a position in a text, both from 1.
func place(text string, pos int) string {
	line, column := 1, 1
	for _, r := range text[:min(pos, len(text))] {
		if column++; r == '\n' {
			line, column = line+1, 1
		}
	}
	return fmt.Sprintf("%d:%d", line, column)
}
