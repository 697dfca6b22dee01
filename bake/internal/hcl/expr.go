package hcl

import (
	"strconv"
	"strings"
)

// levels are the binary operators, those that bind least first.
func levels() [][]string {
	return [][]string{{"||"}, {"&&"}, {"==", "!="}, {"<=", ">=", "<", ">"}, {"+", "-"}, {"*", "/", "%"}}
}

// expr reads an expression; nl tells that newlines mean nothing in it.
func (p *parser) expr(nl bool) (Expr, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	cond, err := p.binary(0, nl)
	if err != nil {
		return nil, err
	}
	p.space(nl)
	if !p.take("?") {
		return cond, nil
	}
	line := p.line
	yes, err := p.expr(nl)
	if err != nil {
		return nil, err
	}
	p.space(nl)
	if !p.take(":") {
		return nil, p.unexpected(":")
	}
	no, err := p.expr(nl)
	if err != nil {
		return nil, err
	}
	return condition{line, cond, yes, no}, nil
}

func (p *parser) binary(level int, nl bool) (Expr, error) {
	all := levels()
	if level == len(all) {
		return p.unary(nl)
	}
	left, err := p.binary(level+1, nl)
	if err != nil {
		return nil, err
	}
	for {
		p.space(nl)
		op := p.operator(all[level])
		if op == "" {
			return left, nil
		}
		line := p.line
		right, err := p.binary(level+1, nl)
		if err != nil {
			return nil, err
		}
		left = operation{line, op, left, right}
	}
}

func (p *parser) operator(ops []string) string {
	for _, op := range ops {
		if p.has("=>") || !p.has(op) {
			continue
		}
		p.take(op)
		return op
	}
	return ""
}

func (p *parser) unary(nl bool) (Expr, error) {
	p.space(nl)
	line := p.line
	for _, op := range []string{"!", "-"} {
		if p.has(op) && !p.has("!=") {
			if err := p.deeper(); err != nil {
				return nil, err
			}
			defer func() { p.depth-- }()
			p.take(op)
			e, err := p.unary(nl)
			if err != nil {
				return nil, err
			}
			return negation{line, op, e}, nil
		}
	}
	e, err := p.primary(nl)
	if err != nil {
		return nil, err
	}
	return p.postfix(e)
}

// postfix reads what comes right behind a value: .name, [index], [*].name.
func (p *parser) postfix(e Expr) (Expr, error) {
	for {
		line := p.line
		switch {
		case p.has("[*]") || p.has(".*"):
			if !p.take("[*]") {
				p.take(".*")
			}
			// What follows is taken of each element.
			rest, err := p.postfix(local{line, "*"})
			if err != nil {
				return nil, err
			}
			return splat{line, e, rest}, nil
		case p.peek() == '.' && !p.has("..."):
			p.next()
			name := p.ident()
			if name == "" {
				from := p.pos
				for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
					p.next()
				}
				if name = p.src[from:p.pos]; name == "" {
					return nil, p.unexpected("a name")
				}
			}
			e = index{line, e, value{name}}
		case p.peek() == '[':
			p.next()
			key, err := p.expr(true)
			if err != nil {
				return nil, err
			}
			p.space(true)
			if !p.take("]") {
				return nil, p.unexpected("]")
			}
			e = index{line, e, key}
		default:
			return e, nil
		}
	}
}

func (p *parser) primary(nl bool) (Expr, error) {
	p.space(nl)
	line := p.line
	c := p.peek()
	switch {
	case c == '"':
		p.next()
		return p.template(manner{quoted: true}, false)
	case p.has("<<"):
		return p.heredoc()
	case c >= '0' && c <= '9':
		return p.number()
	case c == '(':
		p.next()
		e, err := p.expr(true)
		if err != nil {
			return nil, err
		}
		p.space(true)
		if !p.take(")") {
			return nil, p.unexpected(")")
		}
		return e, nil
	case c == '[':
		p.next()
		return p.list()
	case c == '{':
		p.next()
		return p.object()
	}
	name := p.ident()
	switch name {
	case "":
		return nil, p.unexpected("a value")
	case "true", "false":
		return value{name == "true"}, nil
	case "null":
		return value{nil}, nil
	}
	for p.take("::") { // a function of a provider: found by its last name
		name += "::" + p.ident()
	}
	if p.peek() == '(' {
		p.next()
		return p.call(line, name)
	}
	return local{line, name}, nil
}

func (p *parser) number() (Expr, error) {
	from := p.pos
	for {
		c := p.peek()
		exponent := (c == '+' || c == '-') && (p.src[p.pos-1] == 'e' || p.src[p.pos-1] == 'E')
		if c >= '0' && c <= '9' || c == '.' && !p.has("...") || c == 'e' || c == 'E' || exponent {
			p.next()
			continue
		}
		break
	}
	n, err := strconv.ParseFloat(p.src[from:p.pos], 64)
	if err != nil {
		return nil, invalid(p.line, "%q is not a number", p.src[from:p.pos])
	}
	return value{n}, nil
}

func (p *parser) call(line int, name string) (Expr, error) {
	c := call{line: line, name: name}
	for {
		p.space(true)
		if p.take(")") {
			return c, nil
		}
		e, err := p.expr(true)
		if err != nil {
			return nil, err
		}
		c.args = append(c.args, e)
		p.space(true)
		if p.take("...") {
			c.spread = true
			p.space(true)
		}
		if !p.take(",") && p.peek() != ')' {
			return nil, p.unexpected(", or )")
		}
	}
}

// list reads behind the opening bracket.
func (p *parser) list() (Expr, error) {
	if f, ok, err := p.forExpr("]"); ok || err != nil {
		return f, err
	}
	var l list
	for {
		p.space(true)
		if p.take("]") {
			return l, nil
		}
		e, err := p.expr(true)
		if err != nil {
			return nil, err
		}
		l = append(l, e)
		p.space(true)
		if !p.take(",") && p.peek() != ']' {
			return nil, p.unexpected(", or ]")
		}
	}
}

// object reads behind the opening brace. Entries end with a comma or a newline.
func (p *parser) object() (Expr, error) {
	if f, ok, err := p.forExpr("}"); ok || err != nil {
		return f, err
	}
	var o object
	for {
		p.space(true)
		if p.take("}") {
			return o, nil
		}
		key, err := p.key()
		if err != nil {
			return nil, err
		}
		p.space(true)
		if !p.take("=") && !p.take(":") {
			return nil, p.unexpected("=")
		}
		v, err := p.expr(false)
		if err != nil {
			return nil, err
		}
		o = append(o, entry{p.line, key, v})
		p.space(false)
		if !p.take(",") && p.peek() != '\n' && p.peek() != '}' {
			return nil, p.unexpected(", or }")
		}
	}
}

// key reads the key of an entry: a bare name stands for itself.
func (p *parser) key() (Expr, error) {
	from, line := p.pos, p.line
	if name := p.ident(); name != "" {
		p.space(false)
		if p.peek() == ':' || p.peek() == '=' && !p.has("==") {
			return value{name}, nil
		}
		p.pos, p.line = from, line
	}
	return p.binary(0, true)
}

// forExpr reads a for expression, if one comes next, up to the end.
func (p *parser) forExpr(end string) (Expr, bool, error) {
	from, line := p.pos, p.line
	p.space(true)
	if p.ident() != "for" || !strings.ContainsRune(" \t\n", rune(p.peek())) {
		p.pos, p.line = from, line
		return nil, false, nil
	}
	f := loop{line: line, object: end == "}"}
	var err error
	if f.key, f.value, f.over, err = p.forHead(); err != nil {
		return nil, true, err
	}
	p.space(true)
	if !p.take(":") {
		return nil, true, p.unexpected(":")
	}
	if f.result, err = p.expr(true); err != nil {
		return nil, true, err
	}
	p.space(true)
	if f.object {
		if !p.take("=>") {
			return nil, true, p.unexpected("=>")
		}
		f.name = f.result
		if f.result, err = p.expr(true); err != nil {
			return nil, true, err
		}
		p.space(true)
		f.group = p.take("...")
		p.space(true)
	}
	if p.has("if") {
		p.take("if")
		if f.cond, err = p.expr(true); err != nil {
			return nil, true, err
		}
		p.space(true)
	}
	if !p.take(end) {
		return nil, true, p.unexpected(end)
	}
	return f, true, nil
}

// forHead reads what comes behind the word for: VALUE in LIST, or KEY, VALUE in LIST.
func (p *parser) forHead() (key, value string, over Expr, err error) {
	word := func() string { p.space(true); return p.ident() }
	value = word()
	p.space(true)
	if p.take(",") {
		key, value = value, word()
	}
	if value == "" || word() != "in" {
		return "", "", nil, p.unexpected("for NAME in LIST")
	}
	over, err = p.expr(true)
	return key, value, over, err
}
