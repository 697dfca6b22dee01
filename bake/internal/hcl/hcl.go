// Package hcl reads the part of the HashiCorp configuration language that bake files use.
//
//	body, err := hcl.Parse("docker-bake.hcl", src)
//	v, err := body.Attrs[0].Expr.Eval(scope)
//
// It has blocks, attributes and expressions: strings and heredocs with ${interpolation} and %{directives}, numbers, lists, maps,
// operators, conditions, for expressions, splats, indexes and calls. The well-known library takes more time at the start of each
// program that links it than all else that camada starts with; so it is not used.
//
// Values are nil, bool, float64, string, []any and map[string]any. Files may be hostile: sizes, depths and
// what evaluation can make of them are bounded.
package hcl

import (
	"errors"
	"fmt"

	"github.com/camada/camada/errdefs"
)

// Limits of a file and of what its expressions make.
const (
	// MaxSize of a file, in bytes.
	MaxSize = 4 << 20
	// maxDepth of blocks, expressions and calls.
	maxDepth = 100
	// maxText is how long a string may become, in bytes.
	maxText = 4 << 20
	// maxItems is how many elements a list or a map may get.
	maxItems = 100_000
	// maxWork is how many expressions one evaluation may go through.
	maxWork = 200_000
)

// Body is what is in a file, or between the braces of a block, in the order in which it stands there.
type Body struct {
	Attrs  []Attr
	Blocks []Block
}

// Attr is NAME = EXPRESSION.
type Attr struct {
	Name string
	Expr Expr
	// Line is where it begins, from 1.
	Line int
}

// Block is TYPE "LABEL"... { BODY }.
type Block struct {
	Type   string
	Labels []string
	Body   Body
	Line   int
}

// Expr is an expression.
type Expr interface {
	// Eval returns the value. Errors are of class ErrInvalid and say the line.
	Eval(s *Scope) (any, error)
}

// Scope is what an expression is evaluated in.
type Scope struct {
	// Var returns the value of a variable; ok is false when there is none of that name.
	Var func(name string) (v any, ok bool, err error)
	// Func returns a function besides the built-in ones; may be nil.
	Func func(name string) (Func, bool)

	locals map[string]any
	depth  int
	work   *int
}

// Func is a function of an expression.
type Func func(args []any) (any, error)

// With returns a scope in which names have values besides those of s.
func (s *Scope) With(locals map[string]any) *Scope {
	c := *s
	c.locals = make(map[string]any, len(s.locals)+len(locals))
	for k, v := range s.locals {
		c.locals[k] = v
	}
	for k, v := range locals {
		c.locals[k] = v
	}
	return &c
}

// enter counts an evaluation; the scope that it returns is for what is inside.
func (s *Scope) enter(line int) (*Scope, error) {
	c := *s
	if c.work == nil {
		c.work = new(int)
	}
	*c.work++
	c.depth++
	if c.depth > maxDepth*4 || *c.work > maxWork {
		return nil, at(line, errdefs.Limit("the expression is too deep or takes too long"))
	}
	return &c, nil
}

// wrote counts n bytes of text as work, so that nothing small can make text without end.
func (s *Scope) wrote(line, n int) error {
	if *s.work += n >> 10; n > maxText || *s.work > maxWork {
		return at(line, errdefs.Limit("a string of more than %d bytes, or too many long ones", maxText))
	}
	return nil
}

// made counts what a function made as work.
func (s *Scope) made(line int, v any) error {
	switch v := v.(type) {
	case string:
		return s.wrote(line, len(v))
	case []any:
		*s.work += len(v) >> 2
	case map[string]any:
		*s.work += len(v) >> 2
	}
	if *s.work > maxWork {
		return at(line, errdefs.Limit("the expression takes too long"))
	}
	return nil
}

// lineError is an error with its line; the innermost one counts.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string {
	if e.line == 0 { // a string of a JSON file
		return e.err.Error()
	}
	return fmt.Sprintf("line %d: %v", e.line, e.err)
}

func (e *lineError) Unwrap() error { return e.err }

func at(line int, err error) error {
	var have *lineError
	if errors.As(err, &have) {
		return err
	}
	return &lineError{line, err}
}

func invalid(line int, format string, args ...any) error {
	return at(line, errdefs.Invalid(format, args...))
}
