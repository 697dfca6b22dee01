package hcl

import (
	"github.com/camada/camada/errdefs"
)

// call is NAME(ARGS), or NAME(ARGS...) with spread, where the last argument is a list of arguments.
type call struct {
	line   int
	name   string
	args   []Expr
	spread bool
}

func (c call) Eval(s *Scope) (any, error) {
	s, err := s.enter(c.line)
	if err != nil {
		return nil, err
	}
	if c.name == "try" || c.name == "can" {
		return c.try(s)
	}
	var args []any
	for i, a := range c.args {
		v, err := a.Eval(s)
		if err != nil {
			return nil, err
		}
		if c.spread && i == len(c.args)-1 {
			more, ok := v.([]any)
			if !ok {
				return nil, invalid(c.line, "%s(...): %s is not a list", c.name, kind(v))
			}
			args = append(args, more...)
			continue
		}
		args = append(args, v)
	}
	f := builtin(c.name)
	if f == nil && s.Func != nil {
		f, _ = s.Func(c.name)
	}
	if f == nil {
		return nil, invalid(c.line, "there is no function %q", c.name)
	}
	v, err := f(args)
	if err != nil {
		return nil, at(c.line, err)
	}
	if err := bounded(c.line, v); err != nil {
		return nil, err
	}
	return v, s.made(c.line, v)
}

// try returns the first argument that has a value; can, whether it has one.
func (c call) try(s *Scope) (any, error) {
	var last error
	for _, a := range c.args {
		v, err := a.Eval(s)
		if errdefs.IsLimit(err) {
			return nil, err
		}
		if c.name == "can" {
			return err == nil, nil
		}
		if last = err; err == nil {
			return v, nil
		}
	}
	if last == nil {
		last = invalid(c.line, "%s of nothing", c.name)
	}
	return nil, last
}
