package hcl

import (
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
)

func testScope() *Scope {
	vars := map[string]any{"name": "app", "n": 3.0, "yes": true, "none": nil, "list": []any{"a", "b"}, "map": map[string]any{"k": "v", "l": []any{1.0}},
		"objects": []any{map[string]any{"x": "1"}, map[string]any{"x": "2"}}}
	return &Scope{Var: func(name string) (any, bool, error) {
		v, ok := vars[name]
		return v, ok, nil
	}}
}

func TestExpressions(t *testing.T) {
	type list = []any
	type object = map[string]any
	for src, want := range map[string]any{
		`"plain"`:                              "plain",
		`"a${name}b"`:                          "aappb",
		`"${name}"`:                            "app",
		`"${list}"`:                            list{"a", "b"},
		`"$${name} \"q\" \n\t\\ \u00e9"`:       "${name} \"q\" \n\t\\ é",
		`"${n}-${1.5}-${yes}"`:                 "3-1.5-true",
		`"${"in ${name}"}"`:                    "in app",
		`1 + 2 * 3 - 4 / 2`:                    5.0,
		`-n + 10 % 4`:                          -1.0,
		`(1 + 2) * 3`:                          9.0,
		`1 < 2 && 2 >= 2 || false`:             true,
		`!yes`:                                 false,
		`n == 3 ? "three" : "other"`:           "three",
		`name != "app" ? 1 : n > 2 ? 2 : 3`:    2.0,
		`false && nothing`:                     false,
		`[1, "b", [true]]`:                     list{1.0, "b", list{true}},
		"[\n  1, # one\n  2, // two\n]":        list{1.0, 2.0},
		`{a = 1, "b c" = 2, (name) = 3, d: 4}`: object{"a": 1.0, "b c": 2.0, "app": 3.0, "d": 4.0},
		"{\n a = 1\n b = 2\n}":                 object{"a": 1.0, "b": 2.0},
		`list[1]`:                              "b",
		`map.k`:                                "v",
		`map["l"][0]`:                          1.0,
		`objects[*].x`:                         list{"1", "2"},
		`objects.*.x`:                          list{"1", "2"},
		`[for s in list : upper(s)]`:           list{"A", "B"},
		`[for i, s in list : "${i}${s}" if i > 0]`: list{"1b"},
		`{for k, v in map : k => v if k == "k"}`:   object{"k": "v"},
		`{for s in ["a", "b", "a"] : s => s...}`:   object{"a": list{"a", "a"}, "b": list{"b"}},
		`join("-", list...)`:                       nil, // an error: see below
		`join("-", list)`:                          "a-b",
		`concat(list, ["c"])`:                      list{"a", "b", "c"},
		`merge(map, {k = "w"}).k`:                  "w",
		`split(",", "a,b")`:                        list{"a", "b"},
		`replace("a.b.c", ".", "-")`:               "a-b-c",
		`regex_replace("v1.2", "[^0-9]+", "_")`:    "_1_2",
		`regex("(\\d+)\\.(\\d+)", "v1.22")`:        list{"1", "22"},
		`format("%s-%03d", name, n)`:               "app-003",
		`length(list) + length("äb")`:              4.0,
		`contains(list, "b")`:                      true,
		`coalesce("", none, "x")`:                  "x",
		`lookup(map, "no", "d")`:                   "d",
		`sanitize("a.b/c")`:                        "a_b_c",
		`try(nothing, "fallback")`:                 "fallback",
		`can(nothing)`:                             false,
		`notequal("", name) ? ["x"] : []`:          list{"x"},
		`equal("", name)`:                          false,
		`substr("hello", 1, 3)`:                    "ell",
		`max(1, n, 2)`:                             3.0,
		`range(3)`:                                 list{0.0, 1.0, 2.0},
		`distinct(["a", "b", "a"])`:                list{"a", "b"},
		`jsondecode(jsonencode({a = [1]})).a[0]`:   1.0,
		`sha256("")`:                               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"<<EOF\nl1 ${name}\n  l2\nEOF":             "l1 app\n  l2\n",
		"<<-EOF\n    l1\n      l2 $${x}\n    EOF":  "l1\n  l2 ${x}\n",
		`flatten([["a"], [["b"]]])`:                list{"a", "b"},
		`zipmap(["a"], [1])`:                       object{"a": 1.0},
		`slice([1, 2, 3], 1, 3)`:                   list{2.0, 3.0},
		`add(1, 2)`:                                3.0,
		`null`:                                     nil,
	} {
		body, err := Parse("f", []byte("x = "+src+"\n"))
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		got, err := body.Attrs[0].Expr.Eval(testScope())
		if src == `join("-", list...)` {
			if err == nil {
				t.Errorf("%s: no error", src)
			}
			continue
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", src, err, diff)
		}
	}
}

func TestBlocks(t *testing.T) {
	body, err := Parse("f", []byte("/* comment */ a = 1\r\ntarget \"x\" {\n  inherits = [\"y\"]\n  inner {}\n}\nvariable Y { default = \"d\" }\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(body.Attrs) != 1 || len(body.Blocks) != 2 || body.Blocks[0].Labels[0] != "x" || body.Blocks[0].Line != 2 ||
		len(body.Blocks[0].Body.Blocks) != 1 || body.Blocks[1].Labels[0] != "Y" || body.Blocks[1].Body.Attrs[0].Name != "default" {
		t.Errorf("got %+v", body)
	}
}

func TestErrors(t *testing.T) {
	for src, want := range map[string]string{
		"a = ":                          "line 1: found the end where a value is expected",
		"\na = [1":                      "line 2: found the end",
		"a = 1 2":                       "the end of the line",
		"a = \"x":                       "the string has no end",
		"a = \"x\ny\"":                  "no end on its line",
		"a = \"%{if true}\"":            "line 1: the %{if} has no %{endif}",
		"a = \"%{endif}\"":              "ends nothing",
		"a = \"%{if a}%{endfor}\"":      "found %{endfor} where the %{if} of line 1 wants %{endif}",
		"a = \"%{for a in b}%{else}\"":  "found %{else}",
		"a = \"%{if a}%{else}%{else}\"": "found %{else}",
		"a = \"%{while a}\"":            "is no directive",
		"a = \"%{ }\"":                  "if, else, endif, for or endfor is expected",
		"a = \"%{for a}\"":              "for NAME in LIST is expected",
		"a = \"%{if a b}\"":             "} is expected",
		"a = <<E\n%{if a}\n\nE\n":       "line 2: the %{if} has no %{endif}",
		"a = <<E\n\n${b\nE\n":           "line 4: found 'E' where } is expected",
		"a = \"" + strings.Repeat("%{if a}", 200) + "\"": "levels",
		"a = \"\\q\"":                     "escape",
		"t {\n":                           "line 2: found the end where } is expected",
		"a = 1\na = 2":                    "line 2: a is set twice; the first is at line 1",
		"a = <<X\nb\n":                    `no later line is just "X"`,
		"= 1":                             "where a name is expected",
		"\xff":                            "UTF-8",
		"a = {b 1}":                       "= is expected",
		"t \"${x}\" {}":                   "cannot have an expression",
		"a = " + strings.Repeat("(", 200): "levels",
	} {
		_, err := Parse("f", []byte(src))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "f: ") {
			t.Errorf("%.40q: got %v, want %q", src, err, want)
		}
	}
	for src, want := range map[string]string{
		`nothing`:                            `line 1: there is no variable "nothing"`,
		`nothing()`:                          `there is no function "nothing"`,
		`list[2]`:                            "no element",
		`map.no`:                             `no "no"`,
		`1 / 0`:                              "division by zero",
		`"${map}-"`:                          "a map is not a string",
		`"%{if n}x%{endif}"`:                 "neither true nor false",
		`"%{for x in n}x%{endfor}"`:          "not a list",
		`"%{for x in [none]}${x}.%{endfor}"`: "null is not a string",
		`"%{for a in range(60000)}${join("", range(30000))}%{endfor}"`: "too long",
		`name + 1`:                       "not a number",
		`n ? 1 : 2`:                      "neither true nor false",
		`upper()`:                        "0 arguments",
		`[for x in 3 : x]`:               "not a list",
		`{for s in ["a", "a"] : s => s}`: "twice",
		`regex("(", "a")`:                "regular expression",
		`range(1000000)`:                 "elements",
		`format("%d", "x")`:              "not a number",
		`format("%s")`:                   "more arguments",
		`[for a in range(2000) : [for b in range(2000) : "x"]]`: "too deep or takes too long",
	} {
		body, err := Parse("f", []byte("x = "+src+"\n"))
		if err == nil {
			_, err = body.Attrs[0].Expr.Eval(testScope())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", src, err, want)
		}
		if err != nil && !errdefs.IsInvalid(err) && !errdefs.IsLimit(err) {
			t.Errorf("%s: no class: %v", src, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a = 1\n", "t \"x\" {\n  a = [for x in y : \"${x}\" if x > 1]\n}\n", "a = <<-E\n ${b}\nE\n", "a = {b = 1, c: 2}\n", "a = f(x...)[*].y ? -1 : !z\n",
		"a = \"${\"${\"x\"}\"}\"", "a = \"%{ for k, v in map ~} ${k} %{~ if yes }$${%%{%{ else }b%{ endif }%{ endfor }\"\n", "a = <<-E\n  %{~ if yes ~}\n   x\n %{ endif }\n  E\n", "a = range(3)[0] // c\n/* d */ b = 2"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		body, err := Parse("f", src)
		if err != nil {
			return
		}
		for _, a := range body.Attrs {
			_, err := a.Expr.Eval(testScope())
			if err != nil && !errdefs.IsInvalid(err) && !errdefs.IsLimit(err) {
				t.Fatalf("no class: %v", err)
			}
		}
	})
}
