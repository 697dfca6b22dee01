package advise

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/history"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/snapshot/native"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tools is an Executor with a few programs: npm leaves something new each time, compile reads only the first line of the file main, litter leaves a
// cache, and all others leave the same.
type tools struct{}

func (tools) Run(_ context.Context, req op.RunRequest) error {
	at := func(name string) string { return filepath.Join(req.Root.Source, name) }
	words := strings.Fields(req.Args[len(req.Args)-1])
	switch words[0] {
	case "npm":
		return os.WriteFile(at("modules"), []byte(rand.Text()), 0o644)
	case "compile":
		data, err := os.ReadFile(at("src/main"))
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(data), "\n")
		return os.WriteFile(at("out"), []byte("compiled "+first), 0o644)
	case "litter":
		noise := make([]byte, 150<<10)
		_, _ = rand.Read(noise)
		if err := os.MkdirAll(at("var/cache/apt"), 0o755); err != nil {
			return err
		}
		return os.WriteFile(at("var/cache/apt/pkgcache.bin"), []byte(hex.EncodeToString(noise)), 0o644)
	}
	return os.WriteFile(at(words[0]), []byte("always"), 0o644)
}

// seconds is how long the steps took, by the word that their names have: round, so that people can do the sums.
func seconds(name string) int64 {
	for word, s := range map[string]int64{"npm": 10, "compile": 20, "same": 30, "litter": 5} {
		if strings.Contains(name, word) {
			return s
		}
	}
	return 1
}

type fixture struct {
	t       *testing.T
	h       *history.History
	builder *build.Builder
	dir     string
	builds  []*history.Build
}

func newFixture(t *testing.T) *fixture {
	root := t.TempDir()
	f := &fixture{t: t, h: history.Open(filepath.Join(root, "history")), dir: t.TempDir()}
	f.builder = build.New(build.Parts{
		Content: local.Open(root, local.Options{}), CacheDir: filepath.Join(root, "cache"), Executor: tools{},
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

// build builds, and gives the steps that were executed round durations.
func (f *fixture) build(src string, args map[string]string) *history.Build {
	f.t.Helper()
	rec := f.h.Record(history.Start{Context: f.dir, Args: args})
	res, err := f.builder.Build(f.t.Context(), build.Options{Context: f.dir, Source: []byte(src), BuildArgs: args, Observer: rec}, nil)
	must(f.t, err)
	must(f.t, rec.Finish(history.End{Manifest: res.Manifest.Digest}))
	b, err := f.h.Find(f.t.Context(), rec.ID())
	must(f.t, err)
	for i, s := range b.Steps {
		if s.Took = seconds(b.Plan.Vertices[i].Name) * 1e6; s.Cached {
			s.Took = 0
		}
	}
	f.builds = append(f.builds, b)
	return b
}

// advise returns what is advised of one kind.
func (f *fixture) advise(kind Kind, p Parts) []Advice {
	f.t.Helper()
	p.Files = f.h.Files
	r, err := Advise(f.t.Context(), f.builds, p)
	must(f.t, err)
	if len(r.Builds) != len(f.builds) || r.Builds[0] != f.builds[len(f.builds)-1].ID {
		f.t.Errorf("builds %v", r.Builds)
	}
	return slices.DeleteFunc(r.Advice, func(a Advice) bool { return a.Kind != kind })
}

// size is how large the layer of a step is, by a word of its name.
func size(b *history.Build, word string) int64 {
	for i, v := range b.Plan.Vertices {
		if strings.Contains(v.Name, word) {
			return b.Steps[i].Size
		}
	}
	return -1
}

func near(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }

const npmBehindAll = "FROM scratch\nWORKDIR /app\nCOPY . .\nRUN npm ci\nRUN other\n"

func TestSplitByRule(t *testing.T) {
	f := newFixture(t)
	f.write("package.json", "1")
	f.write("src/a", "1")
	f.build(npmBehindAll, nil)
	if got := f.advise(Split, Parts{}); len(got) != 0 {
		t.Errorf("of one build: %+v", got)
	}
	f.write("src/a", "2")
	second := f.build(npmBehindAll, nil)
	f.write("src/b", "new")
	third := f.build(npmBehindAll, nil)
	f.write("package.json", "2")
	f.build(npmBehindAll, nil) // here npm must run
	f.build(npmBehindAll, nil) // all cached
	got := f.advise(Split, Parts{})
	if len(got) == 0 {
		t.Fatal("no advice")
	}
	a := got[0]
	// npm took 10 seconds in the second and the third build, of four; its layers were new there.
	wantBytes := (size(second, "npm") + size(third, "npm")) / 4
	if a.Line != 3 || a.Builds != 4 || a.Helped != 2 || !near(a.SecondsPerBuild, 2*10.0/4) || a.BytesPerPush != wantBytes {
		t.Errorf("got %+v, want 2 of 4 builds, 5 seconds and %d bytes", a, wantBytes)
	}
	if !slices.Equal(a.Files, []string{"package.json"}) || !slices.Equal(a.Steps, []string{"[3/4] RUN npm ci"}) || !strings.Contains(a.Assumes, "npm ci reads only package.json") {
		t.Errorf("got %+v", a)
	}
	if !strings.Contains(a.Text, "copy package.json in an instruction of their own, then RUN (line 4), then the rest") {
		t.Errorf("text %q", a.Text)
	}
}

func TestNothingToSplit(t *testing.T) {
	f := newFixture(t)
	const src = "FROM scratch\nWORKDIR /app\nCOPY package.json .\nRUN npm ci\nCOPY . .\nRUN compile\n"
	for i := range 4 {
		f.write("package.json", fmt.Sprint(i/2))
		f.write("src/a", fmt.Sprint(i))
		f.write("src/main", fmt.Sprint(i))
		f.build(strings.Replace(src, "COPY . .", "COPY . /", 1), nil)
	}
	for _, k := range []Kind{Split, Ignore, Argument} {
		if got := f.advise(k, Parts{}); len(got) != 0 {
			t.Errorf("%s: %+v", k, got)
		}
	}
}

// TestSplitByResult: compile depends on main, and its result stays when docs change.
func TestSplitByResult(t *testing.T) {
	f := newFixture(t)
	const src = "FROM scratch\nCOPY . /src\nRUN compile\n"
	f.write("main", "1")
	f.write("docs/a", "1")
	f.build(src, nil)
	f.write("docs/a", "2")
	f.build(src, nil)
	f.write("main", "2")
	f.build(src, nil)
	f.write("docs/b", "1")
	f.build(src, nil)
	f.write("docs/b", "2")
	f.build(src, nil)
	f.write("docs/b", "3")
	f.write("main", "3")
	f.build(src, nil)
	got := f.advise(Split, Parts{})
	if len(got) != 1 {
		t.Fatalf("got %+v", got)
	}
	// docs/b changed with main in the last build, which is the reason that there is.
	a := got[0]
	if a.Builds != 5 || a.Helped != 3 || !near(a.SecondsPerBuild, 3*20.0/5) || !slices.Equal(a.Files, []string{"docs/a", "docs/b"}) {
		t.Errorf("got %+v", a)
	}
}

func TestSplitByResultFigures(t *testing.T) {
	f := newFixture(t)
	const src = "FROM scratch\nCOPY . /src\nRUN compile\n"
	f.write("main", "1")
	for i := range 3 { // two changes without effect
		f.write("docs", fmt.Sprint(i))
		f.build(src, nil)
	}
	f.write("main", "2")
	f.build(src, nil)
	f.build(src, nil)
	got := f.advise(Split, Parts{})
	if len(got) != 1 {
		t.Fatalf("got %+v", got)
	}
	a := got[0]
	if a.Builds != 4 || a.Helped != 2 || !near(a.SecondsPerBuild, 2*20.0/4) || a.BytesPerPush != 0 || !slices.Equal(a.Files, []string{"docs"}) || a.Line != 2 {
		t.Errorf("got %+v, want 10 seconds in 2 of 4 builds", a)
	}
}

func TestIgnore(t *testing.T) {
	f := newFixture(t)
	const src = "FROM scratch AS build\nCOPY . /src\nRUN compile\nFROM scratch\nCOPY --from=build /out /out\n"
	f.write("main", "1")
	f.write("README", "1")
	f.build(src, nil)
	f.write("README", "2")
	f.build(src, nil)
	f.write("README", "3")
	f.build(src, nil)
	f.write("main", "2")
	f.build(src, nil)
	got := f.advise(Ignore, Parts{})
	if len(got) != 1 {
		t.Fatalf("got %+v", got)
	}
	a := got[0]
	// In two of three builds: COPY 1, compile 20. The copy of /out was cached.
	if a.Line != 2 || a.Builds != 3 || a.Helped != 2 || !near(a.SecondsPerBuild, 2*21.0/3) || a.BytesPerPush != 0 || !slices.Equal(a.Files, []string{"README"}) || len(a.Steps) != 2 {
		t.Errorf("got %+v, want 14 seconds", a)
	}
}

// TestIgnoreWhatMattered: a file that once changed the image is not advised against.
func TestIgnoreWhatMattered(t *testing.T) {
	f := newFixture(t)
	const src = "FROM scratch AS build\nCOPY . /src\nRUN compile\nFROM scratch\nCOPY --from=build /out /out\n"
	for i := range 4 { // the second line does not matter, the first does
		f.write("main", fmt.Sprintf("%d\n%d", i/3, i))
		f.build(src, nil)
	}
	if got := f.advise(Ignore, Parts{}); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestArgument(t *testing.T) {
	f := newFixture(t)
	const src = "FROM scratch\nARG SHA\nARG DATE\nRUN same\nRUN npm ci\nRUN other\n"
	for i := range 3 {
		f.build(src, map[string]string{"SHA": fmt.Sprint(i), "DATE": fmt.Sprint(i)})
	}
	got := f.advise(Argument, Parts{})
	if len(got) != 1 {
		t.Fatalf("got %+v", got)
	}
	// RUN same took 30 seconds each time; what is behind npm, which leaves something else each time, does not count.
	a := got[0]
	if a.Line != 3 || a.Builds != 2 || a.Helped != 2 || !near(a.SecondsPerBuild, 30) || !slices.Equal(a.Steps, []string{"[1/3] RUN same"}) || a.Step != "ARG DATE SHA" {
		t.Errorf("got %+v, want 30 seconds", a)
	}
}

func TestSideBySideCountsOnce(t *testing.T) {
	b := &history.Build{}
	b.Plan.Vertices = []history.Vertex{{Parent: -1}, {Parent: -1}, {Parent: 0, Sources: []int{1}}}
	b.Steps = []*history.Step{{Took: 10}, {Took: 7}, {Took: 2}}
	for _, c := range []struct {
		cached map[int]bool
		want   int64
	}{{nil, 12}, {map[int]bool{0: true}, 9}, {map[int]bool{1: true}, 12}, {map[int]bool{0: true, 1: true, 2: true}, 0}} {
		if got := longest(b, c.cached); got != c.want {
			t.Errorf("%v: %d, want %d", c.cached, got, c.want)
		}
	}
}

func TestCaches(t *testing.T) {
	f := newFixture(t)
	const src = "FROM scratch\nCOPY a /a\nRUN litter\n"
	for i := range 3 {
		f.write("a", fmt.Sprint(i/2)) // the layer is new in the third build only
		f.build(src, nil)
	}
	p := Parts{
		Layer: func(_ context.Context, _ *history.Step, fn func(string, int64)) error {
			fn("var/cache/apt/pkgcache.bin", 300<<10)
			fn("var/cache/apt/archives/x.deb", 50<<10)
			fn("var/lib/apt/lists/few", 10)
			fn("usr/bin/tool", 1<<20)
			return nil
		},
		Compressed: func(_ context.Context, _ *history.Step, match func(string) bool) (int64, error) {
			if !match("var/cache/apt/x") || match("usr/bin/tool") {
				t.Error("it measures something else")
			}
			return 80 << 10, nil
		},
	}
	got := f.advise(Cache, p)
	if len(got) != 1 {
		t.Fatalf("got %+v", got)
	}
	if a := got[0]; a.Line != 3 || a.Builds != 2 || a.Helped != 1 || a.BytesPerPush != 40<<10 || !strings.Contains(a.Evidence, "358400 bytes") {
		t.Errorf("got %+v", a)
	}
}

func TestReads(t *testing.T) {
	for command, want := range map[string]string{
		"npm ci":                                   ".npmrc npm-shrinkwrap.json package-lock.json package.json",
		"npm ci --omit=dev && rm -rf /root/.npm":   ".npmrc npm-shrinkwrap.json package-lock.json package.json",
		"npm ci && npm run build":                  "unknown",
		"npm install left-pad":                     "unknown",
		"cd /x && pip install -r a/req.txt -c c":   "c req.txt",
		"pip install --no-cache-dir flask":         "",
		"pip install .":                            "unknown",
		"pip install -e .":                         "unknown",
		"python3 -m pip install -r req.txt":        "req.txt",
		"go mod download":                          "go.mod go.sum go.work go.work.sum",
		"go build ./...":                           "unknown",
		"apt-get update && apt-get install -y gcc": "",
		"DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcc && rm -rf /var/lib/apt/lists/*": "",
		"apt-get install -y ./local.deb": "unknown",
		"npm ci | tee log":               "unknown",
		"npm ci > log":                   "unknown",
		"npm ci $(cat args)":             "unknown",
		"rm -rf src; npm ci":             "unknown",
		"echo hello":                     "unknown",
		"":                               "unknown",
	} {
		patterns, _, ok := reads(command)
		got := strings.Join(patterns, " ")
		if !ok {
			got = "unknown"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
}
