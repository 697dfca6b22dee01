package cel

import (
	"math"

	"github.com/camada/camada/errdefs"
)

// op is what a node of the tree does.
type op uint8

const (
	opLiteral op = iota
	opName
	opField
	opHas
	opIndex
	opCall
	opList
	opMap
	opAnd
	opOr
	opChoice
	opLoop
)

// node of the syntax tree.
type node struct {
	op  op
	pos int
	// name of a variable, a field, a function or an operator; of a loop, that of its variable.
	name  string
	value any
	// args are the operands; a field, an index and a member function have theirs first. Of a map they are keys and values in turn. Of a loop: the range, and what is
	// done with each element: one expression, or a condition and one.
	args   []*node
	member bool
	// macro is the kind of a loop.
	macro string
	// overloads are those that fit the types, pattern a regular expression that does not change.
	overloads []overload
	pattern   *expression
}

// parser reads the grammar of langdef.md, "Syntax".
type parser struct {
	lexer
	now   token
	depth int
	nodes int
}

func (p *parser) all() (*node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.expression()
	if err == nil && p.now.what != tokenEnd {
		err = p.unexpected("the end")
	}
	return n, err
}

func (p *parser) advance() (err error) {
	p.now, err = p.next()
	return err
}

func (p *parser) unexpected(want string) error {
	got := p.now.what
	if got == tokenName || got == tokenLiteral && p.now.text != "" {
		got = p.now.text
	}
	return p.bad(p.now.pos, "want %s, not %s", want, got)
}

// take goes on when the token is what.
func (p *parser) take(what string) (bool, error) {
	if p.now.what != what {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) expect(what string) error {
	ok, err := p.take(what)
	if err == nil && !ok {
		err = p.unexpected(what)
	}
	return err
}

func (p *parser) node(n node) (*node, error) {
	if p.nodes++; p.nodes > maxNodes {
		return nil, errdefs.Limit("an expression of more than %d parts", maxNodes)
	}
	return &n, nil
}

// deeper bounds what is nested; the caller defers the function that it returns.
func (p *parser) deeper() (func(), error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errdefs.Limit("%s: an expression of more than %d levels", place(p.text, p.now.pos), maxDepth)
	}
	return func() { p.depth-- }, nil
}

func (p *parser) expression() (*node, error) {
	up, err := p.deeper()
	if err != nil {
		return nil, err
	}
	defer up()
	cond, err := p.binary(0)
	if err != nil || p.now.what != "?" {
		return cond, err
	}
	pos := p.now.pos
	if err := p.advance(); err != nil {
		return nil, err
	}
	yes, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	no, err := p.expression()
	if err != nil {
		return nil, err
	}
	return p.node(node{op: opChoice, pos: pos, args: []*node{cond, yes, no}})
}

// level is how tight an operator binds; -1 is none.
func level(op string) int {
	switch op {
	case "||":
		return 0
	case "&&":
		return 1
	case "<", "<=", ">", ">=", "==", "!=", "in":
		return 2
	case "+", "-":
		return 3
	case "*", "/", "%":
		return 4
	}
	return -1
}

// binary reads operators from a level on; all are left-associative.
func (p *parser) binary(from int) (*node, error) {
	if from > 4 {
		return p.unary()
	}
	left, err := p.binary(from + 1)
	for err == nil && level(p.now.what) == from {
		n := node{op: opCall, pos: p.now.pos, name: p.now.what}
		switch n.name {
		case "&&":
			n.op = opAnd
		case "||":
			n.op = opOr
		}
		if err = p.advance(); err != nil {
			break
		}
		var right *node
		if right, err = p.binary(from + 1); err != nil {
			break
		}
		n.args = []*node{left, right}
		left, err = p.node(n)
	}
	return left, err
}

func (p *parser) unary() (*node, error) {
	what, pos := p.now.what, p.now.pos
	if what != "!" && what != "-" {
		return p.members()
	}
	up, err := p.deeper()
	if err != nil {
		return nil, err
	}
	defer up()
	if err := p.advance(); err != nil {
		return nil, err
	}
	if n, ok := p.now.value.(integer); ok && what == "-" && p.now.what == tokenLiteral {
		p.now.value = int64(-n) // also of the smallest, which has no positive one
		return p.members()
	}
	if f, ok := p.now.value.(float64); ok && what == "-" && p.now.what == tokenLiteral {
		p.now.value = -f
		return p.members()
	}
	operand, err := p.unary()
	if err != nil {
		return nil, err
	}
	return p.node(node{op: opCall, pos: pos, name: what + "_", args: []*node{operand}})
}

// members reads a primary, and the fields, calls and indexes behind it.
func (p *parser) members() (*node, error) {
	n, err := p.primary()
	for err == nil {
		pos := p.now.pos
		switch p.now.what {
		case ".":
			n, err = p.afterDot(n)
		case "[":
			if err = p.advance(); err != nil {
				return nil, err
			}
			var index *node
			if index, err = p.expression(); err == nil {
				err = p.expect("]")
			}
			if err == nil {
				n, err = p.node(node{op: opIndex, pos: pos, args: []*node{n, index}})
			}
		case "{":
			return nil, errdefs.Unsupported("%s: messages are not supported", place(p.text, pos))
		default:
			return n, nil
		}
	}
	return nil, err
}

// afterDot reads .FIELD or .FUNCTION(ARGUMENTS).
func (p *parser) afterDot(of *node) (*node, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	name, pos := p.now.text, p.now.pos
	if p.now.what != tokenName {
		return nil, p.unexpected("the name of a field or a function")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.now.what != "(" {
		return p.node(node{op: opField, pos: pos, name: name, args: []*node{of}})
	}
	args, err := p.list("(", ")")
	if err != nil {
		return nil, err
	}
	if isMacro(name, len(args)) {
		return p.loop(name, pos, of, args)
	}
	return p.node(node{op: opCall, pos: pos, name: name, member: true, args: append([]*node{of}, args...)})
}

func isMacro(name string, args int) bool {
	switch name {
	case "all", "exists", "exists_one", "existsOne", "filter":
		return args == 2
	case "map":
		return args == 2 || args == 3
	}
	return false
}

// loop makes a macro over a range (langdef.md, "Macros").
func (p *parser) loop(name string, pos int, of *node, args []*node) (*node, error) {
	if args[0].op != opName {
		return nil, p.bad(args[0].pos, "%s wants the name of a variable first", name)
	}
	if name == "existsOne" {
		name = "exists_one"
	}
	return p.node(node{op: opLoop, pos: pos, macro: name, name: args[0].name, args: append([]*node{of}, args[1:]...)})
}

// list reads expressions between two brackets, the first of which is the token of now.
func (p *parser) list(opening, closing string) ([]*node, error) {
	if err := p.expect(opening); err != nil {
		return nil, err
	}
	var out []*node
	for p.now.what != closing || opening == "{" && len(out)%2 == 1 { // a key has a value
		n, err := p.expression()
		if err != nil {
			return nil, err
		}
		out = append(out, n)
		if opening == "{" && len(out)%2 == 1 {
			if err := p.expect(":"); err != nil {
				return nil, err
			}
			continue
		}
		more, err := p.take(",")
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		if p.now.what == closing && opening == "(" {
			return nil, p.unexpected("an argument")
		}
	}
	return out, p.expect(closing)
}

func (p *parser) primary() (*node, error) {
	t := p.now
	switch t.what {
	case tokenLiteral:
		if n, ok := t.value.(integer); ok {
			if n > math.MaxInt64 {
				return nil, p.bad(t.pos, "%s is no number that can be held", t.text)
			}
			t.value = int64(n)
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		return p.node(node{op: opLiteral, pos: t.pos, value: t.value})
	case "(":
		if err := p.advance(); err != nil {
			return nil, err
		}
		n, err := p.expression()
		if err != nil {
			return nil, err
		}
		return n, p.expect(")")
	case "[", "{":
		kind, closing := opList, "]"
		if t.what == "{" {
			kind, closing = opMap, "}"
		}
		args, err := p.list(t.what, closing)
		if err != nil {
			return nil, err
		}
		return p.node(node{op: kind, pos: t.pos, args: args})
	case ".":
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.now.what != tokenName {
			return nil, p.unexpected("a name")
		}
		return p.name()
	case tokenName:
		return p.name()
	}
	return nil, p.unexpected("an expression")
}

// name reads a variable or a function with its arguments.
func (p *parser) name() (*node, error) {
	t := p.now
	if isReserved(t.text) {
		return nil, p.bad(t.pos, "%s is a reserved word", t.text)
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.now.what != "(" {
		return p.node(node{op: opName, pos: t.pos, name: t.text})
	}
	args, err := p.list("(", ")")
	if err != nil {
		return nil, err
	}
	if t.text == "has" && len(args) == 1 {
		if args[0].op != opField {
			return nil, p.bad(t.pos, "has wants a field, such as has(a.b)")
		}
		args[0].op = opHas
		return args[0], nil
	}
	return p.node(node{op: opCall, pos: t.pos, name: t.text, args: args})
}
