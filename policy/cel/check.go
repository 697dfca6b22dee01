package cel

import (
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

const (
	// maxPattern is the length of a regular expression, in bytes.
	maxPattern = 1024
	// maxWritten is how big it may be when its repetitions are written out.
	maxWritten = 10_000
)

// checker finds the type of each part of a tree.
type checker struct {
	text      string
	vars      map[string]*Type
	functions map[string][]overload
	// loops are the variables of the loops around, the innermost last.
	loops []loopVar
	used  []string
}

type loopVar struct {
	name string
	t    *Type
}

func (c *checker) bad(n *node, format string, args ...any) error {
	return errdefs.Invalid("%s: %w", place(c.text, n.pos), errdefs.Invalid(format, args...))
}

func (c *checker) check(n *node) (*Type, error) {
	switch n.op {
	case opLiteral:
		return typeOf(n.value), nil
	case opName:
		return c.variable(n)
	case opLoop:
		return c.loop(n)
	}
	types := make([]*Type, len(n.args))
	for i, a := range n.args {
		var err error
		if types[i], err = c.check(a); err != nil {
			return nil, err
		}
	}
	switch n.op {
	case opField, opHas:
		t, err := c.field(n, types[0])
		if n.op == opHas {
			return Bool, err
		}
		return t, err
	case opIndex:
		return c.index(n, types[0], types[1])
	case opList:
		var elem *Type
		for _, t := range types {
			elem = join(elem, t)
		}
		return ListOf(join(elem, nilIsDyn(elem))), nil
	case opMap:
		return c.mapOf(n, types)
	case opAnd, opOr:
		return Bool, c.wantBool(n.name, n.args, types)
	case opChoice:
		if err := c.wantBool("?", n.args[:1], types[:1]); err != nil {
			return nil, err
		}
		return join(types[1], types[2]), nil
	}
	return c.call(n, types)
}

func nilIsDyn(t *Type) *Type {
	if t == nil {
		return Dyn
	}
	return t
}

func (c *checker) wantBool(what string, args []*node, types []*Type) error {
	for i, t := range types {
		if !Bool.takes(t) {
			return c.bad(args[i], "%s wants a bool, not %s", what, t)
		}
	}
	return nil
}

func typeOf(v any) *Type {
	switch v.(type) {
	case nil:
		return Null
	case bool:
		return Bool
	case int64:
		return Int
	case uint64:
		return Uint
	case float64:
		return Double
	case string:
		return String
	case []byte:
		return Bytes
	case time.Time:
		return Timestamp
	case time.Duration:
		return Duration
	}
	return Dyn
}

func (c *checker) variable(n *node) (*Type, error) {
	for i := len(c.loops) - 1; i >= 0; i-- {
		if c.loops[i].name == n.name {
			return c.loops[i].t, nil
		}
	}
	t, ok := c.vars[n.name]
	if !ok {
		return nil, c.bad(n, "there is no variable %s; there are %s", n.name, names(c.vars))
	}
	c.used = append(c.used, n.name)
	return t, nil
}

func names[T any](m map[string]T) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

func (c *checker) field(n *node, of *Type) (*Type, error) {
	switch of.kind {
	case kindDyn:
		return Dyn, nil
	case kindMap:
		if !of.key.takes(String) {
			return nil, c.bad(n, "the keys of %s are no texts", of)
		}
		return of.elem, nil
	case kindObject:
		if t, ok := of.fields[n.name]; ok {
			return t, nil
		}
		return nil, c.bad(n, "%s has no field %s; it has %s", of, n.name, names(of.fields))
	}
	return nil, c.bad(n, "%s has no fields", of)
}

func (c *checker) index(n *node, of, by *Type) (*Type, error) {
	switch {
	case of.kind == kindDyn:
		return Dyn, nil
	case of.kind == kindList && Int.takes(by):
		return of.elem, nil
	case of.kind == kindMap && of.key.takes(by):
		return of.elem, nil
	}
	return nil, c.bad(n, "%s cannot be indexed with %s", of, by)
}

func (c *checker) mapOf(n *node, types []*Type) (*Type, error) {
	var key, elem *Type
	for i := 0; i < len(types); i += 2 {
		switch types[i].kind {
		case kindDyn, kindString, kindInt, kindUint, kindBool:
		default:
			return nil, c.bad(n.args[i], "a key of a map is a string, an int, a uint or a bool, not %s", types[i])
		}
		key, elem = join(key, types[i]), join(elem, types[i+1])
	}
	return MapOf(nilIsDyn(key), nilIsDyn(elem)), nil
}

func (c *checker) loop(n *node) (*Type, error) {
	over, err := c.check(n.args[0])
	if err != nil {
		return nil, err
	}
	elem := Dyn
	switch over.kind {
	case kindDyn:
	case kindList:
		elem = over.elem
	case kindMap:
		elem = over.key
	default:
		return nil, c.bad(n, "%s goes over a list or the keys of a map, not %s", n.macro, over)
	}
	c.loops = append(c.loops, loopVar{n.name, elem})
	defer func() { c.loops = c.loops[:len(c.loops)-1] }()
	types := make([]*Type, len(n.args)-1)
	for i, a := range n.args[1:] {
		if types[i], err = c.check(a); err != nil {
			return nil, err
		}
	}
	conditions := len(types)
	if n.macro == "map" {
		conditions--
	}
	if err := c.wantBool(n.macro, n.args[1:1+conditions], types[:conditions]); err != nil {
		return nil, err
	}
	switch n.macro {
	case "filter":
		return ListOf(elem), nil
	case "map":
		return ListOf(types[len(types)-1]), nil
	}
	return Bool, nil
}

// call chooses the overloads of a function that fit.
func (c *checker) call(n *node, types []*Type) (*Type, error) {
	if n.name == "==" || n.name == "!=" {
		if !equatable(types[0], types[1]) {
			return nil, c.bad(n, "%s and %s cannot be compared", types[0], types[1])
		}
		return Bool, nil
	}
	all := c.functions[n.name]
	if all == nil {
		if isOther(n.name) {
			return nil, errdefs.Unsupported("%s: the function %s of CEL is not supported", place(c.text, n.pos), n.name)
		}
		return nil, c.bad(n, "there is no function %s", n.name)
	}
	var result *Type
	for _, o := range all {
		if o.member == n.member && fits(o.args, types) {
			n.overloads = append(n.overloads, o)
			result = join(result, o.result(types))
		}
	}
	if result == nil {
		return nil, c.bad(n, "%s does not take (%s)", strings.TrimSuffix(n.name, "_"), typeNames(types))
	}
	if n.name == "matches" {
		return result, c.compile(n)
	}
	return result, nil
}

// isOther tells functions of CEL that are left out.
func isOther(name string) bool {
	switch name {
	case "type", "optional", "cel", "getMilliseconds", "format", "reverse", "distinct", "sort", "sortBy", "slice", "flatten", "range":
		return true
	}
	return false
}

func fits(want, got []*Type) bool {
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if !want[i].takes(got[i]) {
			return false
		}
	}
	return true
}

// compile compiles a regular expression that does not change.
func (c *checker) compile(n *node) error {
	if len(n.args) != 2 || n.args[1].op != opLiteral {
		return nil
	}
	text, _ := n.args[1].value.(string)
	re, err := compilePattern(text)
	if err != nil {
		return c.bad(n.args[1], "%w", err)
	}
	n.pattern = re
	return nil
}

// expression is a regular expression with what it has when its repetitions are written out.
type expression struct {
	*regexp.Regexp
	size int
}

// written is how big a regular expression is when its repetitions are written out.
func written(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, s := range re.Sub {
		n += written(s)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}

func compilePattern(text string) (*expression, error) {
	if len(text) > maxPattern {
		return nil, errdefs.Limit("a regular expression of %d bytes, more than %d", len(text), maxPattern)
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, errdefs.Invalid("%w", err)
	}
	size := written(tree)
	if size > maxWritten {
		return nil, errdefs.Limit("a regular expression that repeats more than %d parts", maxWritten)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, errdefs.Invalid("%w", err)
	}
	return &expression{re, size}, nil
}
