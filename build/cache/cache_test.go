package cache

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/lease"
	"github.com/opencontainers/go-digest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pins remembers what was pinned.
type pins struct{ lease.None }

// stored makes a record whose layer is in the store.
func stored(t *testing.T, s content.Store, definition string, inputs []string, parent digest.Digest) (Key, Record) {
	t.Helper()
	desc, err := content.WriteBlob(t.Context(), s, []byte("layer of "+definition))
	must(t, err)
	diffID := digest.FromString(definition)
	return NewKey(definition, inputs, parent), Record{
		Result:     Result{Layer: layer.Layer{Descriptor: desc, DiffID: diffID}, ChainID: ChainID(parent, diffID)},
		Definition: definition, Inputs: inputs,
	}
}

func TestCache(t *testing.T) {
	s := local.Open(t.TempDir(), local.Options{})
	dir := filepath.Join(t.TempDir(), "build")
	c := Open(dir)
	parent := digest.FromString("parent")
	key, rec := stored(t, s, "run.v1 {}", []string{"a", "b"}, parent)
	if _, err := c.Get(t.Context(), key, s, pins{}); !errdefs.IsNotFound(err) || c.Known(key.Op) {
		t.Errorf("an empty cache: %v, known %v", err, c.Known(key.Op))
	}
	must(t, c.Put(key, rec))
	got, err := c.Get(t.Context(), key, s, pins{})
	if err != nil || got.ChainID != rec.ChainID || got.Layer.Descriptor.Digest != rec.Layer.Descriptor.Digest {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, k := range map[string]Key{
		"definition":    NewKey("run.v1 {x}", rec.Inputs, parent),
		"inputs":        NewKey(rec.Definition, []string{"a", "c"}, parent),
		"joined inputs": NewKey(rec.Definition, []string{"ab"}, parent),
		"parent":        NewKey(rec.Definition, rec.Inputs, digest.FromString("other")),
		"no parent":     NewKey(rec.Definition, rec.Inputs, ""),
	} {
		if _, err := c.Get(t.Context(), k, s, pins{}); !errdefs.IsNotFound(err) {
			t.Errorf("another %s: got %v", name, err)
		}
	}
	if !c.Known(NewKey(rec.Definition, rec.Inputs, "").Op) {
		t.Error("an operation with another parent is not known")
	}
	if err := c.Put(NewKey("other", nil, parent), rec); !errdefs.IsCorrupt(err) {
		t.Errorf("a record under another key: %v", err)
	}
}

func TestUseIsSeen(t *testing.T) {
	s := local.Open(t.TempDir(), local.Options{})
	c := Open(t.TempDir())
	key, rec := stored(t, s, "d", nil, "")
	must(t, c.Put(key, rec))
	must(t, os.Chtimes(c.path(key), time.Unix(5, 0), time.Unix(5, 0)))
	_, err := c.Get(t.Context(), key, s, pins{})
	must(t, err)
	if info, err := os.Stat(c.path(key)); err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("%v, %v", info.ModTime(), err)
	}
}

// TestDamage: whatever the file holds, it is a miss.
func TestDamage(t *testing.T) {
	s := local.Open(t.TempDir(), local.Options{})
	c := Open(t.TempDir())
	key, rec := stored(t, s, "d", nil, "")
	must(t, c.Put(key, rec))
	whole, err := os.ReadFile(c.path(key))
	must(t, err)
	good := string(whole)
	for _, bad := range []string{
		"", "{", "null", "[]", good[:len(good)/2], strings.Replace(good, rec.ChainID.String(), digest.FromString("x").String(), 1),
		strings.Replace(good, rec.Layer.Descriptor.Digest.String(), "sha256:zz", 1), strings.Replace(good, `"size":`, `"size":1`, 1),
	} {
		must(t, os.WriteFile(c.path(key), []byte(bad), 0o644))
		if _, err := c.Get(t.Context(), key, s, pins{}); !errdefs.IsNotFound(err) {
			t.Errorf("%.60q: got %v", bad, err)
		}
	}
	must(t, os.Remove(c.path(key)))
	must(t, os.Mkdir(c.path(key), 0o755))
	if _, err := c.Get(t.Context(), key, s, pins{}); !errdefs.IsNotFound(err) {
		t.Errorf("a directory: got %v", err)
	}
}

func TestPrune(t *testing.T) {
	s := local.Open(t.TempDir(), local.Options{})
	dir := t.TempDir()
	c := Open(dir)
	keep, keepRec := stored(t, s, "keep", nil, "")
	gone, goneRec := stored(t, s, "gone", nil, "")
	must(t, c.Put(keep, keepRec))
	must(t, c.Put(gone, goneRec))
	must(t, os.WriteFile(c.path(keep)+".tmp", []byte("half"), 0o644))
	must(t, s.Delete(t.Context(), goneRec.Layer.Descriptor.Digest))
	must(t, c.Prune(t.Context(), s))
	if _, err := c.Get(t.Context(), keep, s, pins{}); err != nil {
		t.Errorf("a record with a layer was removed: %v", err)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	inside, err := os.ReadDir(filepath.Join(dir, keep.Op.Encoded()))
	must(t, err)
	if len(entries) != 1 || len(inside) != 1 {
		t.Errorf("left: %v, %v", entries, inside)
	}
	must(t, Open(filepath.Join(dir, "nothing")).Prune(t.Context(), s))
}

func TestAge(t *testing.T) {
	s := local.Open(t.TempDir(), local.Options{})
	c := Open(t.TempDir())
	young, youngRec := stored(t, s, "young", nil, "")
	old, oldRec := stored(t, s, "old", nil, "")
	must(t, c.Put(young, youngRec))
	must(t, c.Put(old, oldRec))
	must(t, os.Chtimes(c.path(old), time.Unix(5, 0), time.Unix(5, 0)))
	seen := func() (out string) {
		must(t, c.Each(t.Context(), func(r Record, used time.Time) error {
			out += r.Definition + " "
			if r.Definition == "old" && used.Unix() != 5 {
				t.Errorf("the old record was used at %v", used)
			}
			return nil
		}))
		return out
	}
	if got := seen(); len(got) != len("young old ") {
		t.Errorf("got %q", got)
	}
	for _, dryRun := range []bool{true, false} {
		if n, err := c.Expire(t.Context(), time.Unix(6, 0), dryRun); err != nil || n != 1 {
			t.Errorf("dry run %v: %d expired, %v", dryRun, n, err)
		}
	}
	if got := seen(); got != "young " {
		t.Errorf("left: %q", got)
	}
	if c.Known(old.Op) {
		t.Error("the directory of an expired record is left")
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"layer":{"descriptor":{"digest":"sha256:x"}},"chainID":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Open(t.TempDir())
		key := NewKey("d", nil, "")
		must(t, os.MkdirAll(filepath.Dir(c.path(key)), 0o755))
		must(t, os.WriteFile(c.path(key), data, 0o644))
		if _, err := c.Get(t.Context(), key, local.Open(t.TempDir(), local.Options{}), pins{}); !errdefs.IsNotFound(err) {
			t.Fatalf("got %v", err)
		}
	})
}
