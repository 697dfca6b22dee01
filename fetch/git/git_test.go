package git_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch/git"
)

func TestRefs(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	r := newRepo(t, filepath.Join(top, "r.git"))
	first := r.commit(map[string]string{"v": "1", "sub/x": "x", "sub/deep/y": "y", "link": "-> v", "dirlink": "-> sub"})
	r.git("tag", "light")
	r.git("tag", "-a", "-m", "m", "heavy")
	heavy := r.git("rev-parse", "heavy")
	os.Chmod(filepath.Join(r.dir, "v"), 0o755)
	second := r.commit(nil)
	r.git("checkout", "-q", "-b", "feat/x")
	third := r.commit(map[string]string{"v": "3"})
	r.git("branch", "light", third) // as the tag
	r.git("checkout", "-q", "main")
	u := server(t, top, "") + "/r.git"
	for _, base := range []string{u, "file://" + r.dir} {
		one := map[string]string{"v": "1", "sub/x": "x", "sub/deep/y": "y", "link": "-> v", "dirlink": "-> sub"}
		two := map[string]string{"v": "1!", "sub/x": "x", "sub/deep/y": "y", "link": "-> v", "dirlink": "-> sub"}
		for _, c := range []struct {
			frag, commit, tag, ref string
			want                   map[string]string
		}{
			{"", second, "", "refs/heads/main", two},
			{"#main", second, "", "refs/heads/main", two},
			{"#refs/heads/main", second, "", "refs/heads/main", two},
			{"#heads/main", second, "", "refs/heads/main", two},
			{"#heavy", first, heavy, "refs/tags/heavy", one},
			{"#refs/tags/light", first, "", "refs/tags/light", one},
			{"#light", third, "", "refs/heads/light", nil},
			{"#feat/x:sub", third, "", "refs/heads/feat/x", map[string]string{"x": "x", "deep/y": "y"}},
			{"#" + first, first, "", "", one},
			{"#" + heavy, heavy, "", "", one},
			{"#main:sub/deep", second, "", "refs/heads/main", map[string]string{"y": "y"}},
		} {
			if strings.HasPrefix(base, "file") && c.want == nil {
				continue
			}
			cl, dir := newClient(t, git.Options{})
			files, commit, err := get(t, cl, parse(t, base+c.frag), filepath.Join(dir, "dest"))
			if err != nil {
				t.Errorf("%s%s: %v", base, c.frag, err)
				continue
			}
			if commit.ID != c.commit || commit.Tag != c.tag || commit.Ref != c.ref {
				t.Errorf("%s: %+v, want %s %s %s", c.frag, commit, c.commit, c.tag, c.ref)
			}
			if c.want != nil {
				same(t, files, c.want)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	top := t.TempDir()
	r := newRepo(t, filepath.Join(top, "r.git"))
	first := r.commit(map[string]string{"v": "1", "sub/x": "x", "link": "-> sub"})
	r.git("tag", "-a", "-m", "m", "heavy")
	newRepo(t, filepath.Join(top, "empty.git"))
	base := server(t, top, "")
	zero := strings.Repeat("0", 40)
	for _, c := range []struct {
		src  string
		is   func(error) bool
		text string
	}{
		{"/r.git#none", errdefs.IsNotFound, `no branch or tag "none"`},
		{"/r.git#" + first[:7], errdefs.IsNotFound, "all of its digits"},
		{"/r.git#" + zero, errdefs.IsNotFound, "no commit " + zero},
		{"/empty.git", errdefs.IsNotFound, "no default branch"},
		{"/none.git", errdefs.IsNotFound, "not found"},
		{"/r.git#main:none", errdefs.IsNotFound, "none is not there"},
		{"/r.git#main:v", errdefs.IsInvalid, "v is not a directory"},
		{"/r.git#main:link", errdefs.IsInvalid, "link is not a directory"},
		{"/r.git?commit=ffff#main", errdefs.IsConflict, "not ffff"},
		{"/r.git?ref=main&fetch-by-commit=1&commit=" + zero, errdefs.IsNotFound, "no commit"},
	} {
		cl, dir := newClient(t, git.Options{})
		_, _, err := get(t, cl, parse(t, base+c.src), filepath.Join(dir, "dest"))
		if !c.is(err) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", c.src, err, c.text)
		}
	}
	for _, ok := range []string{"/r.git?commit=" + first[:9] + "#main", "/r.git?commit=" + first + "#heavy", "/r.git?ref=x&fetch-by-commit=1&commit=" + first} {
		cl, dir := newClient(t, git.Options{})
		if _, _, err := get(t, cl, parse(t, base+ok), filepath.Join(dir, "dest")); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	cl, _ := newClient(t, git.Options{})
	if _, err := cl.Resolve(t.Context(), parse(t, base+"/r.git")); !errdefs.IsUnsupported(err) || !strings.Contains(err.Error(), "install the package git") {
		t.Errorf("without git: %v", err)
	}
}

// TestCache: a commit comes once, and a branch that moved is seen.
func TestCache(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	r := newRepo(t, filepath.Join(top, "r.git"))
	r.commit(map[string]string{"v": "1"})
	base := server(t, top, "")
	cl, dir := newClient(t, git.Options{})
	_, commit, err := get(t, cl, parse(t, base+"/r.git"), filepath.Join(dir, "1"))
	if err != nil {
		t.Fatal(err)
	}
	r.git("checkout", "-q", "--orphan", "other")
	r.commit(map[string]string{"v": "2"})
	r.git("branch", "-f", "main", "other")
	files, _, err := get(t, cl, parse(t, base+"/r.git#main"), filepath.Join(dir, "2"))
	if err != nil || files["v"] != "2" {
		t.Errorf("a branch that was moved: %v, %v", files, err)
	}
	if err := os.RemoveAll(r.dir); err != nil {
		t.Fatal(err)
	}
	files, _, err = get(t, cl, parse(t, base+"/r.git#"+commit.ID), filepath.Join(dir, "3"))
	if err != nil || files["v"] != "1" {
		t.Errorf("a commit of the cache: %v, %v", files, err)
	}
}

func TestSubmodules(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	base := server(t, top, "")
	inner := newRepo(t, filepath.Join(top, "inner.git"))
	inner.commit(map[string]string{"i": "i"})
	mid := newRepo(t, filepath.Join(top, "mid.git"))
	mid.commit(map[string]string{"m": "m"})
	mid.git("-c", "protocol.allow=always", "submodule", "--quiet", "add", base+"/inner.git", "inner")
	mid.git("config", "-f", ".gitmodules", "submodule.inner.url", "../inner.git")
	mid.commit(nil)
	outer := newRepo(t, filepath.Join(top, "outer.git"))
	outer.commit(map[string]string{"o": "o"})
	outer.git("submodule", "--quiet", "add", "--name", "a name", base+"/mid.git", "dir/mid")
	outer.git("submodule", "--quiet", "add", base+"/inner.git", "unwanted")
	outer.git("config", "-f", ".gitmodules", "submodule.unwanted.update", "none")
	outer.commit(nil)
	cl, dir := newClient(t, git.Options{})
	files, _, err := get(t, cl, parse(t, base+"/outer.git"), filepath.Join(dir, "1"))
	if err != nil {
		t.Fatal(err)
	}
	delete(files, ".gitmodules")
	delete(files, "dir/mid/.gitmodules")
	same(t, files, map[string]string{"o": "o", "dir/mid/m": "m", "dir/mid/inner/i": "i"})
	files, _, err = get(t, cl, parse(t, base+"/outer.git#:dir/mid/inner"), filepath.Join(dir, "2"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, files, map[string]string{"i": "i"})
	files, _, err = get(t, cl, parse(t, base+"/outer.git?submodules=false"), filepath.Join(dir, "3"))
	if err != nil {
		t.Fatal(err)
	}
	delete(files, ".gitmodules")
	same(t, files, map[string]string{"o": "o"})
}

// TestHostileModules: what a repository says of others never reaches this machine's.
func TestHostileModules(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	base := server(t, top, "")
	secret := newRepo(t, filepath.Join(top, "secret"))
	id := secret.commit(map[string]string{"s": "secret"})
	mark := filepath.Join(top, "mark")
	for name, c := range map[string]struct {
		modules string
		is      func(error) bool
	}{
		"path":     {"[submodule \"a\"]\npath = a\nurl = " + secret.dir, errdefs.IsPermission},
		"file":     {"[submodule \"a\"]\npath = a\nurl = file://" + secret.dir, errdefs.IsPermission},
		"relative": {"[submodule \"a\"]\npath = a\nurl = ../../../../../../../../.." + secret.dir, nil},
		"ext":      {"[submodule \"a\"]\npath = a\nurl = ext::sh -c touch% " + mark, nil},
		"option":   {"[submodule \"a\"]\npath = a\nurl = --upload-pack=touch " + mark, errdefs.IsInvalid},
		"ssh":      {"[submodule \"a\"]\npath = a\nurl = ssh://-oProxyCommand=touch%20" + mark + "/x", errdefs.IsInvalid},
		"ssh user": {"[submodule \"a\"]\npath = a\nurl = ssh://x@-oProxyCommand=touch/x", errdefs.IsInvalid},
		"update":   {"[submodule \"a\"]\npath = a\nurl = " + base + "/secret2.git\nupdate = !touch " + mark, nil},
		"include":  {"[include]\npath = " + mark, errdefs.IsInvalid},
		"none":     {"", errdefs.IsInvalid},
		"no url":   {"[submodule \"a\"]\npath = a", errdefs.IsInvalid},
		"newline":  {"[submodule \"a\"]\npath = a\nurl = \"https://example.com/\\n--x\"", errdefs.IsInvalid},
		"broken":   {"[submodule", errdefs.IsInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t, filepath.Join(top, strings.ReplaceAll(name, " ", "")+".git"))
			r.commit(map[string]string{".gitmodules": c.modules})
			r.git("update-index", "--add", "--cacheinfo", "160000,"+id+",a")
			r.git("commit", "-q", "-m", "m")
			cl, dir := newClient(t, git.Options{})
			_, _, err := get(t, cl, parse(t, base+"/"+filepath.Base(r.dir)), filepath.Join(dir, "dest"))
			if err == nil || c.is != nil && !c.is(err) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
				t.Error("a command was run")
			}
		})
	}
}

// TestHostileTree: names and links of a commit do not lead out, filters and hooks are not run.
func TestHostileTree(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	r := newRepo(t, filepath.Join(top, "r.git"))
	r.commit(map[string]string{".gitattributes": "* filter=lfs diff=x merge=y\n", "a b\nc\"'$(x)": "odd", "-rf": "dash", "out": "-> ../../../../etc", "v": "v"})
	cl, dir := newClient(t, git.Options{})
	files, _, err := get(t, cl, parse(t, server(t, top, "")+"/r.git"), filepath.Join(dir, "dest"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, files, map[string]string{".gitattributes": "* filter=lfs diff=x merge=y\n", "a b\nc\"'$(x)": "odd", "-rf": "dash", "out": "-> ../../../../etc", "v": "v"})
	for _, name := range []string{".git/config", "../x", ".GIT/x", "a/../../x", ".git"} {
		blob := r.git("hash-object", "-w", "v")
		cmd := exec.Command("git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
		cmd.Dir = r.dir
		raw := append([]byte("100644 "+name+"\x00"), unhex(blob)...)
		cmd.Stdin = strings.NewReader(string(raw))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		c := r.git("commit-tree", "-m", "m", strings.TrimSpace(string(out)))
		r.git("branch", "-f", "bad", c)
		cl, dir := newClient(t, git.Options{})
		if _, _, err := get(t, cl, parse(t, "file://"+r.dir+"#bad"), filepath.Join(dir, "dest")); err == nil {
			t.Errorf("a tree with %q was checked out", name)
		}
		if _, err := os.Lstat(filepath.Join(dir, "x")); err == nil {
			t.Errorf("%q left the directory", name)
		}
	}
}

var fixed = time.Unix(1, 0)

func unhex(s string) []byte {
	b := make([]byte, len(s)/2)
	for i := range b {
		for _, c := range s[2*i : 2*i+2] {
			b[i] <<= 4
			if c <= '9' {
				b[i] |= byte(c - '0')
			} else {
				b[i] |= byte(c-'a') + 10
			}
		}
	}
	return b
}

func TestKeepGitDir(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	r := newRepo(t, filepath.Join(top, "r.git"))
	r.commit(map[string]string{"v": "0"})
	first := r.commit(map[string]string{"v": "1", "sub/x": "x"})
	r.git("tag", "-a", "-m", "m", "v1")
	base := server(t, top, "")
	var digests []string
	for _, src := range []string{"/r.git?keep-git-dir=1#v1", "/r.git?keep-git-dir=1#v1", "/r.git?keep-git-dir=1#main"} {
		cl, dir := newClient(t, git.Options{})
		dest := filepath.Join(dir, "dest")
		files, _, err := get(t, cl, parse(t, base+src), dest)
		if err != nil {
			t.Fatal(err)
		}
		same(t, files, map[string]string{"v": "1", "sub/x": "x", ".git": "directory"})
		got := &repo{t, dest}
		if s := got.git("rev-parse", "HEAD"); s != first {
			t.Errorf("HEAD is %s, want %s", s, first)
		}
		if s := got.git("status", "--porcelain"); s != "" {
			t.Errorf("status: %s", s)
		}
		if s := got.git("fsck", "--full"); strings.Contains(s, "error") {
			t.Errorf("fsck: %s", s)
		}
		if s := got.git("remote", "get-url", "origin"); s != base+"/r.git" {
			t.Errorf("origin is %s", s)
		}
		if strings.HasSuffix(src, "v1") {
			if s := got.git("describe"); s != "v1" {
				t.Errorf("describe: %s", s)
			}
			os.Chtimes(filepath.Join(dest, "v"), fixed, fixed)
		}
		// git's own commands above rewrote the index.
		again := filepath.Join(dir, "again")
		if _, _, err := get(t, cl, parse(t, base+src), again); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-C", again, "-cf", "-", ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, string(out))
	}
	if digests[0] != digests[1] {
		t.Error("two checkouts differ")
	}
	cl, dir := newClient(t, git.Options{})
	files, _, err := get(t, cl, parse(t, base+"/r.git?keep-git-dir=1#main:sub"), filepath.Join(dir, "dest"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, files, map[string]string{"x": "x"})
}

// TestAuth: a token reaches the server, and nothing else.
func TestAuth(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	newRepo(t, filepath.Join(top, "r.git")).commit(map[string]string{"v": "1"})
	const basic = "Basic eC1hY2Nlc3MtdG9rZW46czNjcjN0" // x-access-token:s3cr3t
	base := server(t, top, basic)
	host := strings.TrimPrefix(base, "http://")
	for name, secrets := range map[string]map[string]string{
		"token":       {"GIT_AUTH_TOKEN": "s3cr3t\n"},
		"header":      {"GIT_AUTH_HEADER": basic},
		"host token":  {"GIT_AUTH_TOKEN": "wrong", "GIT_AUTH_TOKEN." + host: "s3cr3t"},
		"host header": {"GIT_AUTH_HEADER": "wrong", "GIT_AUTH_HEADER." + host: basic},
	} {
		cl, dir := newClient(t, git.Options{Secret: func(_ context.Context, id string) ([]byte, bool, error) {
			s, ok := secrets[id]
			return []byte(s), ok, nil
		}})
		if _, _, err := get(t, cl, parse(t, base+"/r.git"), filepath.Join(dir, "dest")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if data, err := os.ReadFile(p); err == nil && (strings.Contains(string(data), "s3cr3t") || strings.Contains(string(data), "eC1hY2")) {
				t.Errorf("%s: %s holds the token", name, p)
			}
			return nil
		})
	}
	cl, dir := newClient(t, git.Options{})
	if _, _, err := get(t, cl, parse(t, strings.Replace(base, "://", "://x-access-token:s3cr3t@", 1)+"/r.git"), filepath.Join(dir, "dest")); err != nil {
		t.Errorf("in the URL: %v", err)
	}
	_, _, err := get(t, cl, parse(t, base+"/r.git"), filepath.Join(dir, "none"))
	if !errdefs.IsPermission(err) || !strings.Contains(err.Error(), "--secret id=GIT_AUTH_TOKEN") {
		t.Errorf("without a token: %v", err)
	}
	_, _, err = get(t, cl, parse(t, strings.Replace(base, "://", "://me:wr0ng@", 1)+"/r.git"), filepath.Join(dir, "none"))
	if !errdefs.IsPermission(err) || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("with a wrong password: %v", err)
	}
}

// TestSecretHidden looks at the process of git while it runs.
func TestSecretHidden(t *testing.T) {
	bin := t.TempDir()
	seen := filepath.Join(bin, "seen")
	script := "#!/bin/sh\ncat /proc/$$/cmdline /proc/$$/environ > " + seen + "\nset > /dev/null\ncat /proc/self/fd/3 > " + seen + ".config\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	cl, _ := newClient(t, git.Options{Secret: func(context.Context, string) ([]byte, bool, error) { return []byte("s3cr3t"), true, nil }})
	if _, err := cl.Resolve(t.Context(), parse(t, "https://example.com/r.git")); err == nil {
		t.Fatal("no error")
	}
	data, err := os.ReadFile(seen)
	if err != nil || strings.Contains(string(data), "s3cr3t") || !strings.Contains(string(data), "ls-remote") {
		t.Errorf("the process shows %q, %v", data, err)
	}
	if data, err := os.ReadFile(seen + ".config"); err != nil || !strings.Contains(string(data), "s3cr3t") {
		t.Errorf("git was told %q, %v", data, err)
	}
}

func TestSSH(t *testing.T) {
	bin := t.TempDir()
	seen := filepath.Join(bin, "seen")
	script := "#!/bin/sh\necho \"$SSH_AUTH_SOCK\" \"$@\" > " + seen + "\necho 'Permission denied (publickey).' >&2\nexit 255\n"
	if err := os.WriteFile(filepath.Join(bin, "ssh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	cl, _ := newClient(t, git.Options{AuthSock: func(context.Context) (string, error) { return "/run/agent", nil }})
	for _, src := range []string{"ssh://git@example.com:2222/r.git", "git@example.com:a/r.git#x"} {
		_, err := cl.Resolve(t.Context(), parse(t, src))
		if !errdefs.IsPermission(err) || !strings.Contains(err.Error(), "--ssh default") {
			t.Errorf("%s: %v", src, err)
		}
		data, _ := os.ReadFile(seen)
		if !strings.HasPrefix(string(data), "/run/agent -F /dev/null -o BatchMode=yes") || !strings.Contains(string(data), "git@example.com") {
			t.Errorf("ssh got %q", data)
		}
	}
}

func TestCanceled(t *testing.T) {
	stuck := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-stuck:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(stuck)
	cl, _ := newClient(t, git.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := cl.Resolve(ctx, parse(t, s.URL+"/r.git")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
