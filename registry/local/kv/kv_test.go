package kv

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/camada/camada/errdefs"
)

var small = Options{SegmentBytes: 64 << 10, MemoryBytes: 32 << 10}

func open(t *testing.T, dir string, opts Options) *DB {
	t.Helper()
	d, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// value is what the model has: head and body, "-" is no body.
type value struct{ head, body string }

func (v value) put(b *Batch, key string) {
	if v.body == "-" {
		b.Put([]byte(key), []byte(v.head))
	} else {
		b.PutBody([]byte(key), []byte(v.head), []byte(v.body))
	}
}

// compare checks that a map is the model.
func compare(t *testing.T, d *DB, model map[string]value, keys int) {
	t.Helper()
	read := func(e Entry) value {
		b, err := d.Body(e)
		check(t, err)
		if b == nil {
			return value{string(e.Head), "-"}
		}
		return value{string(e.Head), string(b)}
	}
	for i := range keys {
		k := fmt.Sprintf("key%05d", i)
		e, ok, err := d.Get([]byte(k))
		check(t, err)
		want, there := model[k]
		if ok != there || ok && read(e) != want {
			t.Fatalf("%s: %v, want %v", k, ok, there)
		}
	}
	want := slices.Sorted(maps.Keys(model))
	for _, r := range [][2]string{{"", ""}, {"key00100", "key00200"}, {"key00150x", ""}, {"zzz", ""}} {
		var to []byte
		if r[1] != "" {
			to = []byte(r[1])
		}
		var got []string
		check(t, d.Scan([]byte(r[0]), to, func(e Entry) error {
			got = append(got, string(e.Key))
			if v := read(e); v != model[string(e.Key)] {
				t.Fatalf("scan: %s has another value", e.Key)
			}
			return nil
		}))
		w := slices.DeleteFunc(slices.Clone(want), func(k string) bool { return k < r[0] || to != nil && k >= r[1] })
		if !slices.Equal(got, w) {
			t.Fatalf("scan from %q to %q: %d keys, want %d", r[0], r[1], len(got), len(w))
		}
	}
}

// copyDir is what a machine that stops leaves, when all was synced: a copy of the files of a map that is open.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	list, err := os.ReadDir(from)
	check(t, err)
	for _, e := range list {
		if e.Name() == "reserve" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		check(t, err)
		check(t, os.WriteFile(filepath.Join(to, e.Name()), b, 0o600))
	}
	return to
}

// TestModel: the map is what a Go map is, over flushes, merges, collections, reopenings and kills.
func TestModel(t *testing.T) {
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 7))
		dir := t.TempDir()
		d := open(t, dir, small)
		model := map[string]value{}
		const keys = 600
		for round := range 8 {
			for range 200 {
				var b Batch
				for range 1 + r.IntN(8) {
					k := fmt.Sprintf("key%05d", r.IntN(keys))
					switch r.IntN(4) {
					case 0:
						b.Delete([]byte(k))
						delete(model, k)
					case 1:
						v := value{fmt.Sprint(r.Uint64()), strings.Repeat("b", r.IntN(300))}
						v.put(&b, k)
						model[k] = v
					default:
						v := value{strings.Repeat("h", r.IntN(100)), "-"}
						v.put(&b, k)
						model[k] = v
					}
				}
				_, err := d.Write(&b)
				check(t, err)
			}
			compare(t, d, model, keys)
			switch round % 4 {
			case 0:
				check(t, d.Close())
				d = open(t, dir, small)
			case 1:
				check(t, d.Close()) // a killed one leaves the same, or less
				dir = copyDir(t, dir)
				d = open(t, dir, small)
			case 2:
				_, err := d.Collect(t.Context())
				check(t, err)
			}
			compare(t, d, model, keys)
		}
		d.mu.RLock()
		tables := len(d.version.tables)
		d.mu.RUnlock()
		if tables == 0 || tables > 4*mergeAt {
			t.Errorf("%d tables at the end", tables)
		}
		check(t, d.Close())
		list, err := filepath.Glob(filepath.Join(dir, "*"))
		check(t, err)
		if len(list) > 60 {
			t.Errorf("%d files are left: %v", len(list), list)
		}
	}
}

// TestConcurrent: many write and read at once, and each sees what it wrote.
func TestConcurrent(t *testing.T) {
	d := open(t, t.TempDir(), small)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 400 {
				k := fmt.Appendf(nil, "w%d-%d", w, i)
				var b Batch
				b.PutBody(k, k, bytes.Repeat(k, 10))
				b.Put(fmt.Appendf(nil, "last%d", w), k)
				seq, err := d.Write(&b)
				if err == nil && i%20 == 0 {
					err = d.Sync(seq)
				}
				if err != nil {
					t.Error(err)
					return
				}
				e, ok, err := d.Get(fmt.Appendf(nil, "last%d", w))
				if err != nil || !ok || !bytes.Equal(e.Head, k) {
					t.Errorf("last of %d: %q, %v, %v", w, e.Head, ok, err)
				}
				old := fmt.Appendf(nil, "w%d-%d", w, i/2)
				e, ok, err = d.Get(old)
				if err != nil || !ok {
					t.Errorf("%s: %v, %v", old, ok, err)
					return
				}
				if body, err := d.Body(e); err != nil || !bytes.Equal(body, bytes.Repeat(old, 10)) {
					t.Errorf("the body of %s: %q, %v", old, body, err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			if _, err := d.Collect(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	n := 0
	check(t, d.Scan([]byte("w"), []byte("x"), func(Entry) error { n++; return nil }))
	if n != 8*400 {
		t.Errorf("%d keys, want %d", n, 8*400)
	}
}

// TestTorn: whatever a stop of the machine leaves of the journal's end, what was before it is there, and the map goes on.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, small)
	var ends []int64
	for i := range 20 {
		var b Batch
		b.PutBody(fmt.Appendf(nil, "key%05d", i), []byte("head"), bytes.Repeat([]byte{byte(i)}, 100))
		_, err := d.Write(&b)
		check(t, err)
		ends = append(ends, d.journal.end)
	}
	name := filepath.Base(d.journal.now.file.Name())
	for cut := ends[17] - 3; cut < ends[19]; cut += 29 {
		for _, garbage := range []bool{false, true} {
			torn := copyDir(t, dir)
			f, err := os.OpenFile(filepath.Join(torn, name), os.O_RDWR, 0)
			check(t, err)
			if garbage {
				_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, 3000), cut)
			} else {
				err = f.Truncate(cut)
			}
			check(t, err)
			f.Close()
			for again := range 2 {
				got, err := Open(torn, small)
				check(t, err)
				n := 0
				check(t, got.Scan(nil, []byte("l"), func(e Entry) error {
					b, err := got.Body(e)
					if string(e.Key) != fmt.Sprintf("key%05d", n) || err != nil || !bytes.Equal(b, bytes.Repeat([]byte{byte(n)}, 100)) {
						t.Errorf("%s: %q, %v", e.Key, b, err)
					}
					n++
					return nil
				}))
				want, _ := slices.BinarySearch(ends, cut+1)
				if n != want {
					t.Errorf("cut at %d: %d keys, want %d", cut, n, want)
				}
				var b Batch
				b.Put([]byte("new"), nil)
				_, err = got.Write(&b)
				check(t, err)
				if _, ok, _ := got.Get([]byte("new")); !ok || again == 1 && n != want {
					t.Error("it does not go on")
				}
				check(t, got.Close())
			}
		}
	}
}

// TestDamage: what is damaged is told, not taken for the end.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, small)
	for i := range 3000 {
		var b Batch
		b.PutBody(fmt.Appendf(nil, "key%05d", i), []byte("head"), make([]byte, 50))
		_, err := d.Write(&b)
		check(t, err)
	}
	check(t, d.Close())
	damage := func(pattern string, at int64) error {
		bad := copyDir(t, dir)
		found, err := filepath.Glob(filepath.Join(bad, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		f, err := os.OpenFile(found[0], os.O_RDWR, 0)
		check(t, err)
		defer f.Close()
		fi, err := f.Stat()
		check(t, err)
		if at < 0 {
			at += fi.Size()
		}
		_, err = f.WriteAt([]byte{0xff, 0xff, 0xff}, at)
		check(t, err)
		got, err := Open(bad, small)
		if err != nil {
			return err
		}
		defer got.Close()
		return got.Scan(nil, nil, func(Entry) error { return nil })
	}
	for what, err := range map[string]error{
		"a block":             damage("*.tab", 100),
		"the index":           damage("*.tab", -300),
		"the end of a footer": damage("*.tab", -3),
		"the footer":          damage("*.tab", -40),
		"the state":           damage("state", 1),
	} {
		if !errdefs.IsCorrupt(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check(t, os.Remove(must(filepath.Glob(filepath.Join(dir, "*.tab")))[0]))
	if _, err := Open(dir, small); !errdefs.IsNotFound(err) {
		t.Errorf("a table is gone: %v", err)
	}
}

func must(list []string, _ error) []string { return list }

func FuzzRecord(f *testing.F) {
	var b Batch
	b.PutBody([]byte("key"), []byte("head"), []byte("body"))
	b.Delete([]byte("x"))
	buf, _ := b.encode(make([]byte, recHeader), 1)
	f.Add(buf[recHeader:])
	f.Add([]byte{opBody, 1, 'a', 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := decode(append(make([]byte, recHeader), data...), recHeader, 1)
		if err != nil && !errdefs.IsCorrupt(err) {
			t.Error(err)
		}
		for _, e := range entries {
			if e.BodySize >= 0 && e.body.offset+e.BodySize > int64(len(data)+recHeader) {
				t.Error("a body lies outside")
			}
		}
	})
}

func FuzzBlock(f *testing.F) {
	var block, last []byte
	for i := range 10 {
		e := Entry{Key: fmt.Appendf(nil, "key%d", i), Head: []byte("head"), BodySize: int64(i) - 1, deleted: i == 5}
		block = appendEntry(block, last, &e)
		last = e.Key
	}
	f.Add(block)
	f.Fuzz(func(t *testing.T, data []byte) {
		r := blockReader{parser: parser{buf: data}}
		var e Entry
		for n := 0; r.next(&e); n++ {
			if n > len(data) {
				t.Fatal("it does not end")
			}
		}
		_, _, err := findIn(data, []byte("key3"))
		if err != nil && !errdefs.IsCorrupt(err) {
			t.Error(err)
		}
	})
}
