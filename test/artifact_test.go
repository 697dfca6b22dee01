package test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// artifacts pushes files, attaches some, finds and fetches them.
func (r *trial) artifacts(t *testing.T) {
	dir := r.Path("files")
	write(t, dir, "one.txt", "first\n", "d/two.json", "{}\n", "empty", "")
	t.Chdir(dir)
	c, files, app := r.made, r.host+"/files:1", r.host+"/app:1"
	digest := c.run("artifact", "push", "--artifact-type", "application/vnd.test", "-a", "a=b", "--format", "{{.Digest}}", files, "one.txt:text/plain", "d/two.json", "empty")
	if again := c.run("artifact", "push", "--artifact-type", "application/vnd.test", "-a", "a=b", files, "one.txt:text/plain", "d/two.json", "empty"); !strings.HasSuffix(again, digest) {
		t.Errorf("the same files have another digest: %s", again)
	}
	out := r.Path("out")
	if got := c.run("artifact", "pull", "-o", out, files); strings.Count(got, "Downloaded") != 3 || !strings.HasSuffix(got, digest) {
		t.Error(got)
	}
	for name, want := range map[string]string{"one.txt": "first\n", "d/two.json": "{}\n", "empty": ""} {
		if data, err := os.ReadFile(out + "/" + name); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}

	c.run("push", "-q", "multi", app)
	before := c.run("manifest", "inspect", "--raw", app)
	var scan string
	all := r.w.during(func() {
		scan = c.run("artifact", "attach", "--artifact-type", "application/vnd.scan", "--format", "{{.Digest}}", app, "one.txt")
	})
	r.tells(t, all)
	c.run("artifact", "attach", "--artifact-type", "application/vnd.note", "-a", "state=reviewed", "--subject", app)
	c.run("artifact", "attach", "--artifact-type", "application/vnd.sign", r.host+"/app@"+scan, "d/two.json")
	if after := c.run("manifest", "inspect", "--raw", app); after != before {
		t.Error("the image changed")
	}
	tree := c.run("artifact", "discover", "-v", app)
	for _, want := range []string{"├── application/vnd.note\n", "└── application/vnd.scan\n    └── " + scan + "\n        └── application/vnd.sign\n", `state: "reviewed"`} {
		if !strings.Contains(tree, want) {
			t.Errorf("no %q in\n%s", want, tree)
		}
	}
	if got := c.run("artifact", "discover", "--depth", "1", "--artifact-type", "application/vnd.scan", "--format", "{{range .Referrers}}{{.Digest}} {{len .Referrers}}{{end}}", app); got != scan+" 0" {
		t.Error(got)
	}
	for _, args := range [][]string{{"attach", "--artifact-type", "a/b", r.host + "/none:1", "one.txt"}, {"pull", r.host + "/none:1"}} {
		if _, said, code := c.talk(append([]string{"artifact"}, args...)...); code != 1 {
			t.Errorf("artifact %q: %d, %s", args, code, said)
		}
	}
	t.Run("oras", func(t *testing.T) { withOras(t, c.in(t), r.host, tree) })
}

// tells checks who keeps the list of what is attached: the registry, or we under a tag ("Listing Referrers", "Referrers Tag Schema").
func (r *trial) tells(t *testing.T, all []asked) {
	t.Helper()
	tagged := false
	for _, a := range all {
		tagged = tagged || a.method == http.MethodPut && strings.Contains(a.path, "/manifests/sha256-")
	}
	if tagged == r.referrers {
		t.Errorf("the list is under a tag: %v", tagged)
	}
}

// TestArtifactMistakes are refused before any registry is asked.
func TestArtifactMistakes(t *testing.T) {
	c := &ours{t: t, bin: shipped(t), root: t.TempDir()}
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, dir, "one.txt", "first\n")
	const name = "registry.invalid/files:1"
	for _, args := range [][]string{{name}, {name, "../x"}, {name, dir}, {name, "none"}, {name, "one.txt", "one.txt"}, {"--artifact-type", "nothing", name, "one.txt"}} {
		if _, said, code := c.talk(append([]string{"artifact", "push"}, args...)...); code != 1 || strings.Contains(said, "lookup") {
			t.Errorf("artifact push %q: %d, %s", args, code, said)
		}
	}
}

// withOras reads with oras what camada pushed, and the other way round.
func withOras(t *testing.T, c *ours, host, tree string) {
	p := peers.Need(t, "oras")
	p.Run("oras", "pull", "--plain-http", "-o", p.Path("theirs"), host+"/files:1")
	if data, err := os.ReadFile(p.Path("theirs/d/two.json")); err != nil || string(data) != "{}\n" {
		t.Errorf("oras pulls %q, %v", data, err)
	}
	theirs := p.Run("oras", "discover", "--plain-http", "--format", "tree", host+"/app:1")
	for line := range strings.Lines(theirs) {
		if _, name, ok := strings.Cut(line, "── "); ok && strings.HasPrefix(name, "application/") && !strings.Contains(tree, strings.TrimSpace(name)) {
			t.Errorf("oras finds more:\n%s", theirs)
		}
	}
	if n := strings.Count(theirs, "sha256:"); n != strings.Count(tree, "sha256:") {
		t.Errorf("oras finds %d manifests:\n%s", n, theirs)
	}
	p.Run("oras", "push", "--plain-http", "--artifact-type", "application/vnd.theirs", host+"/files:2", "one.txt:text/plain", "d/two.json")
	c.run("artifact", "pull", "-o", p.Path("ours"), host+"/files:2")
	for name, want := range map[string]string{"one.txt": "first\n", "d/two.json": "{}\n"} {
		if data, err := os.ReadFile(p.Path("ours/" + name)); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	p.Run("oras", "attach", "--plain-http", "--artifact-type", "application/vnd.theirs", host+"/app:1", "empty")
	if got := c.run("artifact", "discover", "--format", "table", host+"/app:1"); strings.Count(got, "vnd.theirs") != 1 || strings.Count(got, "\n") != 4 {
		t.Errorf("attached by oras: %s", got)
	}
	// A directory that oras packed is refused by name.
	p.Run("oras", "push", "--plain-http", host+"/files:3", "d")
	if _, said, code := c.talk("artifact", "pull", "-o", p.Path("packed"), host+"/files:3"); code != 1 || !strings.Contains(said, "oras packed") {
		t.Error(fmt.Sprint(code), said)
	}
}
