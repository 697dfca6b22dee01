package hcl

import "strings"

// value is a literal.
type value struct{ v any }

func (v value) Eval(*Scope) (any, error) { return v.v, nil }

// local is a name: of a variable, or one that a loop or a function gave.
type local struct {
	line int
	name string
}

func (l local) Eval(s *Scope) (any, error) {
	if v, ok := s.locals[l.name]; ok {
		return v, nil
	}
	if s.Var != nil {
		v, ok, err := s.Var(l.name)
		if err != nil {
			return nil, at(l.line, err)
		}
		if ok {
			return v, nil
		}
	}
	return nil, invalid(l.line, "there is no variable %q", l.name)
}

// index is OF.KEY or OF[KEY].
type index struct {
	line    int
	of, key Expr
}

func (x index) Eval(s *Scope) (any, error) {
	of, err := x.of.Eval(s)
	if err != nil {
		return nil, err
	}
	key, err := x.key.Eval(s)
	if err != nil {
		return nil, err
	}
	v, err := element(of, key)
	if err != nil {
		return nil, at(x.line, err)
	}
	return v, nil
}

type list []Expr

type object []entry

type entry struct {
	line       int
	key, value Expr
}

func (l list) Eval(s *Scope) (any, error) {
	out := make([]any, 0, len(l))
	for _, e := range l {
		v, err := e.Eval(s)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (o object) Eval(s *Scope) (any, error) {
	out := make(map[string]any, len(o))
	for _, e := range o {
		k, err := e.key.Eval(s)
		if err != nil {
			return nil, err
		}
		name, err := Text(k)
		if err != nil {
			return nil, at(e.line, err)
		}
		if out[name], err = e.value.Eval(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// condition is COND ? YES : NO, or %{if COND}YES%{else}NO%{endif}.
type condition struct {
	line          int
	cond, yes, no Expr
}

func (c condition) Eval(s *Scope) (any, error) {
	s, err := s.enter(c.line)
	if err != nil {
		return nil, err
	}
	v, err := c.cond.Eval(s)
	if err != nil {
		return nil, err
	}
	yes, err := boolean(v)
	if err != nil {
		return nil, at(c.line, err)
	}
	if yes {
		return c.yes.Eval(s)
	}
	return c.no.Eval(s)
}

// template is text with expressions in it. Its value is a string, whatever those of its parts are.
type template struct {
	line  int
	parts []Expr
}

func (t template) Eval(s *Scope) (any, error) {
	s, err := s.enter(t.line)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, p := range t.parts {
		v, err := p.Eval(s)
		if err != nil {
			return nil, err
		}
		text, err := Text(v)
		if err != nil {
			return nil, at(t.line, err)
		}
		if b.WriteString(text); b.Len() > maxText {
			break
		}
	}
	return b.String(), s.wrote(t.line, b.Len())
}
