package git

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
)

// gitIn runs git, which the tests of this package need, in a directory.
func gitIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestWorkTree asks git what it thinks of the same.
func TestWorkTree(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not here")
	}
	dir := t.TempDir()
	gitIn(t, dir, "init", "-q", "-b", "main")
	if _, err := WorkTree(dir); !errdefs.IsNotFound(err) {
		t.Errorf("a repository without a commit: %v", err)
	}
	gitIn(t, dir, "commit", "-q", "--allow-empty", "-m", "one")
	gitIn(t, dir, "remote", "add", "origin", "https://me:secret@example.com/app.git")
	sub := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	check := func(what, dir, ref string) {
		t.Helper()
		h, err := WorkTree(dir)
		want := Head{Commit: gitIn(t, dir, "rev-parse", "HEAD"), Ref: ref, Remote: "https://me:secret@example.com/app.git"}
		if err != nil || h != want {
			t.Errorf("%s: %+v, %v, want %+v", what, h, err, want)
		}
	}
	check("a branch", dir, "refs/heads/main")
	check("a directory in it", sub, "refs/heads/main")
	gitIn(t, dir, "pack-refs", "--all")
	check("packed", dir, "refs/heads/main")
	gitIn(t, dir, "commit", "-q", "--allow-empty", "-m", "two")
	check("newer than what is packed", dir, "refs/heads/main")
	tree := filepath.Join(t.TempDir(), "beside")
	gitIn(t, dir, "worktree", "add", "-q", "-b", "other", tree)
	gitIn(t, tree, "commit", "-q", "--allow-empty", "-m", "three")
	check("a work tree beside it", tree, "refs/heads/other")
	gitIn(t, dir, "checkout", "-q", "--detach")
	check("no branch", dir, "")
	check("the repository itself", filepath.Join(dir, ".git"), "")
	if _, err := WorkTree(t.TempDir()); !errdefs.IsNotFound(err) {
		t.Errorf("no repository: %v", err)
	}
}

// TestWorkTreeHostile: none of these leads anywhere.
func TestWorkTreeHostile(t *testing.T) {
	const commit = "1111111111111111111111111111111111111111"
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(commit+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, files := range map[string]map[string]string{
		"a ref outside":        {".git/HEAD": "ref: refs/../../secret"},
		"a path":               {".git/HEAD": "ref: /etc/passwd"},
		"a link as HEAD":       {".git/HEAD": "-> " + secret},
		"a link as ref":        {".git/HEAD": "ref: refs/heads/main", ".git/refs/heads/main": "-> " + secret},
		"a ring":               {".git/HEAD": "ref: refs/heads/a", ".git/refs/heads/a": "ref: refs/heads/b", ".git/refs/heads/b": "ref: refs/heads/a"},
		"a huge HEAD":          {".git/HEAD": commit + "\n" + strings.Repeat("x", maxGitFile)},
		"a link without end":   {".git": "gitdir: .git"},
		"no address":           {".git": "gitdir:" + secret},
		"refs of another kind": {".git/HEAD": "ref: refs/heads/.invalid"},
	} {
		dir := t.TempDir()
		for name, text := range files {
			p := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			var err error
			if target, isLink := strings.CutPrefix(text, "-> "); isLink {
				err = os.Symlink(target, p)
			} else {
				err = os.WriteFile(p, []byte(text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if h, err := WorkTree(dir); !errdefs.IsNotFound(err) {
			t.Errorf("%s: %+v, %v", what, h, err)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	dir := t.TempDir()
	for _, err := range []error{os.Mkdir(filepath.Join(dir, ".git"), 0o755), os.WriteFile(filepath.Join(dir, ".git/HEAD"), []byte(commit), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if h, err := WorkTree(dir); err != nil || h.Commit != commit {
		t.Errorf("%+v, %v", h, err)
	}
	if err := os.Chown(filepath.Join(dir, ".git"), 7, 7); err != nil {
		t.Fatal(err)
	}
	if h, err := WorkTree(dir); !errdefs.IsNotFound(err) {
		t.Errorf("somebody else's repository: %+v, %v", h, err)
	}
}

func TestOriginOf(t *testing.T) {
	for text, want := range map[string]string{
		"[remote \"origin\"]\n\turl = https://h/p\n":                            "https://h/p",
		"[core]\n\turl = x\n[Remote \"origin\"]\n\tfetch = +a:b\n\tURL=\"y\"\n": "y",
		"[remote \"other\"]\n\turl = x\n":                                       "",
		"[remote \"origin\"]\n\turl = a b\n":                                    "",
		"[remote \"origin\"]\n\turl = a\\nb\n":                                  "",
		"[remote \"origin\"\nurl":                                               "",
	} {
		if got := originOf([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzWorkTree(f *testing.F) {
	f.Add([]byte("ref: refs/heads/main\n"), []byte("[remote \"origin\"]\n\turl = https://h/p\n"), "1111111111111111111111111111111111111111 refs/heads/main\n")
	f.Add([]byte("2222222222222222222222222222222222222222"), []byte("[remote"), "# pack-refs with: peeled\n^1\n")
	f.Fuzz(func(t *testing.T, head, config []byte, packed string) {
		commit, ref, err := parseHead(head)
		if err == nil && (commit == "") == (ref == "") {
			t.Errorf("%q is %q and %q", head, commit, ref)
		}
		if commit != "" && !fetch.IsCommit(commit) {
			t.Errorf("commit %q", commit)
		}
		if ref != "" && (strings.Contains(ref, "..") || !strings.HasPrefix(ref, "refs/")) {
			t.Errorf("ref %q", ref)
		}
		if url := originOf(config); strings.ContainsAny(url, "\" \t\n") {
			t.Errorf("url %q", url)
		}
		if id := packedRef(strings.NewReader(packed), "refs/heads/main"); id != "" && !fetch.IsCommit(id) {
			t.Errorf("packed %q", id)
		}
	})
}
