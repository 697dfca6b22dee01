package git

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
)

// newest is the last tag by name, in place of a version's order.
func newest(tags []string) string {
	slices.Sort(tags)
	if len(tags) == 0 {
		return ""
	}
	return tags[len(tags)-1]
}

func state(t *testing.T, dir string) State {
	t.Helper()
	s, err := New(Options{Getenv: os.Getenv}).State(t.Context(), dir, newest)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestState(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not here")
	}
	dir := t.TempDir()
	gitIn(t, dir, "init", "-q", "-b", "main")
	file := filepath.Join(dir, "a")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("1")
	gitIn(t, dir, "add", "a")
	gitIn(t, dir, "-c", "user.name=Eve <x> 99 +0000", "commit", "-q", "-m", "one\n\ncommitter x <y> 7 +0000")
	s := state(t, dir)
	at, err := time.Parse(time.RFC3339, gitIn(t, dir, "log", "-1", "--format=%cI"))
	if err != nil || !s.Time.Equal(at) || s.Ref != "refs/heads/main" || s.Distance != 1 || s.Last != "" || s.Dirty || s.Shallow || len(s.All) != 0 {
		t.Errorf("the first commit: %+v, %v", s, err)
	}
	gitIn(t, dir, "tag", "v1.0.0")
	gitIn(t, dir, "tag", "-a", "-m", "x", "v1.1.0")
	if s = state(t, dir); !slices.Equal(s.Tags, []string{"v1.0.0", "v1.1.0"}) || s.Last != "v1.1.0" || s.Distance != 0 {
		t.Errorf("with tags: %+v", s)
	}
	for range 3 {
		gitIn(t, dir, "commit", "-q", "--allow-empty", "-m", "more")
	}
	gitIn(t, dir, "checkout", "-q", "-b", "side", "HEAD~3")
	gitIn(t, dir, "commit", "-q", "--allow-empty", "-m", "side")
	gitIn(t, dir, "tag", "v9.0.0")
	gitIn(t, dir, "checkout", "-q", "main")
	s = state(t, dir)
	// v1.1.0-3-gabcdef1
	if want := strings.Split(gitIn(t, dir, "describe", "--long"), "-"); s.Last != want[0] || want[1] != "3" || s.Distance != 3 || !slices.Contains(s.All, "v9.0.0") || len(s.Tags) != 0 {
		t.Errorf("after tags: %+v, git says %v", s, want)
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if s = state(t, dir); s.Dirty {
		t.Error("a file that git does not know makes it dirty")
	}
	write("1") // another time, the same content
	if s = state(t, dir); s.Dirty {
		t.Error("a file that was written again makes it dirty")
	}
	write("2")
	if s = state(t, dir); !s.Dirty {
		t.Error("a changed file does not make it dirty")
	}
	gitIn(t, dir, "checkout", "-q", "a")

	beside := filepath.Join(t.TempDir(), "beside")
	gitIn(t, dir, "worktree", "add", "-q", "--detach", beside, "v1.0.0")
	if s = state(t, beside); s.Ref != "" || len(s.Tags) != 2 || s.Dirty {
		t.Errorf("a work tree beside, without a branch: %+v", s)
	}
	shallow := filepath.Join(t.TempDir(), "shallow")
	gitIn(t, dir, "clone", "-q", "--depth=1", "--no-tags", "file://"+dir, shallow)
	if s = state(t, shallow); !s.Shallow || s.Distance != 1 || len(s.All) != 0 {
		t.Errorf("a shallow clone: %+v", s)
	}
	if _, err := New(Options{}).State(t.Context(), t.TempDir(), newest); !errdefs.IsNotFound(err) {
		t.Errorf("no repository: %v", err)
	}
}

// TestStateRunsNothing: what a repository's configuration wants to execute is not executed.
func TestStateRunsNothing(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not here")
	}
	dir, ran := t.TempDir(), filepath.Join(t.TempDir(), "ran")
	gitIn(t, dir, "init", "-q", "-b", "main")
	for name, text := range map[string]string{"a": "1", ".gitattributes": "a filter=evil\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	gitIn(t, dir, "add", ".")
	gitIn(t, dir, "commit", "-q", "-m", "one")
	evil := "touch " + ran + "; cat"
	for _, kv := range [][2]string{{"filter.evil.clean", evil}, {"filter.evil.required", "true"}, {"core.fsmonitor", "touch " + ran}, {"log.showSignature", "true"}, {"gpg.program", "touch " + ran}} {
		gitIn(t, dir, "config", kv[0], kv[1])
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "a"), later, later); err != nil {
		t.Fatal(err)
	}
	if s := state(t, dir); s.Dirty {
		t.Errorf("%+v", s)
	}
	if _, err := os.Stat(ran); !errors.Is(err, os.ErrNotExist) {
		t.Error("a program was run")
	}
	// The test can fail: git by itself runs it.
	gitIn(t, dir, "status", "--porcelain")
	if _, err := os.Stat(ran); err != nil {
		t.Error("git status did not run it either, so this tests nothing")
	}
}

// TestStateFilterWithEquals: a filter that cannot be turned off is refused.
func TestStateFilterWithEquals(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not here")
	}
	dir, ran := t.TempDir(), filepath.Join(t.TempDir(), "ran")
	gitIn(t, dir, "init", "-q", "-b", "main")
	for name, text := range map[string]string{"a": "1", ".gitattributes": "a filter=a=b\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	gitIn(t, dir, "add", ".")
	gitIn(t, dir, "commit", "-q", "-m", "one")
	config := "[filter \"a=b\"]\n\tclean = \"touch " + ran + "; cat\"\n"
	f, err := os.OpenFile(filepath.Join(dir, ".git", "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(config); err != nil {
		t.Fatal(err)
	}
	f.Close()
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "a"), later, later); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Getenv: os.Getenv}).State(t.Context(), dir, newest); !errdefs.IsUnsupported(err) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(ran); !errors.Is(err, os.ErrNotExist) {
		t.Error("a program was run")
	}
	gitIn(t, dir, "status", "--porcelain")
	if _, err := os.Stat(ran); err != nil {
		t.Error("git status did not run it either, so this tests nothing")
	}
}
