package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/snapshot/native"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// failing is an Executor whose steps fail.
type failing struct{}

func (failing) Run(context.Context, op.RunRequest) error { return &op.ExitError{Code: 7} }

// fixture builds with a history.
type fixture struct {
	t       *testing.T
	h       *History
	builder *build.Builder
	dir     string // of the context
}

func newFixture(t *testing.T) *fixture {
	root := t.TempDir()
	f := &fixture{t: t, h: Open(filepath.Join(root, "history")), dir: t.TempDir()}
	f.builder = build.New(build.Parts{
		Content: local.Open(root, local.Options{}), CacheDir: filepath.Join(root, "cache"), Executor: failing{},
		Snapshots: native.Open(filepath.Join(root, "snapshots"), native.Options{Pins: lease.None{}}),
	})
	return f
}

func (f *fixture) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	must(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(f.t, os.WriteFile(path, []byte(text), 0o644))
}

// build builds src and returns what the history has of it.
func (f *fixture) build(src string, s Start, args map[string]string) *Build {
	f.t.Helper()
	s.Context, s.Dockerfile, s.Args = f.dir, "Dockerfile", args
	rec := f.h.Record(s)
	res, err := f.builder.Build(f.t.Context(), build.Options{Context: f.dir, Source: []byte(src), BuildArgs: args, Observer: rec}, nil)
	end := End{Err: err, Tags: []string{"app"}}
	if res != nil {
		end.Manifest = res.Manifest.Digest
	}
	must(f.t, rec.Finish(end))
	b, err := f.h.Find(f.t.Context(), rec.ID())
	must(f.t, err)
	return b
}

func (f *fixture) count(sub string) int {
	n := 0
	_ = filepath.WalkDir(filepath.Join(f.h.dir, sub), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return nil
	})
	return n
}

func TestBuildIsKept(t *testing.T) {
	f := newFixture(t)
	f.write("a", "1")
	f.write("d/b", "2")
	must(t, os.Symlink("b", filepath.Join(f.dir, "d/l")))
	const src = "FROM scratch AS one\nCOPY . /x\n\nFROM scratch\nWORKDIR /w\nCOPY --from=one \\\n /x /y\n"
	b := f.build(src, Start{Target: ""}, map[string]string{"V": "2"})
	if b.Status != Completed || b.Manifest == "" || b.Duration() <= 0 || b.Args["V"] != "2" || b.Plan.Source != src || !slices.Equal(b.Tags, []string{"app"}) {
		t.Errorf("got %+v", b)
	}
	if c, n := b.Cached(); c != 0 || n != 3 {
		t.Errorf("%d of %d cached", c, n)
	}
	v := b.Plan.Vertices
	if v[1].Stage != "one" || v[1].Line != 2 || v[2].Line != 6 || v[2].EndLine != 7 || v[1].Parent != -1 || v[2].Parent != 0 || !slices.Equal(v[2].Sources, []int{1}) {
		t.Errorf("vertices %+v", v)
	}
	for i, s := range b.Steps {
		if s == nil || s.ID != i || s.Cached || s.Miss != "operation" || s.ChainID == "" || s.Layer == "" || s.Size == 0 || s.Uncompressed == 0 || s.Took <= 0 {
			t.Errorf("step %d: %+v", i, s)
		}
	}
	if b.Steps[2].Parent != b.Steps[0].ChainID || !strings.HasPrefix(b.DefinitionOf(0), "mkdir.v1 ") {
		t.Errorf("parent %s, definition %s", b.Steps[2].Parent, b.DefinitionOf(0))
	}
	var paths []string
	must(t, f.h.Files("", b.Steps[1].Files, func(file File, before bool) error {
		if before {
			t.Error("a file of the list before")
		}
		paths = append(paths, fmt.Sprintf("%s %o %.4s%s", file.Path, file.Mode, file.Digest, file.Link))
		return nil
	}))
	want := []string{" 40", "a 100644 6b86", "d 40", "d/b 100644 d473", "d/l 120777 b"}
	if len(paths) != len(want) {
		t.Fatalf("files %q", paths)
	}
	for i := range want {
		if !strings.HasPrefix(paths[i], want[i]) {
			t.Errorf("file %d is %q, want %q", i, paths[i], want[i])
		}
	}
	again := f.build(src, Start{}, map[string]string{"V": "2"})
	if c, _ := again.Cached(); c != 3 || again.plan != b.plan || again.Steps[1].Files != b.Steps[1].Files {
		t.Errorf("again: %d cached, plans %s and %s", c, again.plan, b.plan)
	}
}

func TestFailureIsKept(t *testing.T) {
	f := newFixture(t)
	f.write("a", "1")
	b := f.build("FROM scratch\nCOPY a /a\nRUN false\nCOPY a /b\n", Start{}, nil)
	if b.Status != Failed || !strings.Contains(b.Error, "exit code 7") || b.Steps[0].ChainID == "" || b.Steps[2] != nil {
		t.Errorf("got %+v", b)
	}
	if s := b.Steps[1]; s.Exit != 7 || s.Error == "" || s.ChainID != "" || s.Parent != b.Steps[0].ChainID {
		t.Errorf("the failed step: %+v", s)
	}
}

// TestUnchangedCostsNothing: a build adds what is new only, of 5,000 files with one changed very little.
func TestUnchangedCostsNothing(t *testing.T) {
	f := newFixture(t)
	for i := range 5000 {
		f.write(fmt.Sprintf("d%d/file%d", i/100, i), fmt.Sprint(i))
	}
	const src = "FROM scratch\nCOPY . /\n"
	f.build(src, Start{}, nil)
	objects, lists := f.count("objects"), f.count("lists")
	if objects < 5 || objects > 100 {
		t.Errorf("%d objects for 5000 files", objects)
	}
	b := f.build(src, Start{}, nil)
	if f.count("objects") != objects || f.count("lists") != lists {
		t.Errorf("an unchanged build added %d objects and %d lists", f.count("objects")-objects, f.count("lists")-lists)
	}
	f.write("d7/file777", "changed")
	f.write("d7/new", "new")
	c := f.build(src, Start{}, nil)
	if n := f.count("objects") - objects; n > 2 {
		t.Errorf("two changed files added %d objects", n)
	}
	seen := map[bool]int{}
	must(t, f.h.Files(b.Steps[0].Files, c.Steps[0].Files, func(_ File, before bool) error { seen[before]++; return nil }))
	if seen[true] == 0 || seen[false] < 2 || seen[false] > 4000 {
		t.Errorf("compared %v files", seen)
	}
}

func TestSecretsAreNotKept(t *testing.T) {
	f := newFixture(t)
	f.write("a", "1")
	const secret, proxy = "pa\"ss-w0rd", "http://me:hunter22@proxy:3128"
	args := map[string]string{"DB_PASSWORD": secret, "HTTP_PROXY": proxy, "TOKEN": "abc", "URL": "https://me:swordfish@host/x", "PUBLIC_KEY": "visible"}
	const src = "FROM scratch\nARG DB_PASSWORD TOKEN URL PUBLIC_KEY HTTP_PROXY\nCOPY a /a\nRUN x $DB_PASSWORD\nCOPY a /$DB_PASSWORD\n"
	b := f.build(src, Start{}, args)
	other := f.build(strings.Replace(src, "RUN x $DB_PASSWORD\n", "", 1), Start{}, args)
	if b.Args["PUBLIC_KEY"] != "visible" || !strings.HasPrefix(b.Args["TOKEN"], Masked) || b.Args["TOKEN"] != other.Args["TOKEN"] || b.Args["HTTP_PROXY"] != "" {
		t.Errorf("args %v", b.Args)
	}
	if !strings.Contains(b.DefinitionOf(1), `"DB_PASSWORD=(hidden `) {
		t.Errorf("definition %s", b.DefinitionOf(1))
	}
	args["TOKEN"] = "abd"
	if b.Args["TOKEN"] == f.build(src, Start{}, args).Args["TOKEN"] {
		t.Error("another value has the same mark")
	}
	must(t, filepath.WalkDir(f.h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, s := range []string{secret, `pa\"ss-w0rd`, "hunter22", "swordfish", "TOKEN=abc"} {
			if bytes.Contains(data, []byte(s)) {
				t.Errorf("%s has %q: %s", path, s, data)
			}
		}
		return err
	}))
}

func TestLifeOfARecord(t *testing.T) {
	f := newFixture(t)
	f.write("a", "1")
	rec := f.h.Record(Start{Context: f.dir})
	_, err := f.builder.Build(t.Context(), build.Options{Context: f.dir, Source: []byte("FROM scratch\nCOPY a /\n"), Observer: rec}, nil)
	must(t, err)
	status := func() Status {
		b, err := f.h.Find(t.Context(), rec.ID()[:6])
		must(t, err)
		return b.Status
	}
	if s := status(); s != Running {
		t.Errorf("while it goes on it is %s", s)
	}
	if n, err := f.h.Prune(t.Context(), Keep{Time: time.Nanosecond}, false); n != 0 || err != nil {
		t.Errorf("a build that goes on was pruned: %d, %v", n, err)
	}
	rec.file.Close() // as the kernel does for a killed process
	if s := status(); s != Killed {
		t.Errorf("without its process it is %s", s)
	}
	b, err := f.h.Find(t.Context(), rec.ID())
	must(t, err)
	if b.Steps[0] == nil || b.Steps[0].ChainID == "" {
		t.Errorf("the step that ended is lost: %+v", b.Steps[0])
	}
	path := f.h.buildPath(b.file)
	data, err := os.ReadFile(path)
	must(t, err)
	for cut := range data { // a power cut, at any byte
		must(t, os.WriteFile(path, data[:cut], 0o600))
		if _, err := f.h.Find(t.Context(), rec.ID()); err != nil && !errdefs.IsCorrupt(err) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

func TestPrune(t *testing.T) {
	f := newFixture(t)
	var ids []string
	for i := range 5 {
		f.write("a", fmt.Sprint(i))
		ids = append(ids, f.build(fmt.Sprintf("FROM scratch\nCOPY a /a%d\n", i), Start{}, nil).ID)
		time.Sleep(2 * time.Millisecond)
	}
	must(t, os.WriteFile(f.h.buildPath(temporary+"x"), nil, 0o600))
	if n, err := f.h.Prune(t.Context(), Keep{Builds: 2}, true); n != 3 || err != nil || f.count("builds") != 6 {
		t.Errorf("dry run: %d, %v", n, err)
	}
	if n, err := f.h.Prune(t.Context(), Keep{Builds: 2}, false); n != 3 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	var left []string
	must(t, f.h.Each(t.Context(), func(b *Build) bool { left = append(left, b.ID); return true }))
	if !slices.Equal(left, []string{ids[4], ids[3]}) {
		t.Errorf("left %v of %v", left, ids)
	}
	if b, l, o := f.count("builds"), f.count("lists"), f.count("objects"); b != 2 || l != 2 || o != 4 {
		t.Errorf("left %d builds, %d lists, %d objects", b, l, o)
	}
	if _, err := f.h.Find(t.Context(), ids[0]); !errdefs.IsNotFound(err) {
		t.Errorf("a pruned build: %v", err)
	}
	if n, err := f.h.Prune(t.Context(), Keep{Time: time.Nanosecond}, false); n != 2 || err != nil || f.count("objects")+f.count("lists") != 0 {
		t.Errorf("all: %d, %v", n, err)
	}
}

// TestManyAtOnce: builds and prunes side by side lose nothing of the builds that stay.
func TestManyAtOnce(t *testing.T) {
	f := newFixture(t)
	for i := range 300 {
		f.write(fmt.Sprintf("f%d", i), "x")
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rec := f.h.Record(Start{Context: f.dir})
			src := fmt.Sprintf("FROM scratch\nCOPY . /%d\n", i%3)
			_, err := f.builder.Build(t.Context(), build.Options{Context: f.dir, Source: []byte(src), Observer: rec}, nil)
			if err = errors.Join(err, rec.Finish(End{})); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := f.h.Prune(t.Context(), Keep{Builds: 4}, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	must(t, f.h.Each(t.Context(), func(b *Build) bool {
		n++
		files := 0
		must(t, f.h.Files("", b.Steps[0].Files, func(File, bool) error { files++; return nil }))
		if files != 301 {
			t.Errorf("build %s has %d files", b.ID, files)
		}
		return true
	}))
	if n == 0 {
		t.Error("no build stayed")
	}
}

func TestNameOfSecrets(t *testing.T) {
	for name, want := range map[string]bool{
		"TOKEN": true, "GITHUB_TOKEN": true, "npm_auth": true, "API_KEY": true, "apikey": true, "KEYBOARD": false,
		"PUBLIC_KEY": false, "VERSION": false, "AUTHOR": false, "PASSWORDS": false,
	} {
		if got := IsSecretName(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzChunk(f *testing.F) {
	f.Add([]byte("\x00\x01a\xa4\x83\x020123456789abcdef0123456789abcdef"))
	f.Add([]byte("\x00\x01l\xff\xc3\x02\x01t"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = parseChunk(b, func(File) error { return nil })
		_, _ = parseList(b)
	})
}

func FuzzBuild(f *testing.F) {
	f.Add([]byte(`{"begin":{"time":"2026-01-02T03:04:05Z","plan":"00"}}`+"\n"+`{"step":{"id":1}}`+"\n"+`{"end":{"status":"Error"}}`+"\n"), []byte(`{"target":1,"vertices":[{"parent":-1},{"parent":0,"sources":[-1]}]}`))
	f.Fuzz(func(t *testing.T, file, plan []byte) {
		h := Open(t.TempDir())
		sum, err := h.putObject(plan)
		must(t, err)
		b := &Build{}
		steps, err := b.parse(file)
		if err != nil {
			return
		}
		b.plan = fmt.Sprintf("%x", sum)
		if h.complete(b, steps) != nil {
			return
		}
		for i := range b.Plan.Vertices {
			_ = b.DefinitionOf(i)
		}
		b.Cached()
	})
}
