package cel

import (
	"math"
	"math/bits"
	"time"

	"github.com/camada/camada/errdefs"
)

var errOverflow = errdefs.Invalid("the number is too great or too small")

func (t table) operators() {
	order := func(name string, holds func(c int) bool) {
		do := func(_ *call, args []any) (any, error) {
			c, ok := compare(args[0], args[1])
			return ok && holds(c), nil // NaN is neither less nor more
		}
		for _, k := range []*Type{Bool, String, Bytes, Timestamp, Duration} {
			t.add(name, false, Bool, do, k, k)
		}
		for _, a := range []*Type{Int, Uint, Double} {
			for _, b := range []*Type{Int, Uint, Double} {
				t.add(name, false, Bool, do, a, b)
			}
		}
	}
	order("<", func(c int) bool { return c < 0 })
	order("<=", func(c int) bool { return c <= 0 })
	order(">", func(c int) bool { return c > 0 })
	order(">=", func(c int) bool { return c >= 0 })
	t.add("!_", false, Bool, func(_ *call, args []any) (any, error) { return !args[0].(bool), nil }, Bool)
	t.add("-_", false, Int, func(_ *call, args []any) (any, error) {
		if n := args[0].(int64); n != math.MinInt64 {
			return -n, nil
		}
		return nil, errOverflow
	}, Int)
	t.add("-_", false, Double, func(_ *call, args []any) (any, error) { return -args[0].(float64), nil }, Double)
	for _, name := range []string{"+", "-", "*", "/", "%"} {
		t.arithmetic(name)
	}
	t.joins()
	t.clock()
}

func (t table) arithmetic(name string) {
	t.add(name, false, Int, func(_ *call, args []any) (any, error) { return integers(name, args[0].(int64), args[1].(int64)) }, Int, Int)
	t.add(name, false, Uint, func(_ *call, args []any) (any, error) { return naturals(name, args[0].(uint64), args[1].(uint64)) }, Uint, Uint)
	if name == "%" {
		return
	}
	t.add(name, false, Double, func(_ *call, args []any) (any, error) {
		x, y := args[0].(float64), args[1].(float64)
		switch name {
		case "+":
			return x + y, nil
		case "-":
			return x - y, nil
		case "*":
			return x * y, nil
		}
		return x / y, nil
	}, Double, Double)
}

func integers(name string, x, y int64) (any, error) {
	switch name {
	case "+":
		if s := x + y; (s > x) == (y > 0) {
			return s, nil
		}
	case "-":
		if s := x - y; (s < x) == (y > 0) {
			return s, nil
		}
	case "*":
		if x == 0 || y == 0 {
			return int64(0), nil
		}
		if p := x * y; p/y == x && !(x == -1 && y == math.MinInt64) && !(y == -1 && x == math.MinInt64) {
			return p, nil
		}
	default:
		if y == 0 {
			return nil, errdefs.Invalid("division by zero")
		}
		if x == math.MinInt64 && y == -1 {
			return nil, errOverflow
		}
		if name == "/" {
			return x / y, nil
		}
		return x % y, nil
	}
	return nil, errOverflow
}

func naturals(name string, x, y uint64) (any, error) {
	switch name {
	case "+":
		if s, carry := bits.Add64(x, y, 0); carry == 0 {
			return s, nil
		}
	case "-":
		if x >= y {
			return x - y, nil
		}
	case "*":
		if high, p := bits.Mul64(x, y); high == 0 {
			return p, nil
		}
	default:
		if y == 0 {
			return nil, errdefs.Invalid("division by zero")
		}
		if name == "/" {
			return x / y, nil
		}
		return x % y, nil
	}
	return nil, errOverflow
}

// joins are + of texts, bytes and lists.
func (t table) joins() {
	t.add("+", false, String, func(_ *call, args []any) (any, error) { return args[0].(string) + args[1].(string), nil }, String, String)
	t.add("+", false, Bytes, func(_ *call, args []any) (any, error) {
		return append(append([]byte{}, args[0].([]byte)...), args[1].([]byte)...), nil
	}, Bytes, Bytes)
	t["+"] = append(t["+"], overload{args: []*Type{ListOf(Dyn), ListOf(Dyn)}, gives: func(types []*Type) *Type { return join(types[0], types[1]) },
		do: func(_ *call, args []any) (any, error) {
			return append(append([]any{}, args[0].([]any)...), args[1].([]any)...), nil
		}})
}

// clock are + and - of times. Times are of the years 1 to 9999 (langdef.md, "Timestamp and duration").
func (t table) clock() {
	shift := func(m time.Time, d time.Duration) (any, error) {
		m = m.Add(d)
		if y := m.UTC().Year(); y < 1 || y > 9999 {
			return nil, errOverflow
		}
		return m, nil
	}
	t.add("+", false, Timestamp, func(_ *call, args []any) (any, error) {
		return shift(args[0].(time.Time), args[1].(time.Duration))
	}, Timestamp, Duration)
	t.add("+", false, Timestamp, func(_ *call, args []any) (any, error) {
		return shift(args[1].(time.Time), args[0].(time.Duration))
	}, Duration, Timestamp)
	t.add("-", false, Timestamp, func(_ *call, args []any) (any, error) {
		d := args[1].(time.Duration)
		if d == math.MinInt64 {
			return nil, errOverflow
		}
		return shift(args[0].(time.Time), -d)
	}, Timestamp, Duration)
	t.add("-", false, Duration, func(_ *call, args []any) (any, error) {
		x, y := args[0].(time.Time), args[1].(time.Time)
		d := x.Sub(y)
		if !y.Add(d).Equal(x) { // Sub stops at what can be held
			return nil, errOverflow
		}
		return d, nil
	}, Timestamp, Timestamp)
	for _, name := range []string{"+", "-"} {
		t.add(name, false, Duration, func(_ *call, args []any) (any, error) {
			v, err := integers(name, int64(args[0].(time.Duration)), int64(args[1].(time.Duration)))
			if err != nil {
				return nil, err
			}
			return time.Duration(v.(int64)), nil
		}, Duration, Duration)
	}
}
