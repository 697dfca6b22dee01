package build_test

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
	"github.com/opencontainers/go-digest"
)

// world is a build.Fetcher that knows a few files and repositories.
type world struct {
	t       *testing.T
	mu      sync.Mutex
	files   map[string]string
	modTime time.Time
	commits map[string]string // of remote#ref
	trees   map[string]string // directory of a commit
	asked   []string
}

func (w *world) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, s)
}

func (w *world) File(_ context.Context, u fetch.URL, p fetch.Progress) (fetch.File, error) {
	w.note("file " + u.URL)
	data, ok := w.files[u.URL]
	if !ok {
		return fetch.File{}, errdefs.NotFound("get %s: 404 Not Found", u.URL)
	}
	f := fetch.File{Path: filepath.Join(w.t.TempDir(), "f"), Digest: digest.FromString(data), Size: int64(len(data)), ModTime: w.modTime}
	if u.Checksum != "" && u.Checksum != f.Digest {
		return fetch.File{}, errdefs.Corrupt("get %s: the content is %s, not %s", u.URL, f.Digest, u.Checksum)
	}
	p(f.Size, f.Size)
	must(w.t, os.WriteFile(f.Path, []byte(data), 0o600))
	return f, os.Chtimes(f.Path, w.modTime, w.modTime)
}

func (w *world) Commit(_ context.Context, g fetch.Git) (fetch.Commit, error) {
	w.note("commit " + g.Remote + "#" + g.Ref)
	id, ok := w.commits[g.Remote+"#"+g.Ref]
	if !ok {
		return fetch.Commit{}, errdefs.NotFound("%s has no ref %q", g.Remote, g.Ref)
	}
	return fetch.Commit{ID: id, Ref: "refs/heads/" + g.Ref}, nil
}

func (w *world) Checkout(_ context.Context, g fetch.Git) (string, error) {
	w.note("checkout " + g.Remote + "#" + g.Ref)
	id := g.Ref
	if !fetch.IsCommit(id) {
		id = w.commits[g.Remote+"#"+g.Ref]
	}
	return w.trees[id], nil
}

const (
	commit1 = "1111111111111111111111111111111111111111"
	commit2 = "2222222222222222222222222222222222222222"
)

func newWorld(t *testing.T, f *fixture) (*world, *build.Builder) {
	w := &world{
		t: t, modTime: time.Unix(1000, 0),
		files: map[string]string{
			"https://example.com/a.txt": "a", "https://mirror.example.com/x/a.txt": "a", "https://me:secret@example.com/p.txt": "p", "https://example.com/": "root",
			"https://example.com/a.tar": tarOf(t, "in/a", "in/b"),
		},
		commits: map[string]string{"https://example.com/r.git#": commit1, "https://example.com/r.git#main": commit1},
		trees:   map[string]string{commit1: tree(t, map[string]string{"x": "x", "d/y": "y", "l": "-> x"}), commit2: tree(t, map[string]string{"z": "z"})},
	}
	return w, build.New(build.Parts{Content: f.store, Snapshots: f.snaps, CacheDir: filepath.Join(f.root, "cache"), Executor: f.exec, Images: f, Fetcher: w})
}

func tarOf(t *testing.T, names ...string) string {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, n := range names {
		must(t, tw.WriteHeader(&tar.Header{Name: n, Mode: 0o640, Uid: 7, Gid: 8, Size: 1, ModTime: time.Unix(5, 0)}))
		_, err := tw.Write([]byte("x"))
		must(t, err)
	}
	must(t, tw.Close())
	return b.String()
}

func TestRemote(t *testing.T) {
	sum := digest.FromString("a").String()
	for _, c := range []struct{ name, add, want string }{
		{"file", "ADD https://example.com/a.txt /", `- 0600 0:0 1000 "a.txt" "a"`},
		{"query", "ADD https://example.com/a.txt /b", `- 0600 0:0 1000 "b" "a"`},
		{"directory", "ADD https://example.com/a.txt /b/", `d 0755 0:0 5000 "b/"
- 0600 0:0 1000 "b/a.txt" "a"`},
		{"no name", "ADD https://example.com/ /b/", `d 0755 0:0 5000 "b/"
- 0600 0:0 1000 "b/__unnamed__" "root"`},
		{"flags", "ADD --chmod=4755 --chown=3:4 https://example.com/a.txt /b", `- 4755 3:4 1000 "b" "a"`},
		{"link", "ADD --link https://example.com/a.txt /b", `- 0600 0:0 1000 "b" "a"`},
		{"checksum", "ADD --checksum=" + sum + " https://example.com/a.txt /b", `- 0600 0:0 5000 "b" "a"`},
		{"variables", "ARG n=a\nADD --checksum=sha256:" + strings.TrimPrefix(sum, "sha256:") + " https://example.com/$n.txt /b", `- 0600 0:0 5000 "b" "a"`},
		{"archive stays", "ADD https://example.com/a.tar /", `- 0600 0:0 1000 "a.tar"`},
		{"archive", "ADD --unpack=true https://example.com/a.tar /d", `d 0755 0:0 5000 "d/"
d 0755 0:0 0 "d/in/"
- 0640 7:8 5 "d/in/a" "x"
- 0640 7:8 5 "d/in/b" "x"`},
		{"unpack of none", "ADD --unpack=true https://example.com/a.txt /d", `- 0600 0:0 1000 "d" "a"`},
		{"git", "ADD https://example.com/r.git /d", `d 0755 0:0 5000 "d/"
d 0755 0:0 5000 "d/d/"
- 0644 0:0 5000 "d/d/y" "y"
2 0777 0:0 5000 "d/l" -> "x"
- 0644 0:0 5000 "d/x" "x"`},
		{"commit", "ADD https://example.com/r.git#" + commit2 + " /d/", `d 0755 0:0 5000 "d/"
- 0644 0:0 5000 "d/z" "z"`},
		{"the last wins", "ADD https://example.com/a.txt local* https://mirror.example.com/x/a.txt b.txt /d/", `d 0755 0:0 5000 "d/"
- 0600 0:0 1000 "d/a.txt" "a"
- 0644 0:0 5000 "d/b.txt" "b"
- 0644 0:0 5000 "d/local.txt" "l"`},
		{"order", "ADD a.txt https://example.com/a.txt /d/", `d 0755 0:0 5000 "d/"
- 0600 0:0 1000 "d/a.txt" "a"`},
		{"other order", "ADD https://example.com/a.txt a.txt /d/", `d 0755 0:0 5000 "d/"
- 0644 0:0 5000 "d/a.txt" "local"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			_, b := newWorld(t, f)
			epoch := time.Unix(5000, 0)
			dir := tree(t, map[string]string{"local.txt": "l", "b.txt": "b", "a.txt": "local"})
			res, err := b.Build(t.Context(), build.Options{Context: dir, Source: []byte("FROM scratch\n" + c.add), SourceDateEpoch: &epoch}, f)
			must(t, err)
			got := strings.TrimSpace(strings.TrimPrefix(f.listing(res, 0), "layer 0\n"))
			if c.name == "archive stays" {
				got = got[:len(c.want)]
			}
			got = strings.ReplaceAll(strings.ReplaceAll(got, "0 0600", "- 0600"), "\n0 ", "\n- ")
			if strings.HasPrefix(got, "0 ") {
				got = "-" + got[1:]
			}
			got = strings.ReplaceAll(got, "5 0755", "d 0755")
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestRemoteErrors(t *testing.T) {
	sum := digest.FromString("b").String()
	for _, c := range []struct{ line, want string }{
		{"ADD https://example.com/none /", "Dockerfile:2: get https://example.com/none: 404 Not Found"},
		{"ADD --checksum=" + sum + " https://example.com/a.txt /", "Dockerfile:2: get https://example.com/a.txt: the content is sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb, not " + sum},
		{"ADD --checksum=x https://example.com/a.txt /", "--checksum=x: want sha256:"},
		{"ADD --checksum=md5:0123 https://example.com/a.txt /", "--checksum=md5:0123: want sha256:"},
		{"ADD --checksum=" + sum + " a /", "--checksum is for URLs"},
		{"ADD --checksum=" + sum + " https://example.com/a.txt https://example.com/b.txt /", "--checksum is for one source, and here are 2"},
		{"ADD --checksum=" + sum + " https://example.com/r.git /", "not the name of a commit"},
		{"ADD --checksum=" + commit2 + " https://example.com/r.git?commit=" + commit1 + " /", "are different"},
		{"ADD --keep-git-dir=false https://example.com/r.git?keep-git-dir=1 /", "different things"},
		{"ADD https://example.com/r.git#none /", `Dockerfile:2: https://example.com/r.git has no ref "none"`},
		{"ADD https://example.com/r.git#-x /", "not a branch"},
		{"ARG u=https://example.com/a.txt\nCOPY $u /", "Dockerfile:3: the source https://example.com/a.txt of COPY is not a path"},
		{"COPY https://me:secret@example.com/a.txt /", "is a URL"},
	} {
		f := newFixture(t)
		_, b := newWorld(t, f)
		_, err := b.Build(t.Context(), build.Options{Context: tree(t, map[string]string{"a": "a"}), Source: []byte("FROM scratch\n" + c.line)}, f)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.line, err, c.want)
		}
	}
	f := newFixture(t)
	_, err := f.builder.Build(t.Context(), build.Options{Source: []byte("FROM scratch\nADD https://example.com/a.txt /")}, f)
	if !errdefs.IsUnsupported(err) {
		t.Errorf("without a Fetcher: %v", err)
	}
}

// TestRemoteCache: a step is cached by what came, not by where it came from; who names the content is asked for nothing.
func TestRemoteCache(t *testing.T) {
	f := newFixture(t)
	w, b := newWorld(t, f)
	sum := digest.FromString("a").String()
	run := func(line string, cached int, asked ...string) {
		t.Helper()
		w.asked = nil
		res, err := b.Build(t.Context(), build.Options{Source: []byte("FROM scratch\n" + line)}, f)
		must(t, err)
		if res.Cached != cached || strings.Join(w.asked, ", ") != strings.Join(asked, ", ") {
			t.Errorf("%s: %d steps cached, want %d; asked for %q, want %q", line, res.Cached, cached, w.asked, asked)
		}
	}
	run("ADD https://example.com/a.txt /b", 0, "file https://example.com/a.txt")
	run("ADD https://example.com/a.txt /b", 1, "file https://example.com/a.txt")
	run("ADD https://mirror.example.com/x/a.txt /b", 1, "file https://mirror.example.com/x/a.txt")
	run("ADD --checksum="+sum+" https://example.com/a.txt /b", 0, "file https://example.com/a.txt")
	run("ADD --checksum="+sum+" https://example.com/a.txt /b", 1)
	run("ADD --checksum="+sum+" https://nowhere.example.com/a.txt /b", 1)
	w.files["https://example.com/a.txt"] = "changed"
	run("ADD https://example.com/a.txt /b", 0, "file https://example.com/a.txt")

	run("ADD https://example.com/r.git#main /b", 0, "commit https://example.com/r.git#main", "checkout https://example.com/r.git#main")
	run("ADD https://example.com/r.git#main /b", 1, "commit https://example.com/r.git#main")
	run("ADD https://example.com/r.git#"+commit1+" /b", 1)
	run("ADD --checksum="+commit1+" https://example.com/r.git#main /b", 1)
	run("ADD https://example.com/r.git#main:d /b", 0, "commit https://example.com/r.git#main", "checkout https://example.com/r.git#main")
	w.commits["https://example.com/r.git#main"] = commit2
	run("ADD https://example.com/r.git#main /b", 0, "commit https://example.com/r.git#main", "checkout https://example.com/r.git#main")
}

// TestRemotePassword: a password in a URL is in nothing that stays.
func TestRemotePassword(t *testing.T) {
	f := newFixture(t)
	_, b := newWorld(t, f)
	res, err := b.Build(t.Context(), build.Options{Source: []byte("FROM scratch\nADD https://me:secret@example.com/p.txt /")}, f)
	must(t, err)
	if text := config(t, res); !strings.Contains(text, "https://example.com/p.txt") {
		t.Errorf("the history does not tell the URL: %s", text)
	}
	for _, e := range f.events {
		if strings.Contains(e.Name, "secret") {
			t.Errorf("an event is called %s", e.Name)
		}
	}
	must(t, filepath.WalkDir(f.root, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		if bytes.Contains(data, []byte("secret")) {
			t.Errorf("%s holds the password", p)
		}
		return err
	}))
}
