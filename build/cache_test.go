package build_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/content"
)

// TestCache changes one thing at a time and wants so many of the four steps to be found.
func TestCache(t *testing.T) {
	const src = "FROM scratch\nARG v\nCOPY one /1\nWORKDIR /w\nCOPY dir /d\nENV a=$v\nCOPY [\"two\", \"/2\"]\n"
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string, o *build.Options)
		cached int
	}{
		{"nothing", func(*testing.T, string, *build.Options) {}, 4},
		{"times", func(t *testing.T, dir string, _ *build.Options) { age(t, dir, time.Unix(99, 0)) }, 4},
		{"unused file", func(t *testing.T, dir string, _ *build.Options) { addFiles(t, dir, map[string]string{"new": "x"}) }, 4},
		{"comment", func(_ *testing.T, _ string, o *build.Options) { o.Source = append([]byte("# c\n"), o.Source...) }, 4},
		{"env only", func(_ *testing.T, _ string, o *build.Options) { o.BuildArgs = map[string]string{"v": "x"} }, 4},
		{"content of the last", func(t *testing.T, dir string, _ *build.Options) { addFiles(t, dir, map[string]string{"two": "22"}) }, 3},
		{"same size", func(t *testing.T, dir string, _ *build.Options) {
			addFiles(t, dir, map[string]string{"two": "Z"})
			age(t, dir, time.Unix(99, 0))
		}, 3},
		{"mode", func(t *testing.T, dir string, _ *build.Options) {
			must(t, os.Chmod(filepath.Join(dir, "dir/x"), 0o600))
		}, 2},
		{"new name", func(t *testing.T, dir string, _ *build.Options) {
			must(t, os.Rename(filepath.Join(dir, "dir/x"), filepath.Join(dir, "dir/y")))
		}, 2},
		{"link target", func(t *testing.T, dir string, _ *build.Options) {
			must(t, os.Remove(filepath.Join(dir, "dir/l")))
			addFiles(t, dir, map[string]string{"dir/l": "-> y"})
		}, 2},
		{"added file", func(t *testing.T, dir string, _ *build.Options) {
			addFiles(t, dir, map[string]string{"dir/sub/new": ""})
		}, 2},
		{"first", func(t *testing.T, dir string, _ *build.Options) { addFiles(t, dir, map[string]string{"one": "11"}) }, 0},
		{"ignored", func(t *testing.T, dir string, _ *build.Options) {
			addFiles(t, dir, map[string]string{".dockerignore": "dir/x\n"})
		}, 2},
		{"epoch", func(_ *testing.T, _ string, o *build.Options) {
			when := time.Unix(77, 0)
			o.SourceDateEpoch = &when
		}, 0},
		{"no cache", func(_ *testing.T, _ string, o *build.Options) { o.NoCache = true }, 0},
		{"compression", func(_ *testing.T, _ string, o *build.Options) { o.Zstd = true }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			dir := tree(t, map[string]string{"one": "1", "two": "2", "dir/x": "x", "dir/l": "-> x"})
			opts := build.Options{Context: dir, Source: []byte(src)}
			if res := f.build(opts); res.Cached != 0 || res.Steps != 4 {
				t.Fatalf("first build: %d of %d steps cached", res.Cached, res.Steps)
			}
			c.change(t, dir, &opts)
			if res := f.build(opts); res.Cached != c.cached {
				t.Errorf("%d steps cached, want %d", res.Cached, c.cached)
			}
		})
	}
}

// TestCacheFollowsContent: a step is found when what it starts from is the same again, whatever
// made it so.
func TestCacheFollowsContent(t *testing.T) {
	f := newFixture(t)
	f.withShell()
	f.build(build.Options{Source: []byte("FROM sh AS a\nRUN write /o x\nFROM sh\nCOPY --from=a /o /p\nRUN write /q q\n")})
	runs := len(f.exec.runs)
	res := f.build(build.Options{Source: []byte("FROM sh AS a\nRUN echo other;write /o x\nRUN write /unrelated y\nFROM sh\nCOPY --from=a /o /p\nRUN write /q q\n")})
	if n := len(f.exec.runs) - runs; n != 2 {
		t.Errorf("%d commands were run, want the 2 new ones: %v", n, f.exec.runs[runs:])
	}
	if res.Cached != 2 {
		t.Errorf("%d steps cached, want the copy and the last one", res.Cached)
	}
}

// TestCacheFollowsCopiedFiles changes the stage that is copied from, and wants the copy and what comes after it to be executed only
// when what is copied changed.
func TestCacheFollowsCopiedFiles(t *testing.T) {
	f := newFixture(t)
	f.withShell()
	epoch := time.Unix(1e9, 0)
	text := func(made string) build.Options {
		return build.Options{SourceDateEpoch: &epoch, Source: []byte("FROM sh AS a\nRUN mkdir /d;" + made + "\nFROM sh\nCOPY --from=a /d /p\nRUN write /q q\n")}
	}
	const first = "write /d/o 1;write /d/p 2;link /d/o /d/q;symlink o /d/l;write /other 1"
	f.build(text(first))
	for _, c := range []struct {
		name, made string
		cached     int
	}{
		{"another file", strings.Replace(first, "/other 1", "/other 2", 1), 2},
		{"a new file elsewhere", first + ";write /new 1", 2},
		{"nothing", "echo again;" + first, 2},
		{"content", strings.Replace(first, "/d/o 1", "/d/o 3", 1), 0},
		{"same size", strings.Replace(first, "/d/p 2", "/d/p 3", 1), 0},
		{"name", strings.Replace(first, "/d/p 2", "/d/r 2", 1), 0},
		{"link target", strings.Replace(first, "symlink o", "symlink p", 1), 0},
		{"hard link", strings.Replace(first, "link /d/o /d/q", "write /d/q 1", 1), 0},
		{"mode", first + ";chmod /d/p", 0},
		{"owner", first + ";chown /d/p", 0},
		{"new file", first + ";write /d/new 1", 0},
		{"older", first + ";age /d/p", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			second := f.build(text(c.made))
			if second.Cached != c.cached {
				t.Errorf("%d steps cached, want %d", second.Cached, c.cached)
			}
			// The record under the stage's chainID serves when the files cannot be looked at any more.
			must(t, os.RemoveAll(filepath.Join(f.root, "snapshots")))
			if third := f.build(text(c.made)); third.Cached != 3 || third.Manifest.Digest != second.Manifest.Digest {
				t.Errorf("once more: %d steps cached, %s, want 3, %s", third.Cached, third.Manifest.Digest, second.Manifest.Digest)
			}
			o := text(c.made)
			o.NoCache = true
			if fresh := f.build(o); fresh.Manifest.Digest != second.Manifest.Digest {
				t.Errorf("without the cache the digest is %s, not %s", fresh.Manifest.Digest, second.Manifest.Digest)
			}
		})
	}
}

// TestCopiedFilesOfNoCache: what is built without looking is known by its files, too.
func TestCopiedFilesOfNoCache(t *testing.T) {
	f := newFixture(t)
	f.withShell()
	f.build(build.Options{NoCache: true, Source: []byte("FROM sh AS a\nRUN write /o x\nFROM sh\nCOPY --from=a /o /p\n")})
	if res := f.build(build.Options{Source: []byte("FROM sh AS a\nRUN write /o x;write /q y\nFROM sh\nCOPY --from=a /o /p\n")}); res.Cached != 1 {
		t.Errorf("%d steps cached, want the copy", res.Cached)
	}
}

// TestCacheNeedsBlob: a record whose layer is gone or damaged is not used.
func TestCacheNeedsBlob(t *testing.T) {
	f := newFixture(t)
	dir := tree(t, map[string]string{"a": "A", "b": "B"})
	opts := build.Options{Context: dir, Source: []byte("FROM scratch\nCOPY a /\nCOPY b /\n")}
	first := f.build(opts)
	must(t, f.store.Delete(t.Context(), first.Layers[1].Digest))
	second := f.build(opts)
	if second.Cached != 1 || second.Manifest.Digest != first.Manifest.Digest {
		t.Errorf("%d steps cached, manifest %s, want 1 and %s", second.Cached, second.Manifest.Digest, first.Manifest.Digest)
	}
	for _, l := range second.Layers {
		if ok, err := content.Exists(t.Context(), f.store, l.Digest); err != nil || !ok {
			t.Errorf("layer %s: %v, %v", l.Digest, ok, err)
		}
	}
	must(t, filepath.WalkDir(filepath.Join(f.root, "cache", "build"), func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.WriteFile(p, []byte("{"), 0o644)
		}
		return err
	}))
	if third := f.build(opts); third.Cached != 0 || third.Manifest.Digest != first.Manifest.Digest {
		t.Errorf("with damaged records %d steps cached, manifest %s", third.Cached, third.Manifest.Digest)
	}
}

// TestCachedStepsAreUnpackedWhenNeeded: a command on top of cached layers whose snapshots are gone.
func TestCachedStepsAreUnpackedWhenNeeded(t *testing.T) {
	f := newFixture(t)
	f.withShell()
	dir := tree(t, map[string]string{"a": "A"})
	f.build(build.Options{Context: dir, Source: []byte("FROM sh\nCOPY a /\nRUN write /x 1\n")})
	must(t, os.RemoveAll(filepath.Join(f.root, "snapshots")))
	res := f.build(build.Options{Context: dir, Source: []byte("FROM sh\nCOPY a /\nRUN write /x 1\nRUN link /x /a2\n")})
	if res.Cached != 2 {
		t.Errorf("%d steps cached, want 2", res.Cached)
	}
	f.nothingLeft()
}
