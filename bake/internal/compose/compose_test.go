package compose

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
)

// write puts files into a new directory, and returns those whose names are given.
func write(t *testing.T, files map[string]string, names ...string) (string, []File) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var in []File
	for _, n := range names {
		in = append(in, File{filepath.Join(dir, n), []byte(files[n])})
	}
	return dir, in
}

func env(key string) (string, bool) {
	v, ok := map[string]string{"SET": "set", "EMPTY": "", "HOME": "/home/u"}[key]
	return v, ok
}

// TestLoad compares the services that files make together.
func TestLoad(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		names []string
		want  string
	}{
		"several files": {
			map[string]string{
				"a.yaml": "services:\n  a: {image: 'one', build: {context: ctx, args: {A: 1, B: 2, C: null}, tags: [x, y], platforms: linux/amd64, labels: [l=1, m=2], ulimits: {nofile: 5, nproc: {soft: 1, hard: 2}}}}\n  gone: {build: .}\n",
				"sub/b.yaml": "services:\n  a: {image: two, build: {dockerfile: D, args: [B=3, D=$SET], tags: [y, z], platforms: [linux/arm64], labels: {m: 3, n: 4}, ulimits: {nofile: {soft: 1, hard: 2}, nproc: {hard: 3}}}}\n" +
					"  gone: !reset null\n  b: {build: {context: other}}\n",
			},
			[]string{"a.yaml", "sub/b.yaml"},
			`{"a":{"build":{"args":["A=1","B=3","C","D=set"],"context":"DIR/ctx","dockerfile":"D","labels":["l=1","m=3","n=4"],"platforms":["linux/amd64","linux/arm64"],` +
				`"tags":["x","y","z"],"ulimits":{"nofile":{"hard":2,"soft":1},"nproc":{"hard":3,"soft":1}}},"image":"two"},"b":{"build":{"context":"DIR/other"}}}`,
		},
		"the short form of build is one of the long": {
			map[string]string{"a.yaml": "services: {a: {build: here}}", "b.yaml": "services: {a: {build: {target: t}}}", "c.yaml": "services: {a: {build: there}}"},
			[]string{"a.yaml", "b.yaml", "c.yaml"},
			`{"a":{"build":{"context":"DIR/there","target":"t"}}}`,
		},
		"reset and override": {
			map[string]string{
				"a.yaml": "services:\n  a: {image: i, build: {context: a, args: {A: 1}, tags: [x], labels: {l: 1}, target: t}}\n",
				"b.yaml": "services:\n  a: {image: !reset i, build: {args: !override {B: 2}, tags: !override [y, !reset q, !override v], labels: !reset {}, target: !reset null}}\n",
				"c.yaml": "services:\n  a: {build: {tags: [z], target: u}}\n",
			},
			[]string{"a.yaml", "b.yaml", "c.yaml"},
			`{"a":{"build":{"args":{"B":2},"context":"DIR/a","tags":["y","v","z"],"target":"u"}}}`,
		},
		"documents of one file": {
			map[string]string{"a.yaml": "services: {a: {build: {target: x, args: [A=1]}}}\n---\nservices: {a: {build: {target: y, args: !reset []}}}\n---\n"},
			[]string{"a.yaml"},
			`{"a":{"build":{"context":"DIR","target":"y"}}}`,
		},
		"extends in the same file": {
			map[string]string{"a.yaml": "services:\n  base: {image: i, platform: linux/arm64, build: {context: c, args: {A: 1, B: 1}, tags: [b]}, environment: {E: 1}}\n" +
				"  mid: {extends: base, build: {args: {B: 2}, tags: [m]}, environment: [F=2]}\n  top: {extends: {service: mid}, image: j, build: {args: !reset [], target: t}}\n  other: {extends: base, build: {tags: !override [o]}}\n"},
			[]string{"a.yaml"},
			`{"base":{"build":{"args":{"A":1,"B":1},"context":"DIR/c","tags":["b"]},"environment":{"E":1},"image":"i","platform":"linux/arm64"},` +
				`"mid":{"build":{"args":["A=1","B=2"],"context":"DIR/c","tags":["b","m"]},"environment":["E=1","F=2"],"image":"i","platform":"linux/arm64"},` +
				`"other":{"build":{"args":{"A":1,"B":1},"context":"DIR/c","tags":["o"]},"environment":{"E":1},"image":"i","platform":"linux/arm64"},` +
				`"top":{"build":{"context":"DIR/c","tags":["b","m"],"target":"t"},"environment":["E=1","F=2"],"image":"j","platform":"linux/arm64"}}`,
		},
		"extends of other files": {
			map[string]string{
				"a.yaml":          "services:\n  a: {extends: {file: sub/base.yaml, service: b}, build: {dockerfile: D}}\n  c: {extends: {file: sub/base.yaml, service: nocontext}}\n",
				"sub/base.yaml":   "services:\n  b: {extends: {file: deep/x.yaml, service: x}, build: {additional_contexts: {d: data, s: 'service:c', u: 'https://e.x/y.git'}, ssh: [default, k=key]}}\n  nocontext: {build: {dockerfile: N}}\n",
				"sub/deep/x.yaml": "include: [nothing.yaml]\nservices:\n  x: {image: $SET, build: {context: ctx, extra_hosts: {h: 1.2.3.4}}}\n",
			},
			[]string{"a.yaml"},
			`{"a":{"build":{"additional_contexts":["d=DIR/sub/data","s=service:c","u=https://e.x/y.git"],"context":"DIR/sub/deep/ctx","dockerfile":"D","extra_hosts":["h=1.2.3.4"],"ssh":{"default":null,"k":"DIR/sub/key"}},"image":"set"},` +
				`"c":{"build":{"context":"DIR","dockerfile":"N"}}}`,
		},
		"include": {
			map[string]string{
				"a.yaml":           "include:\n  - one/compose.yaml\n  - {path: [two/compose.yaml, two/over.yaml], project_directory: three, env_file: [e1.env, e2.env]}\nservices:\n  a: {extends: one, build: {target: '${FROM_ENV_FILE:-none}'}}\n  two: {image: mine}\n",
				".env":             "OUTER=outer\nBOTH=outer\n",
				"one/compose.yaml": "include: [more.yaml]\nservices: {one: {image: '$OUTER-$BOTH-$INNER', build: ctx}}\n",
				"one/.env":         "INNER=inner\nBOTH=inner\n",
				"one/more.yaml":    "services: {more: {build: {dockerfile: m}}}\nsecrets: {s: {file: key}}\n",
				"two/compose.yaml": "services: {two: {image: i, build: {context: ctx, tags: ['$FROM_ENV_FILE', '${SET}']}}}\n",
				"two/over.yaml":    "services: {two: {build: {tags: !override ['$FROM_ENV_FILE'], args: [\"S=$SECOND\"]}}}\n",
				"e1.env":           "FROM_ENV_FILE=first\nSET=never\n",
				"e2.env":           "FROM_ENV_FILE=last\nSECOND=\"${FROM_ENV_FILE} two\"\n",
				"three/.env":       "FROM_ENV_FILE=unused\n",
			},
			[]string{"a.yaml"},
			`{"a":{"build":{"context":"DIR/one/ctx","target":"none"},"image":"outer-outer-inner"},"more":{"build":{"context":"DIR/one","dockerfile":"m"}},` +
				`"one":{"build":{"context":"DIR/one/ctx"},"image":"outer-outer-inner"},"two":{"build":{"args":["S=last two"],"context":"DIR/three/ctx","tags":["last"]},"image":"mine"}}`,
		},
		"a file that two include": {
			map[string]string{"a.yaml": "include: [l.yaml, r.yaml]\nservices: {a: {build: .}}\n", "l.yaml": "include: [b.yaml]\n", "r.yaml": "include: [b.yaml]\n",
				"b.yaml": "services: {b: {build: {tags: [t]}}}\n"},
			[]string{"a.yaml"},
			`{"a":{"build":{"context":"DIR"}},"b":{"build":{"context":"DIR","tags":["t"]}}}`,
		},
		"no .env": {
			map[string]string{"a.yaml": "name: proj\ninclude: [{path: b.yaml, env_file: /dev/null}]\nservices: {a: {image: '${COMPOSE_PROJECT_NAME}-a', build: ~/x}}\n", "b.yaml": "services: {b: {image: '[$V]', build: .}}\n"},
			[]string{"a.yaml"},
			`{"a":{"build":{"context":"/home/u/x"},"image":"proj-a"},"b":{"build":{"context":"DIR"},"image":"[]"}}`,
		},
		"merge keys": {
			map[string]string{"a.yaml": "x-build: &b {context: c, args: &args {A: 1}}\nservices:\n  a:\n    build:\n      <<: *b\n      args: {<<: *args, B: 2}\n  b: {build: *b, ports: [80], deploy: {x: [y]}}\n"},
			[]string{"a.yaml"},
			`{"a":{"build":{"args":{"A":1,"B":2},"context":"DIR/c"}},"b":{"build":{"args":{"A":1},"context":"DIR/c"}}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, in := write(t, c.files, c.names...)
			m, err := Load(in, env)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(m.Services)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, strings.ReplaceAll(string(got), dir, "DIR")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "$SET": "set", "${SET}": "set", "a${SET}b$SET-c": "asetbset-c", "$NONE|${NONE}": "|", "$$SET $${SET} $$$$": "$SET ${SET} $$",
		"${NONE:-d}": "d", "${EMPTY:-d}": "d", "${SET:-d}": "set", "${NONE-d}": "d", "${EMPTY-d}": "", "${SET:+a}": "a", "${EMPTY:+a}": "", "${NONE:+a}": "",
		"${SET+a}": "a", "${EMPTY+a}": "a", "${NONE+a}": "", "${SET:?m}": "set", "${EMPTY?m}": "", "${NONE:-${EMPTY:-${SET}}}": "set", "${NONE:-a $SET {b} c}": "a set {b} c",
		"${SET:+${NONE:-x}}": "x", "${NONE:-a:-b}": "a:-b", "${NONE:-}": "", "100$": "100$", "$5 $-": "$5 $-", "${SET:-${NONE:?never}}": "set",
	} {
		if got, err := Expand(in, env); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"${": "without }", "${}": "not a variable", "${ SET}": "not a variable", "${SET }": "not a variable", "${SET!}": "not a variable", "${SET:}": "not a variable",
		"${NONE:?say it}": "NONE must be set: say it", "${EMPTY:?}": "EMPTY must be set", "${NONE?${SET} it}": "NONE must be set: set it",
		"${N:-" + strings.Repeat("${N:-", 100) + strings.Repeat("}", 101): "deep",
	} {
		if _, err := Expand(in, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got %v, want %q", in, err, want)
		}
	}
}

func TestEnvFile(t *testing.T) {
	src := "\ufeff# comment\nA=1\n  export B = two words # comment\nC='$A # \\' raw\\n'\nD=\"${A}\\n\\$A $${A}\" # behind\nE:yaml\nF=\nSET\nNONE\nG=${D:-x}$SET\r\nH=\"two\nlines\"\nI=a#b\nSET2=${A}${H}\nA=2\nJ='end'"
	values := map[string]string{}
	lookup := func(key string) (string, bool) {
		if v, ok := env(key); ok {
			return v, true
		}
		v, ok := values[key]
		return v, ok
	}
	if err := parseEnv(src, lookup, values); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"A": "2", "B": "two words", "C": "$A # ' raw\\n", "D": "1\n$A ${A}", "E": "yaml", "F": "", "SET": "set", "G": "1\n$A ${A}set", "H": "two\nlines",
		"I": "a#b", "SET2": "1two\nlines", "J": "end"}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Error(diff)
	}
	for src, want := range map[string]string{"A=1\nB C=2": "line 2: want NAME=VALUE", "=x": "line 1", "A=\"x\n\n": "line 1: A: the quote has no end", "A=1\n\nB=${": "line 3: B: "} {
		if err := parseEnv(src, env, map[string]string{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", src, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	many := &strings.Builder{}
	many.WriteString("services:\n  s0: {build: {tags: [" + strings.Repeat("x,", 9_000) + "]}}\n")
	for i := range 130 {
		fmt.Fprintf(many, "  t%d: {extends: s0}\n", i)
	}
	deep := &strings.Builder{}
	deep.WriteString("services:\n  s0: {build: .}\n")
	for i := range 100 {
		fmt.Fprintf(deep, "  s%d: {extends: s%d}\n", i+1, i)
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a list":              {map[string]string{"a.yaml": "[a]"}, "a.yaml: the file is not a map"},
		"services":            {map[string]string{"a.yaml": "services: [a]"}, "a.yaml: services is not a map"},
		"a service":           {map[string]string{"a.yaml": "services: {a: b}"}, "service a is not a map"},
		"build":               {map[string]string{"a.yaml": "services: {a: {build: [b]}}"}, "service a: build: want a path or a map"},
		"context":             {map[string]string{"a.yaml": "services: {a: {build: {context: [b]}}}"}, "build.context"},
		"named context":       {map[string]string{"a.yaml": "services: {a: {build: {additional_contexts: [b]}}}"}, `"b" is not NAME=PATH`},
		"a variable":          {map[string]string{"a.yaml": "services: {a: {image: '${X:?say it}'}}"}, "a.yaml: services: a: image: the variable X must be set: say it"},
		"a tag":               {map[string]string{"a.yaml": "services: {a: {image: !secret x}}"}, "a.yaml: line 1: the tag !secret"},
		".env":                {map[string]string{"a.yaml": "services: {}", ".env": "a b"}, ".env: line 1"},
		"extends nothing":     {map[string]string{"a.yaml": "services: {a: {extends: b}}"}, `service a: extends: there is no service "b" in`},
		"extends itself":      {map[string]string{"a.yaml": "services: {a: {extends: b}, b: {extends: a}}"}, "extends leads back: "},
		"extends across":      {map[string]string{"a.yaml": "services: {a: {extends: {file: b.yaml, service: b}}}", "b.yaml": "services: {b: {extends: {file: a.yaml, service: a}}}"}, "extends leads back: "},
		"extends a key":       {map[string]string{"a.yaml": "services: {a: {extends: {what: b}}}"}, `the key "what"`},
		"extends no file":     {map[string]string{"a.yaml": "services: {a: {extends: {file: b.yaml, service: b}}}"}, "there is no file"},
		"extends a directory": {map[string]string{"a.yaml": "services: {a: {extends: {file: ., service: b}}}"}, "is not a file"},
		"extends far":         {map[string]string{"a.yaml": "services: {a: {extends: {file: 'https://e.x/c.yaml', service: b}}}"}, "https://e.x/c.yaml is not a local file"},
		"extends deep":        {map[string]string{"a.yaml": deep.String()}, "extend one another"},
		"extends much":        {map[string]string{"a.yaml": many.String()}, "values"},
		"kinds":               {map[string]string{"a.yaml": "services: {a: {extends: b, build: {tags: {x: y}}}, b: {build: {tags: [x]}}}"}, "services.a.build.tags is a list in one file and none in another"},
		"include":             {map[string]string{"a.yaml": "include: b.yaml"}, "include is not a list"},
		"include nothing":     {map[string]string{"a.yaml": "include: [b.yaml]"}, "include: there is no file"},
		"include a key":       {map[string]string{"a.yaml": "include: [{path: b.yaml, what: c}]"}, "what: the key is not known"},
		"include no path":     {map[string]string{"a.yaml": "include: [{env_file: b}]"}, "path is missing"},
		"include far":         {map[string]string{"a.yaml": "include: ['oci://e.x/c']"}, "oci://e.x/c is not a local file"},
		"include itself":      {map[string]string{"a.yaml": "include: [b.yaml]", "b.yaml": "include: [c.yaml]", "c.yaml": "include: [a.yaml]"}, "the files include one another: "},
		"include no env file": {map[string]string{"a.yaml": "include: [{path: b.yaml, env_file: c.env}]", "b.yaml": "services: {}"}, "there is no file"},
		"included":            {map[string]string{"a.yaml": "include: [b.yaml]", "b.yaml": "services: 5"}, "b.yaml: services is not a map"},
	} {
		t.Run(name, func(t *testing.T) {
			_, in := write(t, c.files, "a.yaml")
			_, err := Load(in, env)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && !errdefs.IsInvalid(err) && !errdefs.IsNotFound(err) && !errdefs.IsLimit(err) && !errdefs.IsUnsupported(err) {
				t.Errorf("no class: %v", err)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("services: {a: {extends: b, build: {args: !override [A=$X]}}, b: {build: x}}\n---\nservices: {a: !reset null}\n", "A=\"$B\"\nexport B='x'\n")
	f.Add("include: [a.yaml]\nsecrets: {s: {file: f}}\n", "A")
	f.Fuzz(func(t *testing.T, src, vars string) {
		if err := parseEnv(vars, env, map[string]string{}); err != nil && !errdefs.IsInvalid(err) && !errdefs.IsLimit(err) {
			t.Fatalf("no class: %v", err)
		}
		_, err := Load([]File{{"x.yaml", []byte(src)}}, env)
		if err != nil && !errdefs.IsInvalid(err) && !errdefs.IsNotFound(err) && !errdefs.IsLimit(err) && !errdefs.IsUnsupported(err) {
			t.Fatalf("no class: %v", err)
		}
	})
}
