package hcl

import (
	"maps"
	"slices"

	"github.com/camada/camada/errdefs"
)

// builtin returns the function of a name; nil for none. Switches, because tables would be made at each start of the program.
func builtin(name string) Func {
	for _, family := range []func(string) Func{textual, numeric, logical, coded, collective} {
		if f := family(name); f != nil {
			return f
		}
	}
	return nil
}

// text1 makes a Func of a function from one string to another.
func text1(f func(string) string) Func {
	return func(args []any) (any, error) {
		s, err := texts(args, 1, 1)
		if err != nil {
			return nil, err
		}
		return f(s[0]), nil
	}
}

// text2 is text1 with two strings.
func text2(f func(a, b string) any) Func {
	return func(args []any) (any, error) {
		s, err := texts(args, 2, 2)
		if err != nil {
			return nil, err
		}
		return f(s[0], s[1]), nil
	}
}

func number2(f func(a, b float64) any) Func {
	return func(args []any) (any, error) {
		if err := count(args, 2, 2); err != nil {
			return nil, err
		}
		a, err := number(args[0])
		if err != nil {
			return nil, err
		}
		b, err := number(args[1])
		if err != nil {
			return nil, err
		}
		return f(a, b), nil
	}
}

func number1(f func(float64) float64) Func {
	return func(args []any) (any, error) {
		if err := count(args, 1, 1); err != nil {
			return nil, err
		}
		n, err := number(args[0])
		return f(n), err
	}
}

func count(args []any, low, high int) error {
	if len(args) < low || high >= 0 && len(args) > high {
		return errdefs.Invalid("the function is given %d arguments", len(args))
	}
	return nil
}

func texts(args []any, low, high int) ([]string, error) {
	if err := count(args, low, high); err != nil {
		return nil, err
	}
	out := make([]string, len(args))
	for i, a := range args {
		var err error
		if out[i], err = Text(a); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func asList(v any) ([]any, error) {
	switch v := v.(type) {
	case []any:
		return v, nil
	case map[string]any:
		var out []any
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, v[k])
		}
		return out, nil
	}
	return nil, errdefs.Invalid("%s is not a list", kind(v))
}

func anys(in []string) []any {
	out := make([]any, len(in))
	for i, s := range in {
		out[i] = s
	}
	return out
}
