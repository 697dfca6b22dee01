package cel

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/camada/camada/errdefs"
)

// overload is a function for arguments of certain types.
type overload struct {
	member bool
	args   []*Type
	gives  func(types []*Type) *Type
	do     func(c *call, args []any) (any, error)
}

func (o *overload) result(types []*Type) *Type { return o.gives(types) }

// call is where a function is called.
type call struct {
	*evaluation
	n *node
}

// table collects overloads.
type table map[string][]overload

func (t table) add(name string, member bool, gives *Type, do func(c *call, args []any) (any, error), args ...*Type) {
	t[name] = append(t[name], overload{member, args, func([]*Type) *Type { return gives }, do})
}

// text adds a function of a text.
func (t table) text(name string, gives *Type, do func(c *call, args []any) (any, error), more ...*Type) {
	t.add(name, true, gives, do, append([]*Type{String}, more...)...)
}

// functions are all, by name. Operators are those that the parser writes: unary ones have a line behind them.
func functions() map[string][]overload {
	t := table{}
	t.operators()
	t.sizes()
	t.texts()
	t.conversions()
	t.times()
	return t
}

func (t table) sizes() {
	for _, of := range []*Type{String, Bytes, ListOf(Dyn), MapOf(Dyn, Dyn)} {
		t.add("size", false, Int, size, of)
		t.add("size", true, Int, size, of)
	}
	in := func(c *call, args []any) (any, error) {
		if list, ok := args[1].([]any); ok {
			return slices.ContainsFunc(list, func(v any) bool { return c.equal(v, args[0]) }), nil
		}
		_, ok := lookUp(args[1], args[0])
		return ok, nil
	}
	t["in"] = []overload{
		{args: []*Type{Dyn, ListOf(Dyn)}, gives: func([]*Type) *Type { return Bool }, do: in},
		{args: []*Type{Dyn, MapOf(Dyn, Dyn)}, gives: func([]*Type) *Type { return Bool }, do: in},
	}
	dyn := func(_ *call, args []any) (any, error) { return args[0], nil }
	t.add("dyn", false, Dyn, dyn, Dyn)
}

func size(_ *call, args []any) (any, error) {
	switch v := args[0].(type) {
	case string:
		return int64(utf8.RuneCountInString(v)), nil
	case []byte:
		return int64(len(v)), nil
	case []any:
		return int64(len(v)), nil
	case map[any]any:
		return int64(len(v)), nil
	case map[string]any:
		return int64(len(v)), nil
	}
	return nil, errdefs.Invalid("no such overload: size")
}

func (t table) texts() {
	test := func(f func(s, x string) bool) func(*call, []any) (any, error) {
		return func(_ *call, args []any) (any, error) { return f(args[0].(string), args[1].(string)), nil }
	}
	t.text("contains", Bool, test(strings.Contains), String)
	t.text("startsWith", Bool, test(strings.HasPrefix), String)
	t.text("endsWith", Bool, test(strings.HasSuffix), String)
	t.text("matches", Bool, matches, String)
	t.add("matches", false, Bool, matches, String, String)
	change := func(f func(string) string) func(*call, []any) (any, error) {
		return func(_ *call, args []any) (any, error) { return f(args[0].(string)), nil }
	}
	// Those of the extension "strings", as Kubernetes has them.
	t.text("lowerAscii", String, change(func(s string) string { return ascii(s, 'A', 'Z') }))
	t.text("upperAscii", String, change(func(s string) string { return ascii(s, 'a', 'z') }))
	t.text("trim", String, change(strings.TrimSpace))
	t.text("split", ListOf(String), func(c *call, args []any) (any, error) {
		s, sep := args[0].(string), args[1].(string)
		if err := c.spend(strings.Count(s, sep)); err != nil { // a part takes more memory than its text
			return nil, err
		}
		parts := strings.Split(s, sep)
		out := make([]any, len(parts))
		for i, p := range parts {
			out[i] = p
		}
		return out, nil
	}, String)
	t.text("replace", String, func(c *call, args []any) (any, error) {
		s, from, to := args[0].(string), args[1].(string), args[2].(string)
		if n := strings.Count(s, from) * len(to); n > 0 {
			if err := c.spend(n / 16); err != nil {
				return nil, err
			}
		}
		return strings.ReplaceAll(s, from, to), nil
	}, String, String)
	joinTexts := func(c *call, args []any) (any, error) {
		list, sep := args[0].([]any), ""
		if len(args) > 1 {
			sep = args[1].(string)
		}
		parts := make([]string, len(list))
		for i, v := range list {
			s, ok := v.(string)
			if !ok {
				return nil, errdefs.Invalid("no such overload: join of a list with %s", typeOfValue(v))
			}
			if err := c.spend((len(s) + len(sep)) / 16); err != nil {
				return nil, err
			}
			parts[i] = s
		}
		return strings.Join(parts, sep), nil
	}
	t.add("join", true, String, joinTexts, ListOf(String))
	t.add("join", true, String, joinTexts, ListOf(String), String)
}

// ascii changes the case of the letters between two.
func ascii(s string, from, to rune) string {
	return strings.Map(func(r rune) rune {
		if r >= from && r <= to {
			return r ^ 0x20
		}
		return r
	}, s)
}

func matches(c *call, args []any) (any, error) {
	s, text := args[0].(string), args[1].(string)
	re := c.n.pattern
	if re == nil {
		var err error
		if re, err = compilePattern(text); err != nil {
			return nil, err
		}
		if err := c.spend(re.size); err != nil {
			return nil, err
		}
	}
	// An expression of RE2 takes time by the length of both, once its repetitions are written out.
	if err := c.spend(len(s) * max(re.size, len(text)) / 16); err != nil {
		return nil, err
	}
	return re.MatchString(s), nil
}

func (t table) times() {
	get := func(name string, f func(time.Time) int) {
		t.add(name, true, Int, func(_ *call, args []any) (any, error) { return int64(f(args[0].(time.Time).UTC())), nil }, Timestamp)
	}
	get("getFullYear", time.Time.Year)
	get("getMonth", func(m time.Time) int { return int(m.Month()) - 1 })
	get("getDate", time.Time.Day)
	get("getDayOfMonth", func(m time.Time) int { return m.Day() - 1 })
	get("getDayOfWeek", func(m time.Time) int { return int(m.Weekday()) })
	get("getDayOfYear", func(m time.Time) int { return m.YearDay() - 1 })
	get("getHours", time.Time.Hour)
	get("getMinutes", time.Time.Minute)
	get("getSeconds", time.Time.Second)
	whole := func(name string, unit time.Duration) {
		t.add(name, true, Int, func(_ *call, args []any) (any, error) { return int64(args[0].(time.Duration) / unit), nil }, Duration)
	}
	whole("getHours", time.Hour)
	whole("getMinutes", time.Minute)
	whole("getSeconds", time.Second)
}
