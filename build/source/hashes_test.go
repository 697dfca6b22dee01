package source

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// session is a build's use of a context: it returns the digest and how many files were hashed.
func session(t *testing.T, cacheDir, dir string, opened time.Time) (string, int) {
	t.Helper()
	h, err := OpenHashes(cacheDir, dir)
	must(t, err)
	tr := open(t, dir, Options{Hashes: h})
	if !opened.IsZero() {
		tr.opened = opened
	}
	ms, err := tr.Match(t.Context(), ".")
	must(t, err)
	known := 0
	must(t, tr.Walk(t.Context(), ms[0], func(_ string, e *Entry) error {
		if e.Type() == unix.S_IFREG && h.lookup(e) {
			known++
		}
		return nil
	}))
	all := 0
	d, err := tr.Digest(t.Context(), ms)
	must(t, err)
	must(t, tr.Walk(t.Context(), ms[0], func(_ string, e *Entry) error {
		if e.Type() == unix.S_IFREG {
			all++
		}
		return nil
	}))
	must(t, h.Save())
	return d.String(), all - known
}

func TestHashes(t *testing.T) {
	cache := t.TempDir()
	dir := files(t, map[string]string{"a": "1", "b": "2", "d/c": "3"})
	later := time.Now().Add(time.Hour) // as if the files were old
	first, n := session(t, cache, dir, later)
	if n != 3 {
		t.Errorf("the first time %d files were hashed, want 3", n)
	}
	second, n := session(t, cache, dir, later)
	if n != 0 || second != first {
		t.Errorf("the second time %d files were hashed, digest %s, want 0 and %s", n, second, first)
	}
	// Same size, and the time put back: the ctime tells.
	name := filepath.Join(dir, "a")
	info, err := os.Stat(name)
	must(t, err)
	must(t, os.WriteFile(name, []byte("9"), 0o644))
	must(t, os.Chtimes(name, info.ModTime(), info.ModTime()))
	third, n := session(t, cache, dir, later)
	if n != 1 || third == first {
		t.Errorf("after a change %d files were hashed, digest %s", n, third)
	}
	if _, n := session(t, cache, dir, later); n != 0 {
		t.Errorf("then %d files were hashed, want 0", n)
	}
	// Another directory has its own file.
	if _, n := session(t, cache, files(t, map[string]string{"a": "1"}), later); n != 1 {
		t.Errorf("in another context %d files were hashed, want 1", n)
	}
	if entries, err := os.ReadDir(cache); err != nil || len(entries) != 2 {
		t.Errorf("%d files in the cache, %v, want 2", len(entries), err)
	}
}

// TestRacy: a file that was written just now could be written again with the same times.
func TestRacy(t *testing.T) {
	cache := t.TempDir()
	dir := files(t, map[string]string{"a": "1"})
	written := time.Now()
	session(t, cache, dir, written)
	if _, n := session(t, cache, dir, written); n != 1 {
		t.Error("a file that was written when the tree was opened was trusted")
	}
	must(t, os.Chtimes(filepath.Join(dir, "a"), time.Unix(5, 0), time.Unix(5, 0)))
	session(t, cache, dir, time.Now())
	if _, n := session(t, cache, dir, time.Now()); n != 1 {
		t.Error("a file with an old mtime and a ctime of now was trusted")
	}
}

func TestDamagedHashes(t *testing.T) {
	cache := t.TempDir()
	dir := files(t, map[string]string{"a": "1", "b": "2"})
	later := time.Now().Add(time.Hour)
	want, _ := session(t, cache, dir, later)
	entries, err := os.ReadDir(cache)
	must(t, err)
	name := filepath.Join(cache, entries[0].Name())
	whole, err := os.ReadFile(name)
	must(t, err)
	for _, damage := range []func([]byte) []byte{
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { b[len(b)-10] ^= 1; return b },
		func(b []byte) []byte { return nil },
		func(b []byte) []byte { return append(b, b...) },
		func(b []byte) []byte { b[0] = 'x'; return b },
	} {
		must(t, os.WriteFile(name, damage(append([]byte(nil), whole...)), 0o644))
		if got, n := session(t, cache, dir, later); got != want || n != 2 {
			t.Errorf("with a damaged file %d files were hashed, digest %s, want 2 and %s", n, got, want)
		}
	}
}

// TestHashesForget: records of files that are gone do not pile up.
func TestHashesForget(t *testing.T) {
	h := &Hashes{path: filepath.Join(t.TempDir(), "h")}
	for round := range 20 {
		for i := range 1000 {
			e := Entry{Ino: uint64(round*1000 + i), hashed: true, Mtime: 1, Ctime: 1}
			h.add(&e, time.Now())
		}
		must(t, h.Save())
		data, err := os.ReadFile(h.path)
		must(t, err)
		h = &Hashes{path: h.path, old: parseHashes(data)}
		h.used = make([]uint64, len(h.old)/recordSize/64+1)
	}
	if n := len(h.old) / recordSize; n < 1000 || n > 8000 {
		t.Errorf("%d records are kept of 20 times 1,000", n)
	}
}

func FuzzParseHashes(f *testing.F) {
	f.Add([]byte(hashesMagic))
	f.Add([]byte(hashesMagic + "\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r := parseHashes(data); len(r)%recordSize != 0 {
			t.Fatalf("%d bytes of records", len(r))
		}
		h := &Hashes{old: parseHashes(data)}
		h.used = make([]uint64, len(h.old)/recordSize/64+1)
		h.lookup(&Entry{Ino: 5})
		h.merge()
	})
}

func FuzzIgnore(f *testing.F) {
	f.Add("*.md\n!README.md", "docs/README.md")
	f.Add("\ufeff# c\n\n /a \n!\t/b\r\n**/[x-z]?", "a")
	f.Fuzz(func(t *testing.T, text, name string) {
		file, err := ParseIgnore("f", []byte(text))
		if err != nil {
			return
		}
		if len(file.Lines) != len(file.Patterns) {
			t.Fatalf("%d lines of %d patterns", len(file.Lines), len(file.Patterns))
		}
		ig, err := newIgnore(file)
		if err != nil || ig == nil {
			return
		}
		if ig.excluded(name) != (ig.by(name) != "") {
			t.Fatalf("by %q", ig.by(name))
		}
		if _, _, err := ig.info(name); err != nil {
			t.Skip()
		}
		ig.mayHaveExceptions(name)
	})
}
