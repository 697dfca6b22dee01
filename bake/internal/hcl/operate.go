package hcl

import (
	"math"

	"github.com/camada/camada/errdefs"
)

type negation struct {
	line int
	op   string
	of   Expr
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

type operation struct {
	line        int
	op          string
	left, right Expr
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
