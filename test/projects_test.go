package test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// project is a project of testdata/projects: its sources, its Dockerfile, and the file "project" that says how it is built and what it
// prints when it runs:
//
//	context NAME WHAT      a named context: GOROOT, NODE or NPM of this machine
//	pass NAME...           build arguments with the settings of this machine's go
//	args FLAG...           more flags of build
//	certificates           the secret "certificates" is the authorities that this machine trusts, when it has them in one file
//	repository             the sources are in a git repository, at the tag v1; its address is the argument REPOSITORY
//	bake                   built with camada bake
//	expect PATTERN         what it prints
//	reject PATTERN         what it does not print
//	change FILE OLD NEW    what is changed then; the next expect is what it prints after that
//	cached TEXT            the step with TEXT in its name is cached then
type project struct {
	t          *testing.T
	c          *ours
	name, dir  string
	flags      []string
	bake       bool
	expect     []string
	reject     string
	file       string
	old, new   string
	cached     string
	repository bool
}

// TestProjects builds projects of many ecosystems as their people write them, with the packages that this machine reaches,
// runs them, builds them again unchanged, and again with one file changed.
func TestProjects(t *testing.T) {
	needRoot(t)
	c := &ours{t: t, bin: shipped(t), root: t.TempDir()}
	// The archive is that of this machine's apt.
	for _, b := range [][]string{
		{"--variant", "minbase", "-t", "minbase"},
		{"--variant", "minbase", "--include", "ca-certificates,g++,libc6-dev,binutils,python3-minimal,libpython3-stdlib,lua5.4,tcl,busybox,mawk", "-t", "tools"},
		{"--variant", "distroless", "--include", "libc6", "-t", "distroless"},
	} {
		if _, message, code := c.talk(append([]string{"base", "debian"}, b...)...); code != 0 {
			t.Skipf("no base images from this machine's package archive: %s", message)
		}
	}
	names, err := os.ReadDir("testdata/projects")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d projects, %v", len(names), err)
	}
	for _, n := range names {
		t.Run(n.Name(), func(t *testing.T) {
			p := &project{t: t, c: c.in(t), name: n.Name(), dir: filepath.Join(t.TempDir(), n.Name())}
			if err := os.CopyFS(p.dir, os.DirFS(filepath.Join("testdata/projects", n.Name()))); err != nil {
				t.Fatal(err)
			}
			p.read()
			p.check()
		})
	}
}

func (p *project) read() {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.dir, "project"))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		key, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		words := strings.Fields(rest)
		switch key {
		case "context":
			p.flags = append(p.flags, "--build-context", words[0]+"="+p.machine(words[1]))
		case "pass":
			for _, w := range words {
				out, err := exec.Command("go", "env", w).Output()
				if err != nil {
					p.t.Skipf("go env %s: %v", w, err)
				}
				p.flags = append(p.flags, "--build-arg", w+"="+strings.TrimSpace(string(out)))
			}
		case "args":
			p.flags = append(p.flags, words...)
		case "certificates":
			const bundle = "/etc/ssl/certs/ca-certificates.crt"
			if _, err := os.Stat(bundle); err == nil {
				p.flags = append(p.flags, "--secret", "id=certificates,src="+bundle)
			}
		case "repository":
			p.repository = true
		case "bake":
			p.bake = true
		case "expect":
			p.expect = append(p.expect, rest)
		case "reject":
			p.reject = rest
		case "change":
			p.file, p.old, p.new = words[0], words[1], words[2]
		case "cached":
			p.cached = rest
		default:
			p.t.Fatalf("project: %q is not known", key)
		}
	}
	if p.name == "node" {
		if out, err := exec.Command("npm", "config", "get", "registry").Output(); err == nil {
			p.flags = append(p.flags, "--build-arg", "NPM_REGISTRY="+strings.TrimSpace(string(out)))
		}
	}
	if p.repository {
		p.flags = append(p.flags, "--build-arg", "REPOSITORY="+p.commit())
	}
}

// machine returns a directory of this machine's tools.
func (p *project) machine(what string) string {
	p.t.Helper()
	var path string
	switch what {
	case "GOROOT":
		out, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			p.t.Skipf("go env GOROOT: %v", err)
		}
		return strings.TrimSpace(string(out))
	case "NODE":
		path = "node"
	case "NPM":
		path = "npm"
	}
	found, err := exec.LookPath(path)
	if err == nil {
		found, err = filepath.EvalSymlinks(found)
	}
	if err != nil {
		p.t.Skipf("%s is not installed", path)
	}
	if what == "NPM" { // .../npm/bin/npm-cli.js
		return filepath.Dir(filepath.Dir(found))
	}
	// Alone, so that not all programs beside it are looked at.
	dir := p.t.TempDir()
	data, err := os.ReadFile(found)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, path), data, 0o755)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return dir
}

// commit makes a git repository of the sources and returns its address.
func (p *project) commit() string {
	p.t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		p.t.Skip("git is not installed")
	}
	repo := filepath.Join(p.t.TempDir(), "tool.git")
	if err := os.CopyFS(repo, os.DirFS(p.dir)); err != nil {
		p.t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "one"}, {"tag", "v1"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = repo
		if out, err := cmd.CombinedOutput(); err != nil {
			p.t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	// Plain files are a repository for git's oldest way over http.
	cmd := exec.Command("git", "update-server-info")
	cmd.Dir = repo
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("git update-server-info: %v\n%s", err, out)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(repo))))
	p.t.Cleanup(server.Close)
	return server.URL + "/tool.git/.git"
}

// build builds the project and returns the lines about its steps.
func (p *project) build() string {
	p.t.Helper()
	args := append([]string{"build", "--progress=plain", "-t", "project/" + p.name}, p.flags...)
	args = append(args, p.dir)
	if p.bake {
		args = []string{"bake", "--progress=plain", "-f", filepath.Join(p.dir, "compose.yaml")}
	}
	_, message, code := p.c.talk(args...)
	if code != 0 {
		p.t.Fatalf("camada %s: exit code %d\n%s", strings.Join(args, " "), code, message)
	}
	return message
}

func (p *project) runs(pattern string) {
	p.t.Helper()
	cmd := exec.Command(p.c.bin, "--root", p.c.root, "run", "--rm", "--network", "none", "project/"+p.name)
	out, err := cmd.CombinedOutput()
	if err != nil || !regexp.MustCompile("(?m)"+pattern).Match(out) {
		p.t.Errorf("it prints %q, %v; want %q", out, err, pattern)
	}
	if p.reject != "" && bytes.Contains(out, []byte(p.reject)) {
		p.t.Errorf("it prints %q, with %q in it", out, p.reject)
	}
}

func (p *project) check() {
	p.t.Helper()
	p.build()
	p.runs(p.expect[0])
	again := p.build()
	for id, name := range steps(again) {
		if !regexp.MustCompile(`(?m)^` + id + ` CACHED`).MatchString(again) {
			p.t.Errorf("unchanged, %s is not cached:\n%s", name, again)
		}
	}
	if p.file == "" {
		return
	}
	name := filepath.Join(p.dir, p.file)
	text, err := os.ReadFile(name)
	if err != nil || !bytes.Contains(text, []byte(p.old)) {
		p.t.Fatalf("%s has no %q: %v", p.file, p.old, err)
	}
	if err := os.WriteFile(name, bytes.ReplaceAll(text, []byte(p.old), []byte(p.new)), 0o644); err != nil {
		p.t.Fatal(err)
	}
	changed := p.build()
	p.runs(p.expect[1])
	if p.cached == "" {
		return
	}
	found := false
	for id, name := range steps(changed) {
		if strings.Contains(name, p.cached) {
			found = true
			if !regexp.MustCompile(`(?m)^` + id + ` CACHED`).MatchString(changed) {
				p.t.Errorf("with %s changed, %s is not cached:\n%s", p.file, name, changed)
			}
		}
	}
	if !found {
		p.t.Errorf("no step with %q:\n%s", p.cached, changed)
	}
}

// steps are the instructions among the lines of a build, by their numbers.
func steps(log string) map[string]string {
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(#\d+) (\[.*\d+/\d+\] .*)$`).FindAllStringSubmatch(log, -1) {
		if !strings.Contains(m[2], "] FROM ") {
			out[m[1]] = m[2]
		}
	}
	return out
}
