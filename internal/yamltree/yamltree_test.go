package yamltree

import (
	"maps"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
)

type (
	list   = []any
	object = map[string]any
)

func TestParse(t *testing.T) {
	for src, want := range map[string]list{
		"":                                      {nil},
		"# nothing\n":                           {nil},
		"a: 1\nb: -2\nc: 1.5\nd: true":          {object{"a": uint64(1), "b": int64(-2), "c": 1.5, "d": true}},
		"a:\nb: ~\nc: 'x'\nd: \"y\\n\"\ne: yes": {object{"a": nil, "b": nil, "c": "x", "d": "y\n", "e": "yes"}},
		"- a\n- [b, {c: d}]\n-\n  - e":          {list{"a", list{"b", object{"c": "d"}}, list{"e"}}},
		"a: |\n  x\n  y\nb: >-\n  x\n  y\nc: >\n  x\n  y\n\n  z\n": {object{"a": "x\ny\n", "b": "x y", "c": "x y\nz\n"}},
		"1: a\ntrue: b\n? c\n: d":                                  {object{"1": "a", "true": "b", "c": "d"}},
		"a: &x {k: [1]}\nb: *x":                                    {object{"a": object{"k": list{uint64(1)}}, "b": object{"k": list{uint64(1)}}}},
		"a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}":                    {object{"a": object{"k": uint64(1), "l": uint64(2)}, "b": object{"k": uint64(3), "l": uint64(2)}}},
		"a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc:\n  n: 4\n  <<: [*x, *y]": {object{"a": object{"k": uint64(1)}, "b": object{"k": uint64(2), "m": uint64(3)},
			"c": object{"k": uint64(1), "m": uint64(3), "n": uint64(4)}}},
		"--- a\n--- [b]\n": {"a", list{"b"}},
		"a: !reset null\nb: {c: !reset x}\nc: !override\n  k: v\n": {object{"a": Tagged{"!reset", nil}, "b": object{"c": Tagged{"!reset", "x"}}, "c": Tagged{"!override", object{"k": "v"}}}},
		"a: !override [b]\nc: !!str 5\nd: !!int '6'\n":             {object{"a": Tagged{"!override", list{"b"}}, "c": "5", "d": int64(6)}},
		"{\"json\": [1, null, \"\\u00e9\"], \"k\": \"a: b\"}":      {object{"json": list{uint64(1), nil, "é"}, "k": "a: b"}},
	} {
		got, err := Parse([]byte(src), "!reset", "!override")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", src, err, diff)
		}
	}
}

func TestErrors(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := '1'; i <= '9'; i++ {
		bomb.WriteString("a" + string(i) + ": &a" + string(i) + " [" + strings.Repeat("*a"+string(i-1)+",", 9) + "]\n")
	}
	for src, want := range map[string]string{
		"a: [":                            "line 1: ",
		"a: 1\na: 2":                      "line 2: mapping key \"a\" already defined",
		"a: *x":                           `no anchor "x"`,
		"a: &x [*x]":                      `no anchor "x"`,
		"a: !secret b":                    "the tag !secret is not supported",
		"a: !!binary b":                   "!!binary",
		"a: !!int b":                      "not an integer",
		"a: {<<: 5}":                      "merge key",
		"? [a]\n: b":                      "invalid key",
		"a: !reset\nb: c":                 "line 1: the tag !reset has no value on its line",
		"- !reset\n- b":                   "no value on its line",
		strings.Repeat("[", 1<<16):        "levels",
		strings.Repeat("- ", 1<<16) + "a": "levels",
		strings.Repeat("!a ", 1<<10):      "levels",
		strings.Repeat("{a: ", 1<<10):     "levels",
		bomb.String():                     "aliases included",
		strings.Repeat("#", MaxSize+1):    "bytes of YAML",
	} {
		_, err := Parse([]byte(src))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", src, err, want)
		}
		if err != nil && !errdefs.IsInvalid(err) && !errdefs.IsLimit(err) && !errdefs.IsUnsupported(err) {
			t.Errorf("%.40q: no class: %v", src, err)
		}
	}
	if _, err := Parse([]byte("root:x:0\nsecret: [")); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows the text: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a: &x [1, 2.5, .inf, .nan]\nb: {<<: {c: d}, e: *x}\n", "? k\n: !!str 5\n", "a: !reset\n--- >\n x\n", "- - - a\n- \"b\"\n", "%YAML 1.2\n---\na: 'b'\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := Parse(data, "!reset")
		if err != nil && !errdefs.IsInvalid(err) && !errdefs.IsLimit(err) && !errdefs.IsUnsupported(err) {
			t.Fatalf("no class: %v", err)
		}
	})
}

func TestLines(t *testing.T) {
	text := "# first\na: 1\nb:\n  c: x\n  d:\n    - e: 1\n      f: 2\n    - [1, 2]\ng: {h: 3}\ni: &x\n  j: 1\nk: *x\n"
	want := map[string]int{"a": 2, "b": 3, "b.c": 4, "b.d": 5, "b.d[0]": 6, "b.d[0].e": 6, "b.d[0].f": 7, "b.d[1]": 8, "b.d[1][0]": 8, "b.d[1][1]": 8,
		"g": 9, "g.h": 9, "i": 10, "i.j": 11, "k": 12}
	if got := Lines([]byte(text)); !maps.Equal(got, want) {
		t.Errorf("lines %v, want %v", got, want)
	}
	if got := Lines([]byte("a: [")); len(got) != 0 {
		t.Errorf("lines of what is no YAML: %v", got)
	}
}
