package hcl

import (
	"maps"
	"slices"
	"strings"
)

// loop is [for KEY, VALUE in OVER : RESULT if COND], and with object {for ... : NAME => RESULT}.
type loop struct {
	line                     int
	key, value               string
	over, name, result, cond Expr
	object, group            bool
}

func (f loop) Eval(s *Scope) (any, error) {
	s, err := s.enter(f.line)
	if err != nil {
		return nil, err
	}
	over, err := f.over.Eval(s)
	if err != nil {
		return nil, err
	}
	items := []any{}
	named := map[string]any{}
	each := func(k, v any) error {
		in := s.With(map[string]any{f.value: v})
		if f.key != "" {
			in.locals[f.key] = k
		}
		return f.one(in, &items, named)
	}
	switch over := over.(type) {
	case []any:
		for i, v := range over {
			if err := each(float64(i), v); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(over)) {
			if err := each(k, over[k]); err != nil {
				return nil, err
			}
		}
	default:
		return nil, invalid(f.line, "for: %s is not a list or a map", kind(over))
	}
	if f.object {
		return named, nil
	}
	return items, nil
}

// one adds what the loop makes of one element.
func (f loop) one(s *Scope, items *[]any, named map[string]any) error {
	s, err := s.enter(f.line)
	if err != nil {
		return err
	}
	if f.cond != nil {
		v, err := f.cond.Eval(s)
		if err != nil {
			return err
		}
		if yes, err := boolean(v); err != nil || !yes {
			return err
		}
	}
	v, err := f.result.Eval(s)
	if err != nil {
		return err
	}
	if !f.object {
		*items = append(*items, v)
		return bounded(f.line, *items)
	}
	k, err := f.name.Eval(s)
	if err != nil {
		return err
	}
	name, err := Text(k)
	if err != nil {
		return at(f.line, err)
	}
	if f.group {
		have, _ := named[name].([]any)
		named[name] = append(have, v)
		return nil
	}
	if _, twice := named[name]; twice {
		return invalid(f.line, "for makes %q twice", name)
	}
	named[name] = v
	return nil
}

// repetition is %{for VALUE in OVER}RESULT%{endfor}: the results in a row.
type repetition struct{ loop loop }

func (r repetition) Eval(s *Scope) (any, error) {
	s, err := s.enter(r.loop.line)
	if err != nil {
		return nil, err
	}
	v, err := r.loop.Eval(s)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, e := range v.([]any) {
		text, err := Text(e)
		if err != nil {
			return nil, at(r.loop.line, err)
		}
		if b.WriteString(text); b.Len() > maxText {
			break
		}
	}
	return b.String(), s.wrote(r.loop.line, b.Len())
}

// splat is OF[*].EACH or OF.*.EACH; in EACH, "*" is the element.
type splat struct {
	line     int
	of, each Expr
}

func (x splat) Eval(s *Scope) (any, error) {
	s, err := s.enter(x.line)
	if err != nil {
		return nil, err
	}
	of, err := x.of.Eval(s)
	if err != nil {
		return nil, err
	}
	all, ok := of.([]any)
	if !ok {
		if of == nil {
			return []any{}, nil
		}
		all = []any{of}
	}
	out := make([]any, 0, len(all))
	for _, v := range all {
		r, err := x.each.Eval(s.With(map[string]any{"*": v}))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
