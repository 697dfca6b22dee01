package cel

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// evaluation is one run of a program.
type evaluation struct {
	// interrupted is an error once the context is done.
	interrupted func() error
	lookup      func(string) (any, error)
	known       map[string]answer
	left        int
	text        string
	// ended is the bound that was reached.
	ended error
}

// answer is what lookup said.
type answer struct {
	value any
	err   error
}

// scope is the variable of a loop.
type scope struct {
	name  string
	value any
	outer *scope
}

// spend counts steps.
func (e *evaluation) spend(n int) error {
	if e.ended != nil {
		return e.ended
	}
	before := e.left
	if e.left -= n; e.left < 0 {
		e.ended = errdefs.Limit("the expression takes more than %d steps", MaxCost)
	} else if before>>10 != e.left>>10 {
		e.ended = e.interrupted()
	}
	return e.ended
}

func (e *evaluation) at(n *node, err error) error {
	return fmt.Errorf("%s: %w", place(e.text, n.pos), err)
}

func (e *evaluation) bad(n *node, format string, args ...any) error {
	return e.at(n, errdefs.Invalid(format, args...))
}

func (e *evaluation) eval(n *node, s *scope) (any, error) {
	if err := e.spend(1); err != nil {
		return nil, err
	}
	switch n.op {
	case opLiteral:
		return n.value, nil
	case opName:
		return e.name(n, s)
	case opAnd, opOr:
		return e.logic(n, s)
	case opChoice:
		cond, err := e.truth(n.args[0], s)
		if err != nil {
			return nil, err
		}
		if cond {
			return e.eval(n.args[1], s)
		}
		return e.eval(n.args[2], s)
	case opLoop:
		return e.loop(n, s)
	}
	args := make([]any, len(n.args))
	for i, a := range n.args {
		var err error
		if args[i], err = e.eval(a, s); err != nil {
			return nil, err
		}
	}
	switch n.op {
	case opList:
		return args, nil
	case opMap:
		return e.makeMap(n, args)
	case opField:
		return e.get(n, args[0], n.name)
	case opHas:
		if !isMap(args[0]) {
			return nil, e.bad(n, "no such overload: has of %s", typeOfValue(args[0]))
		}
		_, ok := lookUp(args[0], n.name)
		return ok, nil
	case opIndex:
		return e.index(n, args[0], args[1])
	}
	return e.call(n, args)
}

func (e *evaluation) name(n *node, s *scope) (any, error) {
	for ; s != nil; s = s.outer {
		if s.name == n.name {
			return s.value, nil
		}
	}
	a, ok := e.known[n.name]
	if !ok {
		a.value, a.err = e.lookup(n.name)
		e.known[n.name] = a
	}
	if a.err != nil {
		return nil, e.at(n, a.err)
	}
	return a.value, nil
}

// truth evaluates what must be a bool.
func (e *evaluation) truth(n *node, s *scope) (bool, error) {
	v, err := e.eval(n, s)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, e.bad(n, "no such overload: want a bool, not %s", typeOfValue(v))
	}
	return b, nil
}

// logic is && and ||: one side that decides makes errors of the other go away (langdef.md, "Logical Operators").
func (e *evaluation) logic(n *node, s *scope) (any, error) {
	decides := n.op == opOr
	left, err := e.truth(n.args[0], s)
	if err == nil && left == decides {
		return decides, nil
	}
	right, rightErr := e.truth(n.args[1], s)
	if rightErr == nil && right == decides {
		return decides, nil
	}
	if err == nil {
		err = rightErr
	}
	if err != nil {
		return nil, err
	}
	return !decides, nil
}

func (e *evaluation) makeMap(n *node, args []any) (any, error) {
	m := make(map[any]any, len(args)/2)
	for i := 0; i < len(args); i += 2 {
		switch args[i].(type) {
		case string, int64, uint64, bool:
		default:
			return nil, e.bad(n.args[i], "a key of a map is a string, an int, a uint or a bool, not %s", typeOfValue(args[i]))
		}
		if _, twice := lookUp(m, args[i]); twice {
			return nil, e.bad(n.args[i], "the key is there twice")
		}
		m[args[i]] = args[i+1]
	}
	return m, nil
}

func isMap(v any) bool {
	switch v.(type) {
	case map[string]any, map[any]any:
		return true
	}
	return false
}

// lookUp finds a key of a map. Numbers are the same key whatever they are held in.
func lookUp(m, key any) (any, bool) {
	switch m := m.(type) {
	case map[string]any:
		s, ok := key.(string)
		if !ok {
			return nil, false
		}
		v, ok := m[s]
		return v, ok
	case map[any]any:
		switch key := key.(type) {
		case string, bool:
			v, ok := m[key]
			return v, ok
		case int64:
			if v, ok := m[key]; ok || key < 0 {
				return v, ok
			}
			v, ok := m[uint64(key)]
			return v, ok
		case uint64:
			if v, ok := m[key]; ok || key > 1<<63-1 {
				return v, ok
			}
			v, ok := m[int64(key)]
			return v, ok
		case float64:
			if i := int64(key); float64(i) == key {
				return lookUp(m, i)
			}
		}
	}
	return nil, false
}

func (e *evaluation) get(n *node, of any, key any) (any, error) {
	if !isMap(of) {
		return nil, e.bad(n, "no such overload: %s has no fields", typeOfValue(of))
	}
	v, ok := lookUp(of, key)
	if !ok {
		return nil, e.bad(n, "no such key: %v", key)
	}
	return v, nil
}

func (e *evaluation) index(n *node, of, by any) (any, error) {
	list, ok := of.([]any)
	if !ok {
		return e.get(n, of, by)
	}
	var i int64
	switch by := by.(type) {
	case int64:
		i = by
	case uint64:
		i = int64(min(by, 1<<62))
	case float64:
		if i = int64(by); float64(i) != by {
			return nil, e.bad(n, "no such index: %v", by)
		}
	default:
		return nil, e.bad(n, "no such overload: a list has no index %s", typeOfValue(by))
	}
	if i < 0 || i >= int64(len(list)) {
		return nil, e.bad(n, "no such index: %d, of %d", i, len(list))
	}
	return list[i], nil
}

// elements are those of a list, or the keys of a map, in order.
func elements(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case map[string]any:
		out := make([]any, 0, len(v))
		for k := range v {
			out = append(out, k)
		}
		slices.SortFunc(out, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		return out, true
	case map[any]any:
		out := make([]any, 0, len(v))
		for k := range v {
			out = append(out, k)
		}
		slices.SortFunc(out, func(a, b any) int {
			if c, ok := compare(a, b); ok {
				return c
			}
			return cmp.Compare(typeOf(a).kind, typeOf(b).kind)
		})
		return out, true
	}
	return nil, false
}

// loop is a macro over the elements of a list or the keys of a map (langdef.md, "Macros").
func (e *evaluation) loop(n *node, s *scope) (any, error) {
	over, err := e.eval(n.args[0], s)
	if err != nil {
		return nil, err
	}
	list, ok := elements(over)
	if !ok {
		return nil, e.bad(n, "no such overload: %s over %s", n.macro, typeOfValue(over))
	}
	inner := func(v any) *scope { return &scope{n.name, v, s} }
	switch n.macro {
	case "all", "exists":
		return e.decide(list, n.macro == "exists", func(v any) (bool, error) { return e.truth(n.args[1], inner(v)) })
	case "exists_one":
		found := 0
		for _, v := range list {
			ok, err := e.truth(n.args[1], inner(v))
			if err != nil {
				return nil, err
			}
			if ok {
				found++
			}
		}
		return found == 1, nil
	}
	out := []any{}
	for _, v := range list {
		s := inner(v)
		if n.macro == "filter" || len(n.args) == 3 {
			ok, err := e.truth(n.args[1], s)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
		}
		if n.macro == "map" {
			if v, err = e.eval(n.args[len(n.args)-1], s); err != nil {
				return nil, err
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// decide is && or || over all elements.
func (e *evaluation) decide(list []any, decides bool, of func(any) (bool, error)) (any, error) {
	var first error
	for _, v := range list {
		b, err := of(v)
		if err == nil && b == decides {
			return decides, nil
		}
		if err != nil && first == nil {
			first = err
		}
		if e.ended != nil {
			return nil, e.ended
		}
	}
	if first != nil {
		return nil, first
	}
	return !decides, nil
}

func (e *evaluation) call(n *node, args []any) (any, error) {
	for _, a := range args {
		if err := e.spend(weight(a)); err != nil {
			return nil, err
		}
	}
	switch n.name {
	case "==":
		return e.equal(args[0], args[1]), nil
	case "!=":
		return !e.equal(args[0], args[1]), nil
	}
	for _, o := range n.overloads {
		if !accepts(o.args, args) {
			continue
		}
		v, err := o.do(&call{e, n}, args)
		if err != nil {
			return nil, e.at(n, err)
		}
		return v, nil
	}
	types := make([]*Type, len(args))
	for i, a := range args {
		types[i] = typeOfValue(a)
	}
	return nil, e.bad(n, "no such overload: %s(%s)", strings.TrimSuffix(n.name, "_"), typeNames(types))
}

// weight is what a value adds to the cost of a function that reads it.
func weight(v any) int {
	switch v := v.(type) {
	case string:
		return len(v) / 16
	case []byte:
		return len(v) / 16
	case []any:
		return len(v)
	case map[any]any:
		return len(v)
	case map[string]any:
		return len(v)
	}
	return 0
}

// typeOfValue is typeOf, also of lists and maps.
func typeOfValue(v any) *Type {
	switch v.(type) {
	case []any:
		return ListOf(Dyn)
	case map[any]any, map[string]any:
		return MapOf(Dyn, Dyn)
	}
	return typeOf(v)
}

func accepts(want []*Type, args []any) bool {
	for i, t := range want {
		if k := typeOfValue(args[i]).kind; t.kind != kindDyn && k != t.kind && !(t.kind == kindObject && k == kindMap) {
			return false
		}
	}
	return true
}
