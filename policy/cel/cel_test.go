package cel_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/policy/cel"
)

func variables() map[string]*cel.Type {
	return map[string]*cel.Type{
		"i": cel.Int, "u": cel.Uint, "d": cel.Double, "s": cel.String, "b": cel.Bool, "t": cel.Timestamp, "l": cel.ListOf(cel.Int),
		"m": cel.MapOf(cel.String, cel.String), "x": cel.Dyn, "bad": cel.Bool,
		"o": cel.Struct("thing", map[string]*cel.Type{"name": cel.String, "parts": cel.ListOf(cel.Struct("part", map[string]*cel.Type{"n": cel.Int}))}),
	}
}

var errBad = errors.New("cannot be had")

func values(name string) (any, error) {
	switch name {
	case "i":
		return int64(7), nil
	case "u":
		return uint64(9), nil
	case "d":
		return 2.5, nil
	case "s":
		return "Grüße", nil
	case "b":
		return true, nil
	case "t":
		return time.Date(2026, 11, 27, 12, 30, 15, 0, time.UTC), nil
	case "l":
		return []any{int64(1), int64(2), int64(3)}, nil
	case "m":
		return map[string]any{"a": "1", "b": "2"}, nil
	case "x":
		return []any{int64(1), "two", 3.0}, nil
	case "o":
		return map[string]any{"name": "o", "parts": []any{map[string]any{"n": int64(4)}, map[string]any{"n": int64(5)}}}, nil
	}
	return nil, errBad
}

// expressions that are true, also for cel-go (TestAgainstReference).
func truths() []string {
	return []string{
		`true`, `!false`, `!!true`, `1 + 2 * 3 == 7`, `(1 + 2) * 3 == 9`, `7 - 2 - 1 == 4`, `-7 / 2 == -3`, `-7 % 3 == -1`, `7u % 4u == 3u`, `0x1F == 31`, `1e3 == 1000.0`, `.5 == 0.5`,
		`-9223372036854775808 < 0`, `1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3`, `"a" < "b"`, `b'a' < b'b'`, `false < true`, `dyn(1) == 1.0`, `dyn(1u) == 1`, `1 < 2.5`, `2u > 1`, `dyn(1) != "1"`,
		`"a" + "b" == "ab"`, `[1] + [2, 3] == [1, 2, 3]`, `b"a" + b"b" == b"ab"`, `"\u00e4\n\x41\101" == "ä\nAA"`, `r"\n" == "\\n"`, `'''a
b''' == "a\nb"`, `"""q"q""" == 'q"q'`, `b"\xff" == b"\377"`,
		`size("ä€") == 2`, `"ä€".size() == 2`, `size(b"ä") == 2`, `size([1, 2]) == 2`, `{"a": 1}.size() == 1`, `2 in [1, 2]`, `!(3 in [1, 2])`, `"a" in {"a": 1}`, `1.0 in [dyn(1)]`,
		`"abc".contains("b") && "abc".startsWith("ab") && "abc".endsWith("bc")`, `"abc".matches("^a.c$")`, `matches("abc", "b")`,
		`[1, 2, 3].all(x, x > 0)`, `[1, 2, 3].exists(x, x == 2)`, `[1, 2, 3].exists_one(x, x > 2)`, `[1, 2].map(x, x * 2) == [2, 4]`, `[1, 2, 3].map(x, x > 1, x) == [2, 3]`,
		`[1, 2, 3].filter(x, x != 2) == [1, 3]`, `{"a": 1, "b": 2}.all(k, k != "c")`, `[].all(x, false)`, `![].exists(x, true)`, `[[1], [2]].all(x, x.all(y, y < 3))`,
		`{"a": {"b": 1}}.a.b == 1`, `{"a": 1}["a"] == 1`, `[1, 2][1] == 2`, `{1: "a", 2: "b"}[2] == "b"`, `{true: 1}[true] == 1`, `has({"a": 1}.a)`, `!has({"a": 1}.b)`,
		`true ? b : false`, `false ? 1 / 0 == 1 : true`, `i > 5 ? s == "Grüße" : false`,
		`true || 1 / 0 > 0`, `1 / 0 > 0 || true`, `!(false && 1 / 0 > 0)`, `!(1 / 0 > 0 && false)`, `[1, 0].exists(x, 1 / x == 1)`, `![0, 1].all(x, 1 / x == 2)`,
		`int("7") == 7 && uint("7") == 7u && double("1.5") == 1.5 && string(7) == "7" && string(true) == "true" && bool("true")`, `int(2.9) == 2`, `int(-2.9) == -2`, `uint(3.2) == 3u`,
		`string(1.5) == "1.5"`, `bytes("ä") == b"\xc3\xa4"`, `string(b"a") == "a"`, `int(timestamp("1970-01-01T00:01:00Z")) == 60`, `string(duration("90s")) == "90s"`,
		`timestamp("2026-01-02T03:04:05Z").getFullYear() == 2026`, `t.getMonth() == 10 && t.getDate() == 27 && t.getDayOfMonth() == 26`, `t.getDayOfWeek() == 5 && t.getHours() == 12`,
		`t - duration("1h") < t`, `t - timestamp("2026-11-26T12:30:15Z") == duration("24h")`, `duration("90m").getHours() == 1 && duration("90m").getMinutes() == 90`, `duration("1h") + duration("30m") == duration("90m")`,
		`i == 7 && u == 9u && d == 2.5`, `m.a == "1" && m["b"] == "2"`, `m.all(k, k in ["a", "b"])`, `l.map(x, x + i)[2] == 10`, `x[1] == "two"`, `x.exists(y, y == 3)`, `o.name == "o" && o.parts[1].n == 5`,
		`o.parts.exists(p, p.n == 4)`, `has(o.name)`, `.i == 7`, `null == null`, `dyn(1) != null`, `b // a comment`, "true\n&&\n\ttrue", `"\"" == '"'`, `"a\\b".size() == 3`,
		`1 + 1 == 2 ? "a" == "a" : false`, `[1, 2] == [1, 2]`, `{"a": 1} == {"a": 1}`, `{"a": 1} != {"a": 2}`, `dyn([1]) != [2]`, `"abc" in ["abc"]`, `[dyn(1), "a"][1] == "a"`,
	}
}

func TestTruths(t *testing.T) {
	for _, text := range truths() {
		p, err := cel.Compile(text, variables())
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if v, err := p.Eval(t.Context(), values); err != nil || v != true {
			t.Errorf("%s: %v, %v", text, v, err)
		}
	}
}

// The extension "strings", which cel-go has apart.
func TestStrings(t *testing.T) {
	for text, want := range map[string]any{
		`"AbÄ".lowerAscii()`: "abÄ", `"abä".upperAscii()`: "ABä", `" a ".trim()`: "a", `"a,b".split(",")`: []any{"a", "b"}, `["a", "b"].join("-")`: "a-b", `["a", "b"].join()`: "ab",
		`"aXbX".replace("X", "--")`: "a--b--",
	} {
		p, err := cel.Compile(text, nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if v, err := p.Eval(t.Context(), values); err != nil || !reflect.DeepEqual(v, want) {
			t.Errorf("%s: %#v, %v", text, v, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		`i +`: "1:4: want an expression, not the end", `1 == "1"`: "1:3: int and string cannot be compared", `o.nam`: "1:3: thing has no field nam; it has name, parts",
		`nothing`: "there is no variable nothing", `o.parts.all(p, p.m == 1)`: "part has no field m", `size(1)`: "1:1: size does not take (int)", `"a" + 1`: "+ does not take (string, int)",
		`1 && true`: "&& wants a bool, not int", `i ? 1 : 2`: "? wants a bool", `s.matches("(")`: "1:11: error parsing regexp", `[1].all(1, true)`: "all wants the name of a variable",
		`has(i)`: "has wants a field", `nofunction(1)`: "there is no function nofunction", `type(1) == int`: "the function type of CEL is not supported", `a.B{c: 1}`: "messages are not supported",
		`99999999999999999999`: "no number that can be held", `9223372036854775808`: "no number that can be held", `"abc`: "the text has no end", `"\q"`: "the escape \\q is not known", `1.5.2`: "want",
		`namespace == "a"`: "namespace is a reserved word", `{[1]: 2}`: "a key of a map is", `s.x`: "string has no fields", `l["a"]`: "cannot be indexed", `12abc`: "is no number", `a b`: "want the end",
		`#`: "unexpected '#'", `l.filter(x, 1)`: "filter wants a bool", "true &&\n nothing": "2:2:", `f(1,)`: "want an argument", `"\ud800"`: "is no character",
		strings.Repeat("(", 200): "levels", strings.Repeat("!", 200) + "true": "levels", strings.Repeat("1+", 5000) + "1": "parts", strings.Repeat(" ", cel.MaxText+1): "bytes, more than",
		`s.matches("(` + strings.Repeat("ab", 50) + `){200}")`: "repeats more than", `s.matches("` + strings.Repeat("a", 2000) + `")`: "bytes, more than",
	} {
		_, err := cel.Compile(text, variables())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %q", text, err, want)
		}
		if err != nil && !errdefs.IsInvalid(err) && !errdefs.IsLimit(err) && !errdefs.IsUnsupported(err) {
			t.Errorf("%.60s: no class: %v", text, err)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		`1 / (i - 7) == 1`: "1:3: division by zero", `9223372036854775807 + i > 0`: "too great or too small", `0u - u > 0u`: "too great or too small", `l[3] == 1`: "no such index: 3, of 3",
		`m.c == "1"`: "no such key: c", `int("x") == 1`: `"x" is no int`, `x.all(y, y > 0)`: "no such overload", `-(-9223372036854775808 + 0) > 0`: "too great", `int(1e30) == 1`: "too great",
		`x[0] ? true : false`: "want a bool", `timestamp("x") == t`: "is no time", `t + duration("80000000h") + duration("2000000h") > t`: "", `{"a": 1, "a": 2}.size() == 1`: "the key is there twice",
		`s.matches(s + "(")`: "error parsing regexp", `4611686018427387904 * 2 > 0`: "too great", `bad`: "cannot be had", `bad || false`: "cannot be had", `l.all(y, bad)`: "cannot be had",
	} {
		p, err := cel.Compile(text, variables())
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		v, err := p.Eval(t.Context(), values)
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, %v; want %q", text, v, err, want)
		}
		if strings.Contains(text, "bad") && !errors.Is(err, errBad) {
			t.Errorf("%s: the error of the variable is lost: %v", text, err)
		}
	}
}

// A variable is asked for when it is needed, and once.
func TestLazy(t *testing.T) {
	for text, want := range map[string][]string{
		`b || bad`: {"b"}, `!b && bad`: {"b"}, `b ? i == 7 : bad`: {"b", "i"}, `i == 7 && i < 8 && l.all(x, x < i)`: {"i", "l"}, `bad || b`: {"bad", "b"},
	} {
		var asked []string
		p, err := cel.Compile(text, variables())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Eval(t.Context(), func(name string) (any, error) {
			asked = append(asked, name)
			return values(name)
		}); err != nil || !reflect.DeepEqual(asked, want) {
			t.Errorf("%s: asked for %v, want %v; %v", text, asked, want, err)
		}
	}
}

func TestBounds(t *testing.T) {
	long := make([]any, 3000)
	for i := range long {
		long[i] = int64(i)
	}
	lookup := func(name string) (any, error) {
		if name == "l" {
			return long, nil
		}
		return strings.Repeat("a", 1<<20), nil
	}
	for _, text := range []string{
		`l.all(a, l.all(b, a + b >= 0))`,
		// Neither && nor || make a bound go away.
		`true || l.all(a, l.all(b, a + b < 0))`,
		`l.all(a, l.all(b, a + b >= 0)) || true`,
		`l.map(a, s + s).size() > 0`,
		`l.all(a, s.matches("(a*)*b") || true)`,
		`l.exists(a, (l + l + l).size() < 0)`,
		`l.all(a, s.replace("a", s) != "")`,
		`l.map(a, l) == l.map(a, l)`,
		`l.map(a, {"l": l}) == l.map(a, {"l": l})`,
		`[s + "b"].all(a, [s + "b"].all(b, l.map(x, a) == l.map(x, b)))`,
		`s.split("").size() > 0`,
	} {
		p, err := cel.Compile(text, variables())
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Eval(t.Context(), lookup)
		if short := strings.HasPrefix(text, "true ||"); short == errdefs.IsLimit(err) {
			t.Errorf("%s: %v", text, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := cel.Compile(`l.all(a, a >= 0) || true`, variables())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Eval(ctx, lookup); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range truths() {
		f.Add(s)
	}
	f.Add(`o.parts.map(p, p.n > 1, {"a": p.n}).exists_one(q, q.a in [1, 2u, 3.0])`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := cel.Compile(text, variables())
		if err != nil {
			if !errdefs.IsInvalid(err) && !errdefs.IsLimit(err) && !errdefs.IsUnsupported(err) {
				t.Fatalf("%q: no class: %v", text, err)
			}
			return
		}
		v, err := p.Eval(t.Context(), values)
		if err == nil && p.Type == cel.Bool {
			if _, ok := v.(bool); !ok {
				t.Fatalf("%q is %T, and was to be a bool", text, v)
			}
		}
	})
}
