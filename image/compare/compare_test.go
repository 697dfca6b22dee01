package compare_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/compare"
)

type entry struct {
	tar.Header
	body string
}

func reg(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: time.Unix(100, 0)}, body}
}

func dir(name string) entry {
	return entry{tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(100, 0)}, ""}
}

func layer(t *testing.T, entries ...entry) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.body))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func changes(t *testing.T, a, b *bytes.Buffer) []compare.Change {
	t.Helper()
	var out []compare.Change
	err := compare.Layers(t.Context(), a, b, compare.Options{}, func(c compare.Change) error {
		out = append(out, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSame(t *testing.T) {
	l := []entry{dir("a"), reg("a/.wh.gone", ""), reg("a/-first", "x"), reg("a/b", "y"), dir("a.d"), reg("a.d/z", "z")}
	if got := changes(t, layer(t, l...), layer(t, l...)); got != nil {
		t.Errorf("got %+v", got)
	}
}

func TestAttributes(t *testing.T) {
	other := reg("f", "one")
	other.Mode, other.Uid, other.ModTime = 0o4755, 1000, time.Unix(101, 5)
	other.Format = tar.FormatPAX // has fractions of seconds
	other.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00"}
	link := func(to string) entry {
		return entry{tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777, ModTime: time.Unix(100, 0)}, ""}
	}
	pipe := entry{tar.Header{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o644, ModTime: time.Unix(100, 0)}, ""}
	got := changes(t, layer(t, reg("f", "one"), link("a"), reg("only1", ""), reg("p", "")), layer(t, reg(".wh.x", ""), other, link("b"), pipe))
	want := []compare.Change{
		{Path: "/x", Kind: compare.OnlyInSecond, Whiteout: true},
		{Path: "/f", Kind: compare.Changed, Type: "file", Fields: []compare.Field{
			{Name: "mode", First: "0644", Second: "4755"}, {Name: "owner", First: "0:0", Second: "1000:0"},
			{Name: "time", First: "1970-01-01T00:01:40Z", Second: "1970-01-01T00:01:41.000000005Z"},
			{Name: "xattr security.capability", First: "", Second: `"\x01\x00"`}}},
		{Path: "/l", Kind: compare.Changed, Type: "symlink", Fields: []compare.Field{{Name: "link", First: "a", Second: "b"}}},
		{Path: "/only1", Kind: compare.OnlyInFirst, Type: "file"},
		{Path: "/p", Kind: compare.Changed, Type: "fifo", Fields: []compare.Field{{Name: "type", First: "file", Second: "fifo"}}},
	}
	if !reflect.DeepEqual(got, want) {
		g, _ := json.MarshalIndent(got, "", " ")
		t.Errorf("got %s", g)
	}
}

func TestRanges(t *testing.T) {
	a := []byte(strings.Repeat("0123456789abcdef", 20_000))
	b := bytes.Clone(a)
	b[3] = 'X'                    // near the start
	copy(b[100:], "YYYY")         // one run
	b[200], b[206] = 'Z', 'Z'     // near enough to be one
	b[65535], b[65536] = 'B', 'B' // across a block
	b[131072] = 'C'               // first of a block: what is shown begins in the one before
	got := changes(t, layer(t, reg("f", string(a))), layer(t, reg("f", string(b)+"tail")))
	if len(got) != 1 || got[0].Content == nil {
		t.Fatalf("got %+v", got)
	}
	c := got[0].Content
	var at [][2]int64
	for _, r := range c.Ranges {
		at = append(at, [2]int64{r.Start, r.End})
		if !bytes.Equal(r.First, a[r.From:r.From+int64(len(r.First))]) && r.Start != int64(len(a)) {
			t.Errorf("range at %d shows %q of the first", r.Start, r.First)
		}
		all := string(b) + "tail"
		if string(r.Second) != all[r.From:r.From+int64(len(r.Second))] {
			t.Errorf("range at %d shows %q of the second", r.Start, r.Second)
		}
		if r.Start-r.From != min(8, r.Start) {
			t.Errorf("range at %d is shown from %d", r.Start, r.From)
		}
	}
	n := int64(len(a))
	want := [][2]int64{{3, 4}, {100, 104}, {200, 207}, {65535, 65537}, {131072, 131073}, {n, n + 4}}
	if !reflect.DeepEqual(at, want) || c.Bytes != 1+4+2+2+1+4 || c.FirstSize != n || c.SecondSize != n+4 || c.More != 0 {
		t.Errorf("got %v, %+v", at, c)
	}
}

// TestRangesOfRandomFiles compares with a plain count of bytes.
func TestRangesOfRandomFiles(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		a := make([]byte, rnd.IntN(200_000))
		b := make([]byte, max(0, len(a)+rnd.IntN(100)-50))
		copy(b, a)
		for range rnd.IntN(30) {
			if len(b) > 0 {
				b[rnd.IntN(len(b))] ^= byte(1 + rnd.IntN(255))
			}
		}
		want := int64(0)
		for i := range max(len(a), len(b)) {
			if i >= len(a) || i >= len(b) || a[i] != b[i] {
				want++
			}
		}
		got := changes(t, layer(t, reg("f", string(a))), layer(t, reg("f", string(b))))
		if want == 0 {
			if len(got) != 0 {
				t.Fatalf("got %+v for equal files", got)
			}
			continue
		}
		if c := got[0].Content; c.Bytes != want || len(c.Ranges) > compare.DefaultRanges || len(c.Ranges) < compare.DefaultRanges && c.More > 0 {
			t.Fatalf("got %+v, want %d bytes", c, want)
		}
	}
}

func TestBadLayers(t *testing.T) {
	none := func(compare.Change) error { return nil }
	err := compare.Layers(t.Context(), layer(t, reg("b", ""), reg("a", "")), layer(t), compare.Options{}, none)
	if !errdefs.IsUnsupported(err) {
		t.Errorf("unsorted: %v", err)
	}
	err = compare.Layers(t.Context(), strings.NewReader(strings.Repeat("x", 2000)), layer(t), compare.Options{}, none)
	if !errdefs.IsCorrupt(err) {
		t.Errorf("no tar: %v", err)
	}
	half := layer(t, reg("a", strings.Repeat("x", 5000)))
	half.Truncate(2000)
	err = compare.Layers(t.Context(), half, layer(t, reg("a", strings.Repeat("x", 5000))), compare.Options{}, none)
	if !errdefs.IsCorrupt(err) {
		t.Errorf("half a tar: %v", err)
	}
}

// TestOwnLayers: what package archive writes is in the order that is asked for.
func TestOwnLayers(t *testing.T) {
	root := t.TempDir()
	var names []string
	for _, n := range []string{"a", "a-b", "a.c", "a/x", "a/.hidden", "a b/y", "Z", "ab/c/d"} {
		names = append(names, filepath.Join(root, n+".dir"))
	}
	for _, n := range names {
		if err := mkfile(n); err != nil {
			t.Fatal(err)
		}
	}
	var a, b bytes.Buffer
	for _, out := range []*bytes.Buffer{&a, &b} {
		if err := archive.Pack(t.Context(), root, out, archive.DiffOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := changes(t, &a, &b); got != nil {
		t.Errorf("got %+v", got)
	}
}

func TestDocuments(t *testing.T) {
	got, err := compare.Documents(
		[]byte(`{"a":1,"config":{"Env":["x","y"],"Labels":null},"h":[{"c":"1"}],"same":{"n":1.50}}`),
		[]byte(`{"b":"n","config":{"Env":["x","z","w"],"Labels":{"k":"v"}},"h":[{"c":"2"}],"same":{"n":1.50}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []compare.Field{
		{Name: "a", First: "1"}, {Name: "b", Second: `"n"`}, {Name: "config.Env[1]", First: `"y"`, Second: `"z"`},
		{Name: "config.Env[2]", Second: `"w"`}, {Name: "config.Labels", First: "null", Second: `{"k":"v"}`},
		{Name: "h[0].c", First: `"1"`, Second: `"2"`},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if _, err := compare.Documents([]byte("{"), []byte("{}")); !errdefs.IsCorrupt(err) {
		t.Errorf("half a document: %v", err)
	}
}

func FuzzLayers(f *testing.F) {
	var one bytes.Buffer
	w := tar.NewWriter(&one)
	_ = w.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 3, Mode: 0o644})
	_, _ = w.Write([]byte("abc"))
	_ = w.Close()
	f.Add(one.Bytes(), bytes.ReplaceAll(one.Bytes(), []byte("abc"), []byte("axc")))
	f.Add([]byte{}, one.Bytes())
	f.Fuzz(func(t *testing.T, a, b []byte) {
		err := compare.Layers(t.Context(), bytes.NewReader(a), bytes.NewReader(b), compare.Options{}, func(c compare.Change) error {
			if c.Kind == compare.Changed && len(c.Fields) == 0 && c.Content == nil {
				t.Errorf("%s is told without a difference", c.Path)
			}
			return nil
		})
		if err != nil && !errdefs.IsCorrupt(err) && !errdefs.IsUnsupported(err) && !errdefs.IsLimit(err) {
			t.Errorf("an error without a class: %v", err)
		}
	})
}

func mkfile(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(name), 0o644)
}
