package test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestTagCIPushes releases to a registry from machines that know nothing of each other: what the registry has decides.
func TestTagCIPushes(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git: install git")
	}
	bin := shipped(t)
	registry := startServe(t, bin, t.TempDir(), "127.0.0.1:0")
	name := registry.host + "/team/app"
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	// release makes a repository of one commit, which is a version, and pushes what it builds.
	release := func(version string) (string, int) {
		t.Helper()
		dir = t.TempDir()
		write(t, dir, "Dockerfile", "FROM scratch\n# what it is\nENV RELEASE=yes\nCOPY Dockerfile /\n")
		write(t, dir, "version", version)
		git("init", "-q", "-b", "main")
		git("add", ".")
		git("commit", "-q", "-m", version)
		git("tag", "v"+version)
		_, said, code := (&ours{t: t, bin: bin, root: t.TempDir()}).talk("build", "-q", "--tag-ci", "-t", name, "--label", "is="+dir, "--push", dir)
		return said, code
	}
	if said, code := release("1.3.0"); code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	digest := func(tag string) string {
		t.Helper()
		return (&ours{t: t, bin: bin, root: t.TempDir()}).run("doc", "--format", "{{.Digest}}", name+":"+tag)
	}
	first := digest("1.3.0")
	for _, alias := range []string{"1.3", "1", "latest"} {
		if d := digest(alias); d != first {
			t.Errorf("%s is %s, not %s", alias, d, first)
		}
	}
	if page := (&ours{t: t, bin: bin, root: t.TempDir()}).run("doc", name+":1"); !strings.Contains(page, "| `RELEASE` | `yes` | what it is |") || strings.Contains(page, "## Packages") {
		t.Errorf("the page of an image in a registry:\n%s", page)
	}
	// The label makes it another image.
	if said, code := release("1.3.0"); code != 7 || !strings.Contains(said, "is released in its registry") {
		t.Errorf("the same version again: exit code %d: %s", code, said)
	}
	if d := digest("latest"); d != first {
		t.Errorf("latest moved to %s", d)
	}
	if said, code := release("1.2.9"); code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	if repaired := digest("1.2.9"); digest("1.2") != repaired || digest("1") != first || digest("latest") != first {
		t.Error("an older version took what is not its own")
	}
}
