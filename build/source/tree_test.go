package source

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/moby/patternmatcher"
	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// files makes a directory; contents that begin with "-> " are links, names that end with "/" directories.
func files(t testing.TB, entries map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range entries {
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch target, isLink := strings.CutPrefix(data, "-> "); {
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(p, 0o755))
		case isLink:
			must(t, os.Symlink(target, p))
		default:
			must(t, os.WriteFile(p, []byte(data), 0o644))
		}
	}
	return dir
}

func open(t testing.TB, dir string, opts Options) *Tree {
	t.Helper()
	tr, err := Open(dir, opts)
	must(t, err)
	t.Cleanup(func() { tr.Close() })
	return tr
}

// paths lists what a pattern means, all below directories too.
func paths(t testing.TB, tr *Tree, pattern string) []string {
	t.Helper()
	ms, err := tr.Match(t.Context(), pattern)
	must(t, err)
	var out []string
	for _, m := range ms {
		must(t, tr.Walk(t.Context(), m, func(rel string, e *Entry) error {
			out = append(out, path.Join(m.Path, rel))
			return nil
		}))
	}
	return out
}

func TestMatch(t *testing.T) {
	dir := files(t, map[string]string{
		"a.txt": "", "b.txt": "", "d/e/f.txt": "", "d/g.txt": "", "l": "-> d", "up": "-> ../../../d/g.txt",
		"loop": "-> loop", "gone": "-> nothing", "x*y": "", "d/back": "-> ../a.txt", "abs": "-> /d",
	})
	tr := open(t, dir, Options{})
	for pattern, want := range map[string]string{
		"a.txt":         "a.txt",
		"/a.txt":        "a.txt",
		"../../a.txt":   "a.txt",
		"./d/../b.txt":  "b.txt",
		"*.txt":         "a.txt b.txt",
		"[a-b].tx?":     "a.txt b.txt",
		"d/*/f.txt":     "d/e/f.txt",
		"d":             "d d/back d/e d/e/f.txt d/g.txt",
		"l/e":           "d/e d/e/f.txt",
		"l/*.txt":       "d/g.txt",
		"up":            "d/g.txt",
		"abs/g.txt":     "d/g.txt",
		"d/back":        "a.txt",
		"*none*":        "",
		"a.txt/*":       "",
		`x\*y*`:         "x*y",
		"d/e/../g.*":    "d/g.txt",
		"l/../a.txt":    "a.txt",
		"*/g.txt":       "d/g.txt",
		"d/e/f.txt/../": "d/e d/e/f.txt",
	} {
		if got := strings.Join(paths(t, tr, pattern), " "); got != want {
			t.Errorf("%s: got %q, want %q", pattern, got, want)
		}
	}
	for pattern, is := range map[string]func(error) bool{
		"nothing": errdefs.IsNotFound, "gone": errdefs.IsNotFound, "a.txt/x": errdefs.IsNotFound, "d/e/x": errdefs.IsNotFound,
		"loop": errdefs.IsInvalid, "[": errdefs.IsInvalid,
	} {
		if _, err := tr.Match(t.Context(), pattern); !is(err) {
			t.Errorf("%s: got %v", pattern, err)
		}
	}
}

// TestHostile: what is not a plain file neither blocks nor leads out.
func TestHostile(t *testing.T) {
	outside := files(t, map[string]string{"secret": "s"})
	dir := files(t, map[string]string{
		"out": "-> " + outside, "out2": "-> " + outside + "/secret", "rel": "-> ../../../../../../../.." + outside,
		"bad\xff\xfename": "x", "new\nline": "y", "-rf": "z",
	})
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	l, err := net.Listen("unix", filepath.Join(dir, "sock"))
	must(t, err)
	defer l.Close()
	tr := open(t, dir, Options{})
	ms, err := tr.Match(t.Context(), ".")
	must(t, err)
	if _, err := tr.Digest(t.Context(), ms); err != nil {
		t.Errorf("digest: %v", err)
	}
	for _, p := range []string{"out", "out2", "rel", "rel/secret", "out/secret"} {
		if _, err := tr.Match(t.Context(), p); !errdefs.IsNotFound(err) {
			t.Errorf("%s: got %v", p, err)
		}
	}
	fifo, err := tr.Lstat("fifo")
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if f, err := tr.File("fifo", &fifo); err == nil {
			f.Close() // opened without blocking is well, too
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("opening a FIFO blocks")
	}
}

// TestSwapped: a file that becomes a link, or another file, between the look and the read.
func TestSwapped(t *testing.T) {
	dir := files(t, map[string]string{"f": "one", "d/f": "one", "g": "one"})
	outside := files(t, map[string]string{"f": "secret"})
	tr := open(t, dir, Options{})
	ms, err := tr.Match(t.Context(), ".")
	must(t, err)
	look := func(name string) *Entry {
		var found *Entry
		must(t, tr.Walk(t.Context(), ms[0], func(rel string, e *Entry) error {
			if rel == name {
				found = e
			}
			return nil
		}))
		return found
	}
	f, df, g := look("f"), look("d/f"), look("g")
	must(t, os.Remove(filepath.Join(dir, "f")))
	must(t, os.Symlink(filepath.Join(outside, "f"), filepath.Join(dir, "f")))
	if _, err := tr.File("f", f); err == nil {
		t.Error("a link was followed")
	}
	must(t, os.RemoveAll(filepath.Join(dir, "d")))
	must(t, os.Symlink(outside, filepath.Join(dir, "d")))
	if _, err := tr.File("d/f", df); err == nil {
		t.Error("a link in the way was followed")
	}
	must(t, os.WriteFile(filepath.Join(dir, "g"), []byte("longer"), 0o644))
	if _, err := tr.File("g", g); !errdefs.IsConflict(err) {
		t.Errorf("a changed file: got %v", err)
	}
	if _, err := tr.Digest(t.Context(), ms); err == nil {
		t.Error("the digest of a tree that changed")
	}
}

func TestOpenSteps(t *testing.T) {
	dir := files(t, map[string]string{"a/b/c": "", "a/l": "-> b", "top": ""})
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(root)
	for _, open := range []func(int, string, int) (int, error){openBeneath, openSteps} {
		for name, want := range map[string]error{"a/b/c": nil, "top": nil, "a/l/c": unix.ENOTDIR, "a/../top": unix.EXDEV, "nope": unix.ENOENT, "a/b/c/d": unix.ENOTDIR} {
			fd, err := open(root, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
			if err == nil {
				unix.Close(fd)
			}
			if (err == nil) != (want == nil) && !(name == "a/../top" && err == nil) {
				t.Errorf("%s: got %v, want %v", name, err, want)
			}
		}
	}
}

func TestDigestSeesContent(t *testing.T) {
	base := map[string]string{"a": "1", "d/b": "2", "l": "-> a", "e/": ""}
	digestOf := func(entries map[string]string, change func(dir string)) string {
		dir := files(t, entries)
		if change != nil {
			change(dir)
		}
		tr := open(t, dir, Options{})
		ms, err := tr.Match(t.Context(), ".")
		must(t, err)
		d, err := tr.Digest(t.Context(), ms)
		must(t, err)
		return d.String()
	}
	with := func(k, v string) map[string]string {
		m := map[string]string{}
		for a, b := range base {
			m[a] = b
		}
		if v == "gone" {
			delete(m, k)
		} else {
			m[k] = v
		}
		return m
	}
	want := digestOf(base, nil)
	if got := digestOf(base, func(dir string) {
		must(t, os.Chtimes(filepath.Join(dir, "a"), time.Unix(1, 0), time.Unix(1, 0)))
		if os.Geteuid() == 0 {
			must(t, os.Chown(filepath.Join(dir, "a"), 5, 5))
		}
	}); got != want {
		t.Error("time or owner change the digest")
	}
	for name, got := range map[string]string{
		"content": digestOf(with("a", "3"), nil), "name": digestOf(with("c", "1"), nil), "gone": digestOf(with("a", "gone"), nil),
		"link": digestOf(with("l", "-> b"), nil), "link to file": digestOf(with("l", "a"), nil), "dir": digestOf(with("e/", "gone"), nil),
		"mode": digestOf(base, func(dir string) { must(t, os.Chmod(filepath.Join(dir, "a"), 0o755)) }),
	} {
		if got == want {
			t.Errorf("a change of %s does not change the digest", name)
		}
	}
}

// TestIgnoreIsExact compares the walk, which skips directories, with the patterns applied to
// each file by itself.
func TestIgnoreIsExact(t *testing.T) {
	entries := map[string]string{}
	for _, d := range []string{"", "a/", "a/b/", "a/b/c/", "docs/", "docs/x/", ".git/", "node_modules/m/", "src/node_modules/"} {
		for _, f := range []string{"f.go", "f.md", "README.md", ".hidden", "keep"} {
			entries[d+f] = ""
		}
	}
	dir := files(t, entries)
	for _, patterns := range [][]string{
		{"*.md"}, {"**/*.md"}, {"**/*.md", "!README.md"}, {"**/*.md", "!**/README.md"}, {"a"}, {"a/*", "!a/b"}, {"*", "!a/b/c"},
		{"*", "!**/keep"}, {"**", "!docs/x/f.go"}, {"a/b", "!a/b/keep", "a/b/c"}, {".git", "**/node_modules"}, {"!a"}, {"docs", "!docs/*.md"},
		{"*", "!src", "src/node_modules"}, {"a/**/f.go"}, {"/a/b/"}, {"**/.*"}, {"?"}, {"[a-d]*", "!docs/x"}, {"**/b", "!a/b/c/f.md"},
	} {
		tr := open(t, dir, Options{Ignore: Ignore{Patterns: patterns}})
		var got []string
		ms, err := tr.Match(t.Context(), ".")
		must(t, err)
		must(t, tr.Walk(t.Context(), ms[0], func(rel string, e *Entry) error {
			if !e.IsDir() {
				got = append(got, rel)
			}
			return nil
		}))
		var want []string
		pm, err := patternmatcher.New(patterns)
		must(t, err)
		for name := range entries {
			out, err := pm.MatchesOrParentMatches(name)
			must(t, err)
			if !out {
				want = append(want, name)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q:\n got %q\nwant %q", patterns, got, want)
		}
		for name := range entries { // and each file asked for by itself
			_, err := tr.Match(t.Context(), name)
			if in := err == nil; in != slices.Contains(want, name) {
				t.Errorf("%q: %s: got %v", patterns, name, err)
			}
		}
	}
}

func TestIgnoreFile(t *testing.T) {
	dir := files(t, map[string]string{".dockerignore": "# c\n\na\n!b\n", "Other.dockerignore": "z\n", "bad/.dockerignore": "[\n", "neg/.dockerignore": "!\n"})
	for dockerfile, want := range map[string][]string{"": {"a", "!b"}, filepath.Join(dir, "Dockerfile"): {"a", "!b"}, filepath.Join(dir, "Other"): {"z"}} {
		got, err := IgnoreFile(dir, dockerfile)
		if err != nil || !slices.Equal(got.Patterns, want) {
			t.Errorf("%q: got %v, %v, want %q", dockerfile, got, err, want)
		}
	}
	for _, d := range []string{"bad", "neg"} {
		if _, err := IgnoreFile(filepath.Join(dir, d), ""); !errdefs.IsInvalid(err) {
			t.Errorf("%s: got %v", d, err)
		}
	}
	if got, err := IgnoreFile(t.TempDir(), ""); err != nil || got.Patterns != nil {
		t.Errorf("no file: got %v, %v", got, err)
	}
}

func TestDeepTree(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	for range 3000 { // deeper than a path can name
		must(t, unix.Mkdirat(fd, "dd", 0o755))
		next, err := unix.Openat(fd, "dd", unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	tr := open(t, dir, Options{})
	if _, err := tr.Match(t.Context(), "."); !errdefs.IsInvalid(err) {
		t.Errorf("got %v", err)
	}
}

func TestReadSmall(t *testing.T) {
	dir := files(t, map[string]string{"etc/passwd": "-> /real", "real": "root\n", "big": strings.Repeat("x", 100), "d/": ""})
	tr := open(t, dir, Options{})
	if got, err := tr.ReadSmall(t.Context(), "/etc/passwd", 10); err != nil || string(got) != "root\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := tr.ReadSmall(t.Context(), "big", 10); !errdefs.IsLimit(err) {
		t.Errorf("too big: %v", err)
	}
	if _, err := tr.ReadSmall(t.Context(), "d", 10); !errdefs.IsInvalid(err) {
		t.Errorf("a directory: %v", err)
	}
}

func TestMissingTree(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "no"), Options{}); !errdefs.IsNotFound(err) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkWalk(b *testing.B) {
	dir := b.TempDir()
	for i := range 100 {
		d := filepath.Join(dir, fmt.Sprint("d", i))
		must(b, os.Mkdir(d, 0o755))
		for j := range 100 {
			must(b, os.WriteFile(filepath.Join(d, fmt.Sprint("f", j)), nil, 0o644))
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		tr, err := Open(dir, Options{})
		must(b, err)
		_, err = tr.Match(b.Context(), ".")
		must(b, err)
		tr.Close()
	}
}
