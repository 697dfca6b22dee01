package hcl

import (
	"math"

	"github.com/camada/camada/errdefs"
)

// numeric are the functions of numbers.
func numeric(name string) Func {
	switch name {
	case "add":
		return number2(func(a, b float64) any { return a + b })
	case "subtract":
		return number2(func(a, b float64) any { return a - b })
	case "multiply":
		return number2(func(a, b float64) any { return a * b })
	case "lessthan":
		return number2(func(a, b float64) any { return a < b })
	case "lessthanorequalto":
		return number2(func(a, b float64) any { return a <= b })
	case "greaterthan":
		return number2(func(a, b float64) any { return a > b })
	case "greaterthanorequalto":
		return number2(func(a, b float64) any { return a >= b })
	case "pow":
		return number2(func(a, b float64) any { return math.Pow(a, b) })
	case "absolute", "abs":
		return number1(math.Abs)
	case "ceil":
		return number1(math.Ceil)
	case "floor":
		return number1(math.Floor)
	case "int":
		return number1(math.Trunc)
	case "tonumber":
		return number1(func(n float64) float64 { return n })
	case "min", "max":
		return extreme(name == "min")
	case "range":
		return ranged
	}
	return nil
}

// logical are the operators that have a name besides.
func logical(name string) Func {
	switch name {
	case "divide", "modulo", "equal", "notequal", "and", "or":
		return operator(name)
	case "not":
		return func(args []any) (any, error) {
			if err := count(args, 1, 1); err != nil {
				return nil, err
			}
			b, err := boolean(args[0])
			return !b, err
		}
	}
	return nil
}

func operator(name string) Func {
	op := map[string]string{"divide": "/", "modulo": "%", "equal": "==", "notequal": "!=", "and": "&&", "or": "||"}[name]
	return func(args []any) (any, error) {
		if err := count(args, 2, 2); err != nil {
			return nil, err
		}
		if op == "&&" || op == "||" {
			l, err := boolean(args[0])
			if err != nil {
				return nil, err
			}
			r, err := boolean(args[1])
			return op == "&&" && l && r || op == "||" && (l || r), err
		}
		return operate(op, args[0], args[1])
	}
}

func ranged(args []any) (any, error) {
	if err := count(args, 1, 3); err != nil {
		return nil, err
	}
	n := []float64{0, 0, 1}
	for i, a := range args {
		v, err := number(a)
		if err != nil {
			return nil, err
		}
		n[i] = v
	}
	if len(args) == 1 {
		n[0], n[1] = 0, n[0]
	}
	if n[2] == 0 || math.Abs((n[1]-n[0])/n[2]) > maxItems {
		return nil, errdefs.Limit("range: a step of 0, or more than %d elements", maxItems)
	}
	out := []any{}
	for v := n[0]; n[2] > 0 && v < n[1] || n[2] < 0 && v > n[1]; v += n[2] {
		out = append(out, v)
	}
	return out, nil
}

func extreme(least bool) Func {
	return func(args []any) (any, error) {
		if err := count(args, 1, -1); err != nil {
			return nil, err
		}
		var best float64
		for i, a := range args {
			n, err := number(a)
			if err != nil {
				return nil, err
			}
			if i == 0 || least && n < best || !least && n > best {
				best = n
			}
		}
		return best, nil
	}
}
