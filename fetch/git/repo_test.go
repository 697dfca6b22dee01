package git_test

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/fetch"
	"github.com/camada/camada/fetch/git"
)

// server serves the repositories in dir over HTTP. auth, when it is not "", has to be the header Authorization.
func server(t *testing.T, dir, auth string) string {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Skip("no git: install git")
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Skip("no git-http-backend: install git")
	}
	h := &cgi.Handler{Path: backend, Dir: dir, Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + dir}, InheritEnv: []string{"PATH"}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if auth != "" && r.Header.Get("Authorization") != auth {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if p := r.Header.Get("Git-Protocol"); p != "" {
			g := *h
			g.Env = append(g.Env[:len(g.Env):len(g.Env)], "GIT_PROTOCOL="+p)
			g.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// repo is a repository that a test makes.
type repo struct {
	t   *testing.T
	dir string
}

func newRepo(t *testing.T, dir string, more ...string) *repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git: install git")
	}
	r := &repo{t, dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.git(append([]string{"init", "-q", "-b", "main"}, more...)...)
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a",
		"GIT_COMMITTER_EMAIL=a@example.com", "GIT_AUTHOR_DATE=1000000000 +0000", "GIT_COMMITTER_DATE=1000000000 +0000", "GIT_ALLOW_PROTOCOL=file:http")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files, commits everything and returns the commit.
func (r *repo) commit(files map[string]string) string {
	r.t.Helper()
	for name, data := range files {
		p := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			r.t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(data, "-> "); ok {
			err = os.Symlink(target, p)
		} else {
			err = os.WriteFile(p, []byte(data), 0o644)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", "x")
	return r.git("rev-parse", "HEAD")
}

func newClient(t *testing.T, o git.Options) (*git.Client, string) {
	t.Helper()
	dir := t.TempDir()
	if o.Dir == "" {
		o.Dir = filepath.Join(dir, "cache")
	}
	if o.Getenv == nil {
		o.Getenv = func(k string) string {
			if k == "PATH" {
				return os.Getenv("PATH")
			}
			return ""
		}
	}
	return git.New(o), dir
}

func parse(t *testing.T, s string) fetch.Git {
	t.Helper()
	if path, ok := strings.CutPrefix(s, "file://"); ok {
		p, frag, _ := strings.Cut(path, "#")
		ref, sub, _ := strings.Cut(frag, ":")
		return fetch.Git{Remote: "file://" + p, Ref: ref, Subdir: sub}
	}
	g, isGit, err := fetch.ParseGit(s)
	if !isGit || err != nil {
		t.Fatalf("%s: %v, %v", s, isGit, err)
	}
	return g
}

// get checks out a source and returns its files: names with content, links with target; "!" marks programs.
func get(t *testing.T, c *git.Client, g fetch.Git, dest string) (map[string]string, fetch.Commit, error) {
	t.Helper()
	commit, err := c.Resolve(t.Context(), g)
	if err != nil {
		return nil, commit, err
	}
	if err := c.Checkout(t.Context(), g, commit, dest); err != nil {
		return nil, commit, err
	}
	files := map[string]string{}
	err = filepath.WalkDir(dest, func(p string, d os.DirEntry, err error) error {
		if err != nil || p == dest {
			return err
		}
		rel, _ := filepath.Rel(dest, p)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			if rel == ".git" {
				files[rel] = "directory"
				return filepath.SkipDir
			}
			if info.Mode().Perm() != 0o755 {
				t.Errorf("%s has mode %v", rel, info.Mode())
			}
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(p)
			files[rel] = "-> " + target
			return err
		default:
			data, err := os.ReadFile(p)
			files[rel] = string(data)
			if info.Mode().Perm() == 0o755 {
				files[rel] += "!"
			} else if info.Mode().Perm() != 0o644 {
				t.Errorf("%s has mode %v", rel, info.Mode())
			}
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, commit, nil
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s is too much", k)
		}
	}
}
