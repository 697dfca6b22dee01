package bake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/camada/camada/bake/internal/hcl"
	"github.com/camada/camada/errdefs"
)

// sheet is what bake files say, before it is evaluated: variables of one file are seen in all.
type sheet struct {
	getenv    func(string) (string, bool)
	variables map[string]*variable
	functions map[string]*function
	blocks    []block
	// calls and depth are how many calls of functions there were, and how many are under way.
	calls, depth int
}

const (
	maxCallDepth = 50
	maxCalls     = 100_000
)

type variable struct {
	file  string
	value hcl.Expr // nil without a default
	// fixed variables are attributes at the top of a file: the environment does not set them.
	fixed bool
	// state of the evaluation: 0 not begun, 1 under way, 2 done.
	state  int
	result any
}

type function struct {
	file     string
	params   []string
	variadic string
	result   hcl.Expr
}

// block is a target or a group.
type block struct {
	file, name string
	group      bool
	line       int
	attrs      []hcl.Attr
}

func newSheet(getenv func(string) (string, bool)) *sheet {
	return &sheet{getenv: getenv, variables: map[string]*variable{}, functions: map[string]*function{}}
}

func (s *sheet) addHCL(f File) error {
	body, err := hcl.Parse(f.Name, f.Data)
	if err != nil {
		return err
	}
	return s.addBody(f.Name, body)
}

// addJSON reads a file in JSON: the same, with objects for blocks and templates for strings.
func (s *sheet) addJSON(f File) error {
	if len(f.Data) > hcl.MaxSize {
		return errdefs.Limit("%s has %d bytes, more than %d", f.Name, len(f.Data), hcl.MaxSize)
	}
	dec := json.NewDecoder(bytes.NewReader(f.Data))
	var top map[string]any
	if err := dec.Decode(&top); err != nil {
		return errdefs.Invalid("%s: %w", f.Name, err)
	}
	if dec.More() {
		return errdefs.Invalid("%s: more than one JSON document", f.Name)
	}
	body := &hcl.Body{}
	for _, kind := range sortedKeys(top) {
		named, isMap := top[kind].(map[string]any)
		switch kind {
		case "target", "group", "variable", "function":
		default:
			e, err := jsonExpr(top[kind])
			if err != nil {
				return inFile(f.Name, err)
			}
			body.Attrs = append(body.Attrs, hcl.Attr{Name: kind, Expr: e})
			continue
		}
		if !isMap {
			return errdefs.Invalid("%s: %q is not an object", f.Name, kind)
		}
		for _, name := range sortedKeys(named) {
			def, ok := named[name].(map[string]any)
			if !ok {
				if named[name] != nil {
					return errdefs.Invalid("%s: %s %q is not an object", f.Name, kind, name)
				}
				def = map[string]any{}
			}
			b := hcl.Block{Type: kind, Labels: []string{name}}
			for _, k := range sortedKeys(def) {
				e, err := jsonExpr(def[k])
				if err != nil {
					return inFile(f.Name, err)
				}
				b.Body.Attrs = append(b.Body.Attrs, hcl.Attr{Name: k, Expr: e})
			}
			body.Blocks = append(body.Blocks, b)
		}
	}
	return s.addBody(f.Name, body)
}

// jsonValue is a JSON value as an expression: its strings are templates.
type jsonValue struct{ v any }

func jsonExpr(v any) (hcl.Expr, error) {
	switch v := v.(type) {
	case string:
		return hcl.ParseTemplate(v, 0)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			x, err := jsonExpr(e)
			if err != nil {
				return nil, err
			}
			out[i] = x
		}
		return jsonValue{out}, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			x, err := jsonExpr(e)
			if err != nil {
				return nil, err
			}
			out[k] = x
		}
		return jsonValue{out}, nil
	}
	return jsonValue{v}, nil
}

// Eval implements hcl.Expr.
func (j jsonValue) Eval(s *hcl.Scope) (any, error) {
	switch v := j.v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			var err error
			if out[i], err = e.(hcl.Expr).Eval(s); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			var err error
			if out[k], err = e.(hcl.Expr).Eval(s); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return j.v, nil
}

func (s *sheet) addBody(file string, body *hcl.Body) error {
	for _, a := range body.Attrs {
		s.variables[a.Name] = &variable{file: file, value: a.Expr, fixed: true}
	}
	for _, b := range body.Blocks {
		if len(b.Labels) != 1 {
			return errdefs.Invalid("%s: line %d: want %s \"NAME\" { ... }", file, b.Line, b.Type)
		}
		name := b.Labels[0]
		switch b.Type {
		case "target", "group":
			if !validName(name) {
				return errdefs.Invalid("%s: line %d: %q is not a name: want letters, digits, _ and -", file, b.Line, name)
			}
			if len(b.Body.Blocks) > 0 {
				return errdefs.Invalid("%s: line %d: a %s has no blocks in it", file, b.Body.Blocks[0].Line, b.Type)
			}
			s.blocks = append(s.blocks, block{file: file, name: name, group: b.Type == "group", line: b.Line, attrs: b.Body.Attrs})
		case "variable":
			v := &variable{file: file}
			for _, a := range b.Body.Attrs {
				switch a.Name {
				case "default":
					v.value = a.Expr
				case "type", "description":
				default:
					return errdefs.Invalid("%s: line %d: unknown key %q of a variable", file, a.Line, a.Name)
				}
			}
			s.variables[name] = v
		case "function":
			fn, err := s.function(file, b)
			if err != nil {
				return err
			}
			s.functions[name] = fn
		default:
			return errdefs.Invalid("%s: line %d: unknown block %q: want target, group, variable or function", file, b.Line, b.Type)
		}
	}
	return nil
}

// validName is what names of targets may be.
func validName(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// names reads the list of parameters, which are bare names and no variables.
func names(e hcl.Expr) ([]string, error) {
	scope := &hcl.Scope{Var: func(name string) (any, bool, error) { return name, true, nil }}
	v, err := e.Eval(scope)
	if err != nil {
		return nil, err
	}
	var out []string
	err = texts(&out, v)
	return out, err
}

func (s *sheet) function(file string, b hcl.Block) (*function, error) {
	fn := &function{file: file}
	for _, a := range b.Body.Attrs {
		var err error
		switch a.Name {
		case "params":
			fn.params, err = names(a.Expr)
		case "variadic_params":
			var v any
			if v, err = a.Expr.Eval(&hcl.Scope{Var: func(name string) (any, bool, error) { return name, true, nil }}); err == nil {
				fn.variadic, err = hcl.Text(v)
			}
		case "result":
			fn.result = a.Expr
		default:
			err = errdefs.Invalid("unknown key %q of a function", a.Name)
		}
		if err != nil {
			return nil, errdefs.Invalid("%s: line %d: %w", file, a.Line, err)
		}
	}
	if fn.result == nil {
		return nil, errdefs.Invalid("%s: line %d: the function has no result", file, b.Line)
	}
	return fn, nil
}

// scope is what expressions of the files see.
func (s *sheet) scope() *hcl.Scope {
	sc := &hcl.Scope{Var: s.lookup}
	sc.Func = func(name string) (hcl.Func, bool) {
		fn := s.functions[name]
		if fn == nil {
			return nil, false
		}
		return func(args []any) (any, error) { return s.call(name, fn, args) }, true
	}
	return sc
}

func (s *sheet) call(name string, fn *function, args []any) (any, error) {
	if len(args) < len(fn.params) || len(args) > len(fn.params) && fn.variadic == "" {
		return nil, errdefs.Invalid("%s wants %d arguments, not %d", name, len(fn.params), len(args))
	}
	locals := map[string]any{}
	for i, p := range fn.params {
		locals[p] = args[i]
	}
	if fn.variadic != "" {
		locals[fn.variadic] = append([]any{}, args[len(fn.params):]...)
	}
	s.calls++
	s.depth++
	defer func() { s.depth-- }()
	if s.depth > maxCallDepth || s.calls > maxCalls {
		return nil, errdefs.Limit("%s: functions call each other too deep or too often", name)
	}
	return fn.result.Eval(s.scope().With(locals))
}

// lookup finds a variable: the environment's value, if there is one, in the form of the default.
func (s *sheet) lookup(name string) (any, bool, error) {
	v := s.variables[name]
	if v == nil {
		if name == "BAKE_LOCAL_PLATFORM" || name == "BAKE_CMD_CONTEXT" {
			env, _ := s.getenv(name)
			return env, true, nil
		}
		return nil, false, nil
	}
	switch v.state {
	case 1:
		return nil, false, errdefs.Invalid("variable %q is made of itself", name)
	case 2:
		return v.result, true, nil
	}
	v.state = 1
	if v.value != nil {
		var err error
		if v.result, err = v.value.Eval(s.scope()); err != nil {
			return nil, false, fmt.Errorf("%s: variable %s: %w", v.file, name, err)
		}
	}
	if env, ok := s.getenv(name); ok && !v.fixed {
		typed, err := asTyped(env, v.result)
		if err != nil {
			return nil, false, errdefs.Invalid("the environment variable %s: %w", name, err)
		}
		v.result = typed
	}
	v.state = 2
	return v.result, true, nil
}

// asTyped reads a text of the environment as what the default is.
func asTyped(text string, like any) (any, error) {
	switch like.(type) {
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, errdefs.Invalid("want true or false")
		}
		return b, nil
	case float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, errdefs.Invalid("want a number")
		}
		return n, nil
	case []any:
		out := []any{}
		for part := range strings.SplitSeq(text, ",") {
			out = append(out, strings.TrimSpace(part))
		}
		return out, nil
	}
	return text, nil
}

// evaluate adds the targets and groups to c.
func (s *sheet) evaluate(c *config) error {
	for _, b := range s.blocks {
		var err error
		if b.group {
			err = s.group(b, c)
		} else {
			err = s.target(b, c)
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %w", b.file, b.name, err)
		}
	}
	return nil
}

func (s *sheet) group(b block, c *config) error {
	for _, a := range b.attrs {
		v, err := a.Expr.Eval(s.scope())
		if err != nil {
			return err
		}
		switch a.Name {
		case "targets":
			var members []string
			if err := texts(&members, v); err != nil {
				return fmt.Errorf("targets: %w", err)
			}
			c.groups[b.name] = members
		case "description":
			if c.about[b.name], err = hcl.Text(v); err != nil {
				return err
			}
		default:
			return errdefs.Invalid("unknown key %q of a group", a.Name)
		}
	}
	if c.groups[b.name] == nil {
		c.groups[b.name] = []string{}
	}
	return nil
}

// target adds the target of a block, or one for each combination of its matrix.
func (s *sheet) target(b block, c *config) error {
	var matrix, name hcl.Expr
	for _, a := range b.attrs {
		switch a.Name {
		case "matrix":
			matrix = a.Expr
		case "name":
			name = a.Expr
		}
	}
	if matrix == nil {
		if name != nil {
			return errdefs.Invalid("name goes with a matrix")
		}
		return s.one(b, b.name, nil, c)
	}
	if name == nil {
		return errdefs.Invalid("a matrix wants a name for each target")
	}
	v, err := matrix.Eval(s.scope())
	if err != nil {
		return err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return errdefs.Invalid("matrix: want a map of lists")
	}
	combinations := []map[string]any{{}}
	for _, k := range sortedKeys(m) {
		l, ok := m[k].([]any)
		if !ok {
			return errdefs.Invalid("matrix: %s is not a list", k)
		}
		var next []map[string]any
		for _, have := range combinations {
			for _, e := range l {
				with := map[string]any{k: e}
				for n, v := range have {
					with[n] = v
				}
				next = append(next, with)
			}
		}
		if combinations = next; len(combinations) > maxTargets {
			return errdefs.Limit("matrix: more than %d combinations", maxTargets)
		}
	}
	members := []string{}
	for _, locals := range combinations {
		v, err := name.Eval(s.scope().With(locals))
		if err != nil {
			return err
		}
		n, err := hcl.Text(v)
		if err != nil {
			return err
		}
		if !validName(n) {
			return errdefs.Invalid("matrix: %q is not a name: want letters, digits, _ and -; see the function sanitize", n)
		}
		if err := s.one(b, n, locals, c); err != nil {
			return err
		}
		members = append(members, n)
	}
	c.groups[b.name] = members
	return nil
}

func (s *sheet) one(b block, name string, locals map[string]any, c *config) error {
	t := &Target{Name: name}
	scope := s.scope().With(locals)
	for _, a := range b.attrs {
		if a.Name == "matrix" || a.Name == "name" {
			continue
		}
		v, err := a.Expr.Eval(scope)
		if err != nil {
			return err
		}
		if err := t.set(a.Name, v); err != nil {
			if a.Line > 0 {
				return fmt.Errorf("line %d: %s: %w", a.Line, a.Name, err)
			}
			return fmt.Errorf("%s: %w", a.Name, err)
		}
	}
	c.add(t)
	return nil
}
