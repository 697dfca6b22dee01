package bake

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
)

const example = `
variable "TAG" { default = "latest" }
variable "RELEASE" { default = false }
variable "N" { default = 2 }
variable "FULL" { default = "app:${TAG}" }
registry = "reg.lan"
function "named" {
  params = [n]
  variadic_params = more
  result = "${registry}/${n}:${TAG}${join("", more)}"
}
group "default" { targets = ["app", "tools"] }
group "tools" { targets = ["lint"] }
target "_common" {
  args = { GO = "1.26", N = N, GONE = null }
  labels = { who = "us" }
  platforms = ["linux/amd64"]
}
target "app" {
  inherits = ["_common"]
  context = "src"
  dockerfile = "Dockerfile.app"
  args = { MODE = RELEASE ? "release" : "debug" }
  tags = [named("app"), FULL, RELEASE ? "app:release" : null]
  cache-to = [{ type = "registry", ref = "reg.lan/cache", mode = "max" }, "type=inline"]
  contexts = { base = "target:base", docs = "../docs" }
  no-cache = false
}
target "base" { dockerfile-inline = <<EOT
FROM scratch
EOT
}
target "lint" {
  name = "lint-${sanitize(v.n)}-${os}"
  matrix = {
    v = [{ n = "a.b" }, { n = "c" }]
    os = ["x", "y"]
  }
  target = os
  tags = ["lint:${v.n}"]
  output = ["type=cacheonly"]
}
`

func read(t *testing.T, src string, opts Options) *Plan {
	t.Helper()
	p, err := Read([]File{{"docker-bake.hcl", []byte(src)}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHCL(t *testing.T) {
	env := map[string]string{"TAG": "1.2", "RELEASE": "true", "N": "3"}
	p := read(t, example, Options{Getenv: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	var names []string
	for _, x := range p.Targets {
		names = append(names, x.Name)
	}
	if want := []string{"base", "app", "lint-a_b-x", "lint-c-x", "lint-a_b-y", "lint-c-y"}; len(names) != 6 || names[0] != want[0] || names[1] != want[1] {
		t.Errorf("targets %v", names)
	}
	want := `{"context":"src","dockerfile":"Dockerfile.app","contexts":{"base":"target:base","docs":"../docs"},"args":{"GO":"1.26","MODE":"release","N":"3"},` +
		`"labels":{"who":"us"},"tags":["reg.lan/app:1.2","app:1.2","app:release"],"cache-to":["type=registry,mode=max,ref=reg.lan/cache","type=inline"],` +
		`"platforms":["linux/amd64"],"no-cache":false}`
	if diff := cmp.Diff(want, asJSON(t, p.Targets[1])); diff != "" {
		t.Error(diff)
	}
	if got := asJSON(t, p.Targets[0]); got != `{"dockerfile-inline":"FROM scratch\n"}` {
		t.Errorf("base: %s", got)
	}
	for _, l := range p.Targets[2:] {
		if l.Name == "lint-a_b-y" && asJSON(t, l) != `{"tags":["lint:a.b"],"target":"y","output":["type=cacheonly"]}` {
			t.Errorf("%s: %s", l.Name, asJSON(t, l))
		}
	}
}

func TestOverrides(t *testing.T) {
	p := read(t, example, Options{Targets: []string{"app"}, Set: []string{"*.platform=linux/arm64,linux/amd64", "app.args.MODE=x", "app.tags=one", "app.tags+=two",
		"app.labels.k=v", "app.no-cache=true", "a*.contexts.docs=/d", "app.target=t"}})
	got := p.Targets[1]
	if asJSON(t, got.Tags) != `["one","two"]` || asJSON(t, got.Platforms) != `["linux/arm64","linux/amd64"]` || got.Args["MODE"] != "x" || got.Labels["who"] != "us" ||
		got.Labels["k"] != "v" || !*got.NoCache || got.Contexts["docs"] != "/d" || *got.Target != "t" {
		t.Errorf("got %s", asJSON(t, got))
	}
}

func TestJSONAndLaterFiles(t *testing.T) {
	files := []File{
		{"docker-bake.json", []byte(`{"variable": {"V": {"default": "x"}}, "target": {"default": {"tags": ["a:${V}"], "args": {"A": "1", "B": "2"}}}}`)},
		{"docker-bake.override.hcl", []byte("variable \"V\" { default = \"y\" }\ntarget \"default\" {\n  args = { B = \"3\" }\n}\n")},
	}
	p, err := Read(files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := asJSON(t, p.Targets[0]); got != `{"args":{"A":"1","B":"3"},"tags":["a:y"]}` {
		t.Errorf("got %s", got)
	}
}

const composeExample = `
services:
  web:
    image: "reg.lan/web:${TAG:-dev}"
    build:
      context: ./web
      dockerfile: Dockerfile.web
      args:
        - A=1
        - FROMENV=${NAME}
      target: prod
      cache_from: ["type=registry,ref=reg.lan/cache"]
      additional_contexts:
        base: service:base
      secrets: [token, {source: key, target: k}]
      labels: {l: 5}
      x-bake:
        platforms: [linux/amd64, linux/arm64]
        tags: ["extra:1"]
  base:
    build: ./base
  db:
    image: postgres
secrets:
  token: {environment: TOKEN}
  key: {file: ./key.pem}
x-other: &anchor {a: 1}
`

func TestCompose(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte("# comment\nexport NAME='dot env'\nTAG=ignored\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := Read([]File{{filepath.Join(dir, "compose.yaml"), []byte(composeExample)}}, Options{Getenv: func(k string) (string, bool) { return "9", k == "TAG" }})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Targets) != 2 || p.Targets[0].Name != "base" {
		t.Fatalf("got %s", asJSON(t, p.Targets))
	}
	want := `{"context":"DIR/web","dockerfile":"Dockerfile.web","contexts":{"base":"target:base"},"args":{"A":"1","FROMENV":"dot env"},"labels":{"l":"5"},` +
		`"tags":["extra:1"],"cache-from":["type=registry,ref=reg.lan/cache"],"target":"prod","secret":["id=token,env=TOKEN","id=k,src=DIR/key.pem"],` +
		`"platforms":["linux/amd64","linux/arm64"]}`
	if diff := cmp.Diff(want, strings.ReplaceAll(asJSON(t, p.Targets[1]), dir, "DIR")); diff != "" {
		t.Error(diff)
	}
}

// TestComposeFiles reads several, and what compose files say in more than one way.
func TestComposeFiles(t *testing.T) {
	dir := t.TempDir()
	one := `
services:
  a.b:
    image: unused
    environment: [FROM_SERVICE=service]
    build:
      context: https://e.x/y.git
      args: [FROM_ENV, FROM_SERVICE, NOWHERE, "K=a=b"]
      labels: [bare, "k=v:w"]
      extra_hosts: {h: [1.1.1.1, 2.2.2.2]}
      ssh: {default: null, k: ./key}
      tags: [t]
      ulimits: {nofile: 1024, nproc: {soft: 1, hard: 2}}
      provenance: mode=max
      sbom: true
      privileged: true
      entitlements: [network.host]
      x-other: {ignored: yes}
      x-bake: {tags: t u, platforms: linux/arm64, contexts: {c: "service:a.b"}, no-cache: true, output: "type=local,dest=out"}
`
	two := "services: {a.b: {build: {extra_hosts: [\"i:3.3.3.3\"], shm_size: 64m, platforms: [linux/amd64], x-bake: {secret: [id=s]}}}}\n"
	files := []File{{filepath.Join(dir, "compose.yaml"), []byte(one)}, {filepath.Join(dir, "sub/over.yaml"), []byte(two)}, {"x.hcl", []byte("target \"a_b\" { target = \"t\" }")}}
	p, err := Read(files, Options{Set: []string{"*.contexts.c=d"}, Getenv: func(k string) (string, bool) { return "env", strings.HasPrefix(k, "FROM_") }})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"context":"https://e.x/y.git","contexts":{"c":"d"},"args":{"FROM_ENV":"env","FROM_SERVICE":"service","K":"a=b"},"labels":{"bare":"","k":"v:w"},"tags":["t","u"],` +
		`"attest":["type=provenance,mode=max","type=sbom,enabled=true"],"target":"t","secret":["id=s"],"ssh":["default","k=DIR/key"],"platforms":["linux/amd64","linux/arm64"],` +
		`"output":["type=local,dest=out"],"no-cache":true,"shm-size":"64m","ulimits":["nofile=1024:1024","nproc=1:2"],"extra-hosts":{"h":"1.1.1.1,2.2.2.2","i":"3.3.3.3"},` +
		`"entitlements":["network.host","security.insecure"]}`
	if diff := cmp.Diff(want, strings.ReplaceAll(asJSON(t, p.Targets[0]), dir, "DIR")); diff != "" || p.Targets[0].Name != "a_b" {
		t.Error(diff)
	}
}

func TestErrors(t *testing.T) {
	for src, want := range map[string]string{
		"target \"a\" {\n  what = 1\n}":                   "line 2: what: unknown key",
		"target \"a b\" {}":                               "not a name",
		"what \"a\" {}":                                   "unknown block",
		"target \"default\" { inherits = [\"default\"] }": "inherits itself",
		"target \"default\" { inherits = [\"none\"] }":    "no target \"none\" to inherit",
		"group \"default\" { targets = [\"default\"] }":   "itself",
		"group \"default\" { targets = [\"none\"] }":      "no target or group \"none\"",
		"target \"other\" {}":                             "name one of other",
		"variable \"A\" { default = B }\nvariable \"B\" { default = A }\ntarget \"default\" { tags = [A] }": "made of itself",
		"function \"f\" {\n params = [x]\n result = f(x)\n}\ntarget \"default\" { tags = [f(1)] }":          "too deep",
		"target \"default\" { contexts = { x = \"target:default\" } }":                                      "lead back",
		"target \"default\" { contexts = { x = \"target:none\" } }":                                         "no target \"none\"",
		"target \"default\" { tags = \"x\" }":                                                               "list of strings",
		"target \"default\" { matrix = { a = [1] } }":                                                       "wants a name",
		"target \"default\" {\n matrix = { a = [\"!\"] }\n name = a\n}":                                     "not a name",
	} {
		_, err := Read([]File{{"x.hcl", []byte(src)}}, Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", src, err, want)
		}
	}
	for _, c := range []struct{ name, src, want string }{
		{"x.json", `{"target": 1}`, "not an object"},
		{"x.json", `{"target": {"default": {"tags": ["${"]}}}`, "x.json"},
		{"x.yaml", "services:\n  a:\n    build: {context: ., secrets: [none]}\n", `no secret "none"`},
		{"x.yaml", "services:\n  a:\n    build: {context: '${X:?say it}'}\n", "X must be set: say it"},
		{"x.yaml", "services: [", "x.yaml"},
		{"x.yaml", "services: {a: {build: {what: x}}}", `service a: build.what: unknown key "what"`},
		{"x.yaml", "services: {a: {build: {inherits: [x]}}}", `unknown key "inherits" of a build section`},
		{"x.yaml", "services: {a: {build: {x-bake: {what: x}}}}", `build.x-bake: unknown key "what"`},
		{"x.yaml", "services: {a: {build: {secrets: [s]}}}\nsecrets: {s: {external: true}}", "neither a file nor"},
		{"x.yaml", "services: {a: {extends: {file: 'git@e.x:y', service: b}}}", "git@e.x:y is not a local file"},
		{"x.yaml", "a: 1", "no services"},
	} {
		_, err := Read([]File{{c.name, []byte(c.src)}}, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.src, err, c.want)
		}
	}
	_, err := Read([]File{{"x.hcl", []byte("target \"default\" {}")}}, Options{Set: []string{"none.tags=x"}})
	if !errdefs.IsNotFound(err) {
		t.Errorf("an override of nothing: %v", err)
	}
}

// TestBomb reads a document whose aliases would make billions of values.
func TestBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 10; i++ {
		prev := string(rune('0' + i - 1))
		b.WriteString("a" + string(rune('0'+i)) + ": &a" + string(rune('0'+i)) + " [" + strings.Repeat("*a"+prev+",", 9) + "]\n")
	}
	if _, err := Read([]File{{"x.yaml", []byte(b.String())}}, Options{}); err == nil {
		t.Error("no error")
	}
}

func FuzzRead(f *testing.F) {
	f.Add("x.hcl", example)
	f.Add("x.yaml", composeExample)
	f.Add("x.json", `{"target": {"default": {"tags": ["${1 + 1}"]}}}`)
	f.Fuzz(func(t *testing.T, name, src string) {
		if strings.ContainsAny(name, "/\x00") {
			return
		}
		_, err := Read([]File{{name, []byte(src)}}, Options{})
		if err != nil && !errdefs.IsInvalid(err) && !errdefs.IsNotFound(err) && !errdefs.IsLimit(err) && !errdefs.IsUnsupported(err) {
			t.Fatalf("no class: %v", err)
		}
	})
}
