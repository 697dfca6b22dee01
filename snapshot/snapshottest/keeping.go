package snapshottest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/snapshot"
)

func testStates(t *testing.T, open Open) {
	f, ctx := newFixture(t, open), t.Context()
	id := f.apply("", file("f", "x"))
	active := f.prepare(id)
	if _, err := f.Prepare(ctx, active); !errdefs.IsConflict(err) {
		t.Errorf("Prepare on an active snapshot: %v, want ErrConflict", err)
	}
	if _, err := f.Apply(ctx, active, layerOf()); !errdefs.IsConflict(err) {
		t.Errorf("Apply on an active snapshot: %v, want ErrConflict", err)
	}
	if _, err := f.Name(ctx, active, chainOf("a")); !errdefs.IsConflict(err) {
		t.Errorf("Name of an active snapshot: %v, want ErrConflict", err)
	}
	for _, missing := range []string{"00000000", "zzzzzzzz"} {
		_, err1 := f.Prepare(ctx, missing)
		_, err2 := f.Stat(ctx, missing)
		_, err3 := f.Mount(ctx, missing)
		_, err4 := f.Name(ctx, missing, chainOf("a"))
		_, err5 := f.View(ctx, missing)
		_, err6 := f.Freeze(ctx, missing)
		_, err7 := f.Apply(ctx, missing, layerOf())
		for i, err := range []error{err1, err2, err3, err4, err5, err6, err7} {
			if !errdefs.IsNotFound(err) {
				t.Errorf("call %d with a missing id: %v, want ErrNotFound", i+1, err)
			}
		}
	}
	for _, bad := range []string{"..", "../../etc", "a/b", "UPPERCAS", "tmp-0000"} {
		if _, err := f.Stat(ctx, bad); !errdefs.IsInvalid(err) {
			t.Errorf("Stat of %q: %v, want ErrInvalid", bad, err)
		}
		if err := f.Remove(ctx, bad); !errdefs.IsInvalid(err) {
			t.Errorf("Remove of %q: %v, want ErrInvalid", bad, err)
		}
	}
	f.freeze(active)
	f.freeze(active)
	info, err := f.Name(ctx, active, chainOf("a"))
	if err != nil || info.State != snapshot.Committed || info.ID != active || info.ChainID != chainOf("a") {
		t.Fatalf("Name: %+v, %v", info, err)
	}
	if info, err := f.Freeze(ctx, active); err != nil || info.State != snapshot.Committed {
		t.Errorf("Freeze of a committed snapshot: %+v, %v", info, err)
	}
	all := f.all()
	if len(all) != 2 || all[id].State != snapshot.Frozen || all[active].State != snapshot.Committed || all[active].Parent != id {
		t.Errorf("Walk shows %+v", all)
	}
	if stat, err := f.Stat(ctx, active); err != nil || stat != all[active] {
		t.Errorf("Stat: %+v, %v; Walk shows %+v", stat, err, all[active])
	}
}

func testBrokenLayer(t *testing.T, open Open) {
	f, ctx := newFixture(t, open), t.Context()
	parent := f.apply("", base()...)
	whole := layerOf(append(base(), file("last", "the content of the last one"))...).Bytes()
	broken := errdefs.Corrupt("the digest is wrong")
	half := whole[:bytes.Index(whole, []byte("the content"))+4]
	for name, layer := range map[string]func() io.Reader{
		"truncated":    func() io.Reader { return bytes.NewReader(half) },
		"fails":        func() io.Reader { return io.MultiReader(bytes.NewReader(half), iotest.ErrReader(broken)) },
		"fails at end": func() io.Reader { return io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(broken)) },
		"climbs":       func() io.Reader { return layerOf(file("../../escaped", "x")) },
		"no hard link": func() io.Reader { return layerOf(link("a", "not-there")) },
		"not a tar":    func() io.Reader { return strings.NewReader(strings.Repeat("x", 2048)) },
	} {
		for _, p := range []string{"", parent} {
			if info, err := f.Apply(ctx, p, layer()); err == nil {
				t.Errorf("%s: no error, %+v", name, info)
			} else if strings.HasPrefix(name, "fails") && !errors.Is(err, broken) {
				t.Errorf("%s: the error of the stream is lost: %v", name, err)
			}
		}
	}
	if all := f.all(); len(all) != 1 {
		t.Errorf("broken layers left %+v", all)
	}
	checkLeftovers(t, f, 1)
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.Apply(done, parent, bytes.NewReader(whole)); err == nil {
		t.Error("Apply went on after its context was done")
	}
	// To its end, also behind the end of the archive: there stands the verdict of whoever verifies.
	rest := io.MultiReader(layerOf(file("f", "")), bytes.NewReader(make([]byte, 64<<10)))
	if _, err := f.Apply(ctx, parent, rest); err != nil {
		t.Errorf("padding behind the archive: %v", err)
	}
	if n, _ := rest.Read(make([]byte, 1)); n != 0 {
		t.Error("the layer was not read to its end")
	}
}

// checkLeftovers looks for directories that are neither snapshots nor the store's own.
func checkLeftovers(t *testing.T, f *fixture, snapshots int) {
	t.Helper()
	all := f.all()
	if len(all) != snapshots {
		t.Errorf("%d snapshots, want %d: %+v", len(all), snapshots, all)
	}
	err := filepath.WalkDir(f.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, ok := all[e.Name()]; ok {
			return filepath.SkipDir
		}
		if strings.HasPrefix(e.Name(), "tmp-") || strings.HasPrefix(e.Name(), "rm-") || strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s was left behind", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func testLookup(t *testing.T, open Open) {
	f, ctx := newFixture(t, open), t.Context()
	a, b := chainOf("a"), chainOf("b")
	if _, err := f.Lookup(ctx, a); !errdefs.IsNotFound(err) {
		t.Errorf("Lookup in an empty store: %v, want ErrNotFound", err)
	}
	if _, err := f.Lookup(ctx, "sha256:../../x"); !errdefs.IsInvalid(err) {
		t.Errorf("Lookup of no digest: %v, want ErrInvalid", err)
	}
	id := f.apply("", file("f", "x"))
	if _, err := f.Name(ctx, id, a); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Lookup(ctx, a); err != nil || info.ID != id || info.ChainID != a || info.State != snapshot.Committed {
		t.Errorf("Lookup: %+v, %v", info, err)
	}
	if _, err := f.Lookup(ctx, b); !errdefs.IsNotFound(err) {
		t.Errorf("Lookup of another chain: %v", err)
	}
	other, err := open(f.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := other.Lookup(ctx, a); err != nil || info.ID != id {
		t.Errorf("Lookup in the store opened again: %+v, %v", info, err)
	}
	loser := f.apply("", file("f", "x"))
	if info, err := f.Name(ctx, loser, a); err != nil || info.ID != id {
		t.Errorf("Name of a chain that is there: %+v, %v, want %s", info, err, id)
	}
	if info, err := f.Stat(ctx, loser); err != nil || info.State != snapshot.Frozen {
		t.Errorf("the loser: %+v, %v, want it frozen", info, err)
	}
	f.prepare(loser)
	f.remove(id)
	if _, err := f.Lookup(ctx, a); !errdefs.IsNotFound(err) {
		t.Errorf("Lookup of a removed snapshot: %v", err)
	}
	if info, err := f.Name(ctx, loser, a); err != nil || info.ID != loser {
		t.Errorf("Name after the winner was removed: %+v, %v", info, err)
	}
}

func testRemove(t *testing.T, open Open) {
	f, ctx := newFixture(t, open), t.Context()
	one := f.apply("", base()...)
	two := f.apply(one, file("x", ""))
	three := f.prepare(two)
	f.edit(three, func(dir string) error {
		deep := dir
		for range 30 {
			deep += "/deep"
		}
		return errors.Join(os.MkdirAll(deep, 0o755), os.Mkdir(dir+"/closed", 0), os.Remove(dir+"/x"))
	})
	for _, id := range []string{one, two} {
		if err := f.Remove(ctx, id); !errdefs.IsConflict(err) {
			t.Errorf("Remove of a parent: %v, want ErrConflict", err)
		}
	}
	checkNames(t, f.tree(two), strings.Join(append(names(f.tree(one)), "x"), " "))
	for _, id := range []string{three, two, one} {
		f.remove(id)
		if err := f.Remove(ctx, id); !errdefs.IsNotFound(err) {
			t.Errorf("Remove again: %v, want ErrNotFound", err)
		}
	}
	checkLeftovers(t, f, 0)
}

func testDiscard(t *testing.T, open Open) {
	f, ctx := newFixture(t, open), t.Context()
	r, ok := f.Snapshotter.(snapshot.Reclaimer)
	if !ok {
		t.Skip("no Reclaimer")
	}
	for _, finishes := range []bool{true, false} {
		one := f.apply("", base()...)
		two := f.prepare(one)
		if _, err := r.Discard(ctx, one); !errdefs.IsConflict(err) {
			t.Errorf("Discard of a parent: %v, want ErrConflict", err)
		}
		for _, id := range []string{two, one} {
			finish, err := r.Discard(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Stat(ctx, id); !errdefs.IsNotFound(err) {
				t.Errorf("Stat of a discarded snapshot: %v", err)
			}
			if !finishes {
				continue
			}
			if err := finish(ctx); err != nil {
				t.Errorf("finish: %v", err)
			}
		}
		if !finishes {
			f.recover()
		}
		checkLeftovers(t, f, 0)
	}
	if err := r.MarkDurable(ctx); err != nil {
		t.Errorf("MarkDurable: %v", err)
	}
}

func testView(t *testing.T, open Open) {
	f, ctx := newFixture(t, open), t.Context()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("host"), 0o644); err != nil {
		t.Fatal(err)
	}
	one := f.apply("", symlink("abs", secret), symlink("up", strings.Repeat("../", 40)+secret), symlink("dir", filepath.Dir(secret)), file("in", "x"))
	two := f.apply(one, file("top", "y"))
	if _, err := f.Name(ctx, two, chainOf("v")); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{one, two} {
		v, err := f.View(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(v.Dir())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"abs", "up", "dir/secret", "../secret", "../../.."} {
			if b, err := root.ReadFile(name); err == nil {
				t.Errorf("%s leads out of the view and reads %q", name, b)
			}
		}
		if _, err := root.ReadFile("in"); err != nil {
			t.Error(err)
		}
		seen := 0
		err = filepath.WalkDir(v.Dir(), func(string, os.DirEntry, error) error { seen++; return nil })
		if err != nil || seen < 5 {
			t.Errorf("WalkDir of a view saw %d files, %v", seen, err)
		}
		if f.Driver() == "overlay" && os.Geteuid() == 0 {
			if err := os.WriteFile(v.Dir()+"/w", nil, 0o644); err == nil {
				t.Error("a view can be written")
			}
		}
		root.Close()
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
	m, err := f.Mount(ctx, two)
	if err != nil || m.Upper != "" || m.Kind == "bind" && !m.ReadOnly {
		t.Errorf("the mount of a committed snapshot is writable: %+v, %v", m, err)
	}
}

func testUsage(t *testing.T, open Open) {
	f := newFixture(t, open)
	const size = 1 << 20
	id := f.apply("", dir("d"), file("d/f", strings.Repeat("x", size)), link("d/g", "d/f"), symlink("s", "d"))
	u, err := f.Usage(t.Context(), id)
	if err != nil || u.Inodes != 4 || u.Bytes < size || u.Bytes > size+64<<10 {
		t.Errorf("Usage of root, directory, link and 1 MiB with two names: %+v, %v", u, err)
	}
	if u, err := f.Usage(t.Context(), f.prepare("")); err != nil || u.Inodes != 1 {
		t.Errorf("Usage of nothing: %+v, %v", u, err)
	}
}

func testPins(t *testing.T, open Open) {
	f, ctx := newFixture(t, open), t.Context()
	one := f.apply("", file("f", ""))
	if _, err := f.Name(ctx, one, chainOf("p")); err != nil {
		t.Fatal(err)
	}
	begin := func() (snapshot.Snapshotter, *recorder) {
		pins := newRecorder()
		s, err := open(f.dir, pins)
		if err != nil {
			t.Fatal(err)
		}
		return s, pins
	}
	s, pins := begin()
	if _, err := s.Lookup(ctx, chainOf("p")); err != nil || !pins.has(one) {
		t.Errorf("Lookup did not pin: %v", err)
	}
	s, pins = begin()
	if info, err := s.Prepare(ctx, one); err != nil || !pins.has(one) || !pins.has(info.ID) {
		t.Errorf("Prepare did not pin both: %v", err)
	}
	s, pins = begin()
	info, err := s.Apply(ctx, one, layerOf())
	if err != nil || !pins.has(one) || !pins.has(info.ID) {
		t.Errorf("Apply did not pin both: %v", err)
	}
	s, pins = begin()
	if _, err := s.Name(ctx, info.ID, chainOf("p")); err != nil || !pins.has(one) {
		t.Errorf("Name did not pin the winner: %v", err)
	}
	s, pins = begin()
	if v, err := s.View(ctx, one); err != nil || !pins.has(one) {
		t.Errorf("View did not pin: %v", err)
	} else {
		v.Close()
	}
}
