package index_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/layer/index"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/go-digest"
)

type member struct {
	h    tar.Header
	data string
}

func tarOf(tb testing.TB, members ...member) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		m.h.Size = int64(len(m.data))
		if m.h.Typeflag == 0 {
			m.h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(&m.h); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, m.data); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func reg(name, data string) member { return member{tar.Header{Name: name, Mode: 0o644}, data} }

func dirOf(name string) member {
	return member{h: tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}}
}

// lines is an index in a form that people compare.
func lines(x *index.Index) (out []string) {
	for i := range x.Entries {
		e := &x.Entries[i]
		s := fmt.Sprintf("%c %04o %d:%d %s", e.Kind, e.Mode, e.UID, e.GID, e.Path)
		if e.Link != "" {
			s += " -> " + e.Link
		}
		if e.Kind == index.Reg {
			s += fmt.Sprintf(" %d %x", e.Size, e.Sum[:2])
		}
		if e.Major+e.Minor > 0 {
			s += fmt.Sprintf(" %d,%d", e.Major, e.Minor)
		}
		if len(e.Xattrs) > 0 {
			s += fmt.Sprint(" ", e.Xattrs)
		}
		out = append(out, s)
	}
	return out
}

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		members []member
		want    []string
	}{
		"kinds": {[]member{
			dirOf("./d"), reg("/d/a", "a"),
			{h: tar.Header{Name: "d/hard", Typeflag: tar.TypeLink, Linkname: "/d/a"}},
			{h: tar.Header{Name: "d/soft", Typeflag: tar.TypeSymlink, Linkname: "../x", Mode: 0o777}},
			{h: tar.Header{Name: "d/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}},
			{h: tar.Header{Name: "d/pipe", Typeflag: tar.TypeFifo, Mode: 0o600, Uid: 7, Gid: 8}},
			{tar.Header{Name: "d/ping", Mode: 0o4755, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}, "p"},
		}, []string{
			"5 0755 0:0 d", "0 0644 0:0 d/a 1 ca97", "1 0000 0:0 d/hard -> d/a", "3 0666 0:0 d/null 1,3",
			"0 4755 0:0 d/ping 1 148d map[user.a:b]", "6 0600 7:8 d/pipe", "2 0777 0:0 d/soft -> ../x",
		}},
		"marks": {[]member{
			reg("d/.wh.gone", ""), reg("d/.wh..wh..opq", ""), reg("d/.wh..wh.plnk", ""), reg(".wh.top", ""), reg(".wh..wh..opq", ""), reg("d/gone", "back"),
		}, []string{"o 0000 0:0 .", "o 0000 0:0 d", "w 0000 0:0 d/gone", "0 0644 0:0 d/gone 4 3c48", "w 0000 0:0 top"}},
		"the last one counts": {[]member{
			dirOf("d"), reg("d/a", "1"), reg("d/a", "22"), reg("d.x", ""), reg("d", "now a file"), reg("e", "x"), dirOf("e"), reg("e/f", ""),
		}, []string{"0 0644 0:0 d 10 92af", "0 0644 0:0 d.x 0 e3b0", "5 0755 0:0 e", "0 0644 0:0 e/f 0 e3b0"}},
		"order": {[]member{reg("b", ""), reg("a.b", ""), reg("a/c", ""), dirOf("a"), dirOf(".")},
			[]string{"5 0755 0:0 .", "5 0755 0:0 a", "0 0644 0:0 a/c 0 e3b0", "0 0644 0:0 a.b 0 e3b0", "0 0644 0:0 b 0 e3b0"}},
	} {
		x, err := index.Read(bytes.NewReader(tarOf(t, c.members...)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, lines(x)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		back, err := index.Parse(x.Marshal("sha256:x"), "sha256:x")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(x, back, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s, kept and read back (-want +got):\n%s", name, diff)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good := tarOf(t, reg("a", strings.Repeat("x", 2000)))
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		r  io.Reader
		is func(error) bool
	}{
		"a name that climbs":  {bytes.NewReader(tarOf(t, reg("../a", ""))), errdefs.IsInvalid},
		"a whiteout of dots":  {bytes.NewReader(tarOf(t, reg("a/.wh...", ""))), errdefs.IsInvalid},
		"a truncated tar":     {bytes.NewReader(good[:1500]), errdefs.IsCorrupt},
		"garbage":             {strings.NewReader(strings.Repeat("garbage", 200)), errdefs.IsCorrupt},
		"a reader that fails": {io.MultiReader(bytes.NewReader(good[:1000]), iotest.ErrReader(boom)), func(err error) bool { return errors.Is(err, boom) }},
	} {
		if x, err := index.Read(c.r); !c.is(err) {
			t.Errorf("%s: %v, %v", name, x, err)
		}
	}
}

// TestRandom compares the index of random layers with a walk over the tar that keeps everything in a map.
func TestRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var members []member
		want := map[string]string{}
		names := []string{"a", "b", "c.d", "a b", "ü", "z"}
		random := func() string {
			p := names[rnd.IntN(len(names))]
			for rnd.IntN(3) > 0 && strings.Count(p, "/") < 5 {
				p = path.Join(p, names[rnd.IntN(len(names))])
			}
			return p
		}
		for range rnd.IntN(60) {
			m := member{h: tar.Header{Name: random(), Mode: int64(rnd.IntN(0o10000)), Uid: rnd.IntN(3) * 1000, ModTime: time.Unix(int64(rnd.IntN(3)), int64(rnd.IntN(2))*500), Format: tar.FormatPAX}}
			key := m.h.Name
			switch rnd.IntN(6) {
			case 0:
				m.h.Typeflag, m.h.Linkname = tar.TypeSymlink, random()
			case 1:
				key = m.h.Name + " (gone)"
				m.h = tar.Header{Name: path.Join(path.Dir(m.h.Name), ".wh."+path.Base(m.h.Name))}
			case 2:
				m.h.Typeflag = tar.TypeDir
			default:
				m.data = strings.Repeat("x", rnd.IntN(2000))
			}
			if m.h.Typeflag != tar.TypeDir && !strings.HasSuffix(key, " (gone)") {
				for k := range want {
					if strings.HasPrefix(k, key+"/") {
						m.h.Name = "" // a directory with something in it becomes a file: a test of its own has that
					}
				}
			}
			if m.h.Name == "" {
				continue
			}
			if strings.HasSuffix(key, " (gone)") {
				want[key] = ""
			} else {
				want[key] = fmt.Sprint(m.h.Typeflag, m.h.Mode, m.h.Uid, m.h.ModTime.UnixNano(), m.h.Linkname, sha256.Sum256([]byte(m.data)))
			}
			members = append(members, m)
		}
		x, err := index.Read(bytes.NewReader(tarOf(t, members...)))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(x.Entries, func(a, b index.Entry) int { return index.Compare(a.Path, b.Path) }) {
			t.Fatal("not sorted")
		}
		got := map[string]string{}
		for _, e := range x.Entries {
			if e.Kind == index.Whiteout {
				got[e.Path+" (gone)"] = ""
				continue
			}
			if !e.HasSum {
				e.Sum = sha256.Sum256(nil)
			}
			typ := byte(e.Kind)
			if e.Kind == index.Reg {
				typ = 0
			}
			got[e.Path] = fmt.Sprint(typ, e.Mode, e.UID, e.Time().UnixNano(), e.Link, e.Sum)
			if l := x.Lookup(e.Path); l == nil || l.Path != e.Path || l.Kind != e.Kind {
				t.Errorf("Lookup(%q) = %v", e.Path, l)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		back, err := index.Parse(x.Marshal("d"), "d")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(x, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
	}
}

func TestStore(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "layers")
	s := index.Open(dir)
	blobs := local.Open(t.TempDir(), local.Options{})
	produce := func(w io.Writer, known index.Known) error {
		a := archive.NewWriter(w, archive.WriterOptions{})
		known("told", [32]byte{1})
		for _, name := range []string{"file", "told"} {
			if err := a.Add(archive.Entry{Name: name, Type: archive.TypeReg, Mode: 0o644, Size: 4}, strings.NewReader("data")); err != nil {
				return err
			}
		}
		return a.Close()
	}
	var none *index.Store
	plain, err := none.Write(ctx, blobs, layer.WriteOptions{}, produce)
	if err != nil {
		t.Fatal(err)
	}
	var tee bytes.Buffer
	l, err := s.Write(ctx, blobs, layer.WriteOptions{}, produce, &tee)
	if err != nil || l.DiffID != plain.DiffID || l.DiffID != digest.FromBytes(tee.Bytes()) {
		t.Fatalf("%+v, %v; without indexes %+v", l, err, plain)
	}
	x, err := s.Get(l.DiffID)
	if err != nil {
		t.Fatal(err)
	}
	if f := x.Lookup("file"); f == nil || f.Digest() != digest.FromString("data") {
		t.Errorf("file: %+v", f)
	}
	if f := x.Lookup("told"); f == nil || f.Sum != [32]byte{1} {
		t.Errorf("told: %+v", f)
	}
	if x.Lookup("fil") != nil || x.Lookup("filf") != nil {
		t.Error("found what is not there")
	}
	file := filepath.Join(dir, "sha256-"+l.DiffID.Encoded())
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Damaged, cut, and that of another layer: as if there were none, and made again.
	for _, bad := range [][]byte{nil, data[:len(data)-1], append([]byte("x"), data...), x.Marshal(digest.FromString("other")), append(data[:30:30], append([]byte{data[30] ^ 1}, data[31:]...)...)} {
		if err := os.WriteFile(file, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(l.DiffID); !errdefs.IsNotFound(err) {
			t.Errorf("damaged: %v", err)
		}
		x, err := s.Of(ctx, blobs, l.Descriptor, l.DiffID)
		if err != nil || x.Lookup("told").Digest() != digest.FromString("data") {
			t.Errorf("made again: %v", err)
		}
		if _, err := s.Get(l.DiffID); err != nil {
			t.Errorf("not kept: %v", err)
		}
	}
	if _, err := s.Of(ctx, blobs, l.Descriptor, digest.FromString("another diffID")); !errdefs.IsCorrupt(err) {
		t.Errorf("a layer that is not what it is said to be: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
	if _, err := s.Get("../../x"); !errdefs.IsInvalid(err) {
		t.Errorf("a name that is no digest: %v", err)
	}
}

func TestWriteWithoutIndex(t *testing.T) {
	s := index.Open(t.TempDir())
	blobs := local.Open(t.TempDir(), local.Options{})
	// What is no tar is a layer all the same, as far as layer.Write is concerned: it has no index.
	l, err := s.Write(t.Context(), blobs, layer.WriteOptions{}, func(w io.Writer, _ index.Known) error {
		_, err := io.WriteString(w, strings.Repeat("no tar", 1<<20))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(l.DiffID); !errdefs.IsNotFound(err) {
		t.Errorf("%v", err)
	}
	boom := errors.New("boom")
	if _, err := s.Write(t.Context(), blobs, layer.WriteOptions{}, func(io.Writer, index.Known) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
}

func TestExpire(t *testing.T) {
	dir := t.TempDir()
	s := index.Open(dir)
	old, young := digest.FromString("old"), digest.FromString("young")
	for _, d := range []digest.Digest{old, young} {
		if err := s.Put(d, &index.Index{}); err != nil {
			t.Fatal(err)
		}
	}
	week := time.Now().Add(-7 * 24 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "sha256-"+old.Encoded()), week, week); err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-24 * time.Hour)
	for _, dry := range []bool{true, false} {
		if n, err := s.Expire(before, dry); n != 1 || err != nil {
			t.Errorf("dry %t: %d, %v", dry, n, err)
		}
	}
	if n, err := s.Expire(before, false); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	if _, err := s.Get(young); err != nil {
		t.Error(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "sha256-"+young.Encoded()), week, week); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(young); err != nil {
		t.Error(err)
	}
	if n, err := s.Expire(before, false); n != 0 || err != nil {
		t.Errorf("one that was used just now: %d, %v", n, err)
	}
	if n, err := index.Open(filepath.Join(dir, "none")).Expire(before, false); n != 0 || err != nil {
		t.Errorf("no directory: %d, %v", n, err)
	}
}

func FuzzParse(f *testing.F) {
	x, err := index.Read(bytes.NewReader(tarOf(f, dirOf("d"), reg("d/a", "a"), reg("d/.wh.b", ""),
		member{h: tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "d"}},
		member{tar.Header{Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}, "p"})))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(x.Marshal("sha256:x"))
	f.Add((&index.Index{}).Marshal(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		// The checksum is put right, so that the rest is reached.
		if len(data) > 4 {
			data = index.Seal(data[:len(data)-4])
		}
		x, err := index.Parse(data, "")
		if err != nil {
			if !errdefs.IsCorrupt(err) {
				t.Fatal(err)
			}
			return
		}
		back, err := index.Parse(x.Marshal("d"), "d")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(x, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add(tarOf(f, dirOf("d"), reg("d/a", "a"), reg("d/.wh.b", ""), reg("d", "")))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := index.Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		back, err := index.Parse(x.Marshal("d"), "d")
		if err != nil {
			t.Fatal(err)
		}
		if len(back.Entries) != len(x.Entries) {
			t.Fatal("lost entries")
		}
	})
}

// big is an index of so many entries, as those of a distribution are.
func big(n int) *index.Index {
	rnd := rand.New(rand.NewPCG(1, 1))
	x := &index.Index{}
	for i := range n {
		e := index.Entry{Path: fmt.Sprintf("usr/lib/python3/dist-packages/package%03d/module_%05d.py", i/100, i), Kind: index.Reg, Mode: 0o644, Size: rnd.Int64N(100_000), Sec: 1_700_000_000, HasSum: true}
		for j := range e.Sum {
			e.Sum[j] = byte(rnd.IntN(256))
		}
		x.Entries = append(x.Entries, e)
	}
	return x
}

func BenchmarkParse(b *testing.B) {
	data := big(60_000).Marshal("d")
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := index.Parse(data, "d"); err != nil {
			b.Fatal(err)
		}
	}
}
