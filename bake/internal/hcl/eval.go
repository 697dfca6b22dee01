package hcl

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

type (
	value  struct{ v any }
	list   []Expr
	object []entry
	entry  struct {
		line       int
		key, value Expr
	}
	template struct {
		line  int
		parts []Expr
	}
	local struct {
		line int
		name string
	}
	index struct {
		line    int
		of, key Expr
	}
	splat struct {
		line     int
		of, each Expr
	}
	call struct {
		line   int
		name   string
		args   []Expr
		spread bool
	}
	negation struct {
		line int
		op   string
		of   Expr
	}
	operation struct {
		line        int
		op          string
		left, right Expr
	}
	condition struct {
		line          int
		cond, yes, no Expr
	}
	loop struct {
		line                     int
		key, value               string
		over, name, result, cond Expr
		object, group            bool
	}
)

// simple is the template as a literal, or as the only expression in it, whose value keeps its type.
func (t template) simple() Expr {
	switch len(t.parts) {
	case 0:
		return value{""}
	case 1:
		return t.parts[0]
	}
	return t
}

func (v value) Eval(*Scope) (any, error) { return v.v, nil }

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
		if b.Len()+len(text) > maxText {
			return nil, at(t.line, errdefs.Limit("a string of more than %d bytes", maxText))
		}
		b.WriteString(text)
	}
	return b.String(), nil
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

func element(of, key any) (any, error) {
	switch of := of.(type) {
	case map[string]any:
		name, err := Text(key)
		if err != nil {
			return nil, err
		}
		v, ok := of[name]
		if !ok {
			return nil, errdefs.Invalid("the map has no %q", name)
		}
		return v, nil
	case []any:
		n, err := number(key)
		if err != nil {
			return nil, err
		}
		i := int(n)
		if float64(i) != n || i < 0 || i >= len(of) {
			return nil, errdefs.Invalid("the list has %d elements, no element %v", len(of), key)
		}
		return of[i], nil
	}
	return nil, errdefs.Invalid("%s has no elements", kind(of))
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
	return v, bounded(c.line, v)
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

func bounded(line int, v any) error {
	switch v := v.(type) {
	case string:
		if len(v) > maxText {
			return at(line, errdefs.Limit("a string of more than %d bytes", maxText))
		}
	case []any:
		if len(v) > maxItems {
			return at(line, errdefs.Limit("a list of more than %d elements", maxItems))
		}
	case map[string]any:
		if len(v) > maxItems {
			return at(line, errdefs.Limit("a map of more than %d elements", maxItems))
		}
	}
	return nil
}

func (n negation) Eval(s *Scope) (any, error) {
	v, err := n.of.Eval(s)
	if err != nil {
		return nil, err
	}
	if n.op == "!" {
		b, err := boolean(v)
		if err != nil {
			return nil, at(n.line, err)
		}
		return !b, nil
	}
	f, err := number(v)
	if err != nil {
		return nil, at(n.line, err)
	}
	return -f, nil
}

func (o operation) Eval(s *Scope) (any, error) {
	s, err := s.enter(o.line)
	if err != nil {
		return nil, err
	}
	l, err := o.left.Eval(s)
	if err != nil {
		return nil, err
	}
	if o.op == "&&" || o.op == "||" {
		b, err := boolean(l)
		if err != nil {
			return nil, at(o.line, err)
		}
		if b == (o.op == "||") {
			return b, nil
		}
	}
	r, err := o.right.Eval(s)
	if err != nil {
		return nil, err
	}
	v, err := operate(o.op, l, r)
	if err != nil {
		return nil, at(o.line, err)
	}
	return v, nil
}

func operate(op string, l, r any) (any, error) {
	switch op {
	case "==":
		return equal(l, r), nil
	case "!=":
		return !equal(l, r), nil
	case "&&", "||": // the left side left it open
		return boolean(r)
	}
	a, err := number(l)
	if err != nil {
		return nil, err
	}
	b, err := number(r)
	if err != nil {
		return nil, err
	}
	switch op {
	case "<":
		return a < b, nil
	case "<=":
		return a <= b, nil
	case ">":
		return a > b, nil
	case ">=":
		return a >= b, nil
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	}
	if b == 0 {
		return nil, errdefs.Invalid("division by zero")
	}
	if op == "/" {
		return a / b, nil
	}
	return math.Mod(a, b), nil
}

func equal(l, r any) bool { return reflect.DeepEqual(l, r) }

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

// Text is a value as a string, as templates show it.
func Text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	}
	return "", errdefs.Invalid("%s is not a string", kind(v))
}

func number(v any) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case string:
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			return n, nil
		}
	}
	return 0, errdefs.Invalid("%s is not a number", kind(v))
}

func boolean(v any) (bool, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		if v == "true" || v == "false" {
			return v == "true", nil
		}
	}
	return false, errdefs.Invalid("%s is neither true nor false", kind(v))
}

// kind names a value for messages, without saying what a long one holds.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return "the number " + strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		if len(v) > 60 {
			v = v[:60] + "..."
		}
		return "the string " + strconv.Quote(v)
	case []any:
		return "a list"
	}
	return "a map"
}
