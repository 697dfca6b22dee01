package anatomy_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/archive"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/layer/index"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// tarOf makes a layer of lines: "f PATH DATA [MODE]", "c PATH DATA" for a contiguous file, "d PATH", "l PATH TARGET", "h PATH TARGET", "w PATH", "o PATH".
func tarOf(tb testing.TB, lines ...string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, line := range lines {
		f := strings.Fields(line)
		h := &tar.Header{Name: f[1], Mode: 0o644, Typeflag: tar.TypeReg}
		data := ""
		switch f[0] {
		case "f":
			data = f[2]
			if len(f) > 3 {
				fmt.Sscanf(f[3], "%o", &h.Mode)
			}
			h.Size = int64(len(data))
		case "c":
			h.Typeflag, data = tar.TypeCont, f[2]
			h.Size = int64(len(data))
		case "d":
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
			if len(f) > 2 {
				fmt.Sscanf(f[2], "%o", &h.Mode)
			}
		case "l":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f[2], 0o777
		case "h":
			h.Typeflag, h.Linkname = tar.TypeLink, f[2]
		case "w":
			h.Name = path.Join(path.Dir(f[1]), ".wh."+path.Base(f[1]))
		case "o":
			h.Name = path.Join(f[1], ".wh..wh..opq")
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, data); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// open makes an image of layers and opens it.
func open(tb testing.TB, layers ...[]byte) (*anatomy.Image, content.Provider) {
	tb.Helper()
	store := &imagetest.Memory{}
	desc := imagetest.Write(tb, store, imagetest.Config(), layers...)
	img, err := image.Open(context.Background(), store, desc, ocispec.Platform{})
	if err != nil {
		tb.Fatal(err)
	}
	var none *index.Store
	a, err := anatomy.Open(context.Background(), store, none, img)
	if err != nil {
		tb.Fatal(err)
	}
	return a, store
}

// said tells the versions of a path in short.
func said(a *anatomy.Image, name string) string {
	n := a.Lookup(name)
	if n == nil {
		return "none"
	}
	var out []string
	for _, v := range n.Versions {
		s := fmt.Sprintf("%d %s", v.Layer+1, v.Change)
		if v.By != "" {
			s += " by " + v.By
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestVersions(t *testing.T) {
	a, _ := open(t,
		tarOf(t, "d bin", "f bin/sh old", "f bin/same x", "f bin/mode x", "d etc", "f etc/a 1", "f etc/b/c 2", "l lib usr/lib", "d usr/lib", "f usr/lib/x x", "d gone", "f gone/in/it z", "d type", "f type/a a", "f file f"),
		tarOf(t, "f bin/sh new", "f bin/same x", "f bin/mode x 0755", "w gone", "o etc", "f etc/new n", "f lib/y y", "f type now-a-file", "d file"),
		tarOf(t, "h bin/hard bin/sh", "w usr/lib/x", "f gone/again g", "w bin/same", "f bin/same x", "d bin 0700"),
	)
	for name, want := range map[string]string{
		"bin/sh":     "1 added, 2 replaced",
		"bin/same":   "1 added, 2 repeated, 3 removed by bin/same, 3 added",
		"bin/mode":   "1 added, 2 metadata",
		"bin/hard":   "3 added",
		"bin":        "1 added, 3 metadata",
		"etc":        "1 added",
		"etc/a":      "1 added, 2 removed by etc",
		"etc/b":      "1 added, 2 removed by etc",
		"etc/b/c":    "1 added, 2 removed by etc",
		"etc/new":    "2 added",
		"usr/lib/y":  "2 added",
		"usr/lib/x":  "1 added, 3 removed by usr/lib/x",
		"gone":       "1 added, 2 removed by gone, 3 added",
		"gone/in/it": "1 added, 2 removed by gone",
		"gone/again": "3 added",
		"type":       "1 added, 2 replaced",
		"type/a":     "1 added, 2 removed by type",
		"file":       "1 added, 2 replaced",
		"lib/y":      "none",
		"nothing":    "none",
	} {
		if got := said(a, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if f := a.Lookup("bin/hard").Now().File(); f == nil || f.Digest() != digest.FromString("new") {
		t.Errorf("the hard link: %+v", f)
	}
	type stats struct{ files, added, changed, removed, wasted int }
	want := []stats{{15, 15, 0, 0, 11}, {7, 2, 4, 5, 1}, {4, 3, 1, 2, 0}}
	for i, l := range a.Layers {
		if got := (stats{l.Files, l.Added, l.Changed, l.Removed, int(l.Wasted)}); got != want[i] {
			t.Errorf("layer %d: %+v, want %+v", i+1, got, want[i])
		}
	}
}

func TestFind(t *testing.T) {
	a, _ := open(t,
		tarOf(t, "l bin usr/bin", "d usr/bin", "f usr/bin/dash d", "l usr/bin/sh dash", "l etc/alt ../../../usr/bin/sh", "l loop loop", "l broken /nowhere/x", "f old o", "l abs /etc/alt"),
		tarOf(t, "w old"))
	for name, want := range map[string]string{
		"/usr/bin/dash": "usr/bin/dash",
		"bin/sh":        "usr/bin/dash bin->usr/bin usr/bin/sh->dash",
		"/abs":          "usr/bin/dash abs->/etc/alt etc/alt->../../../usr/bin/sh usr/bin/sh->dash",
		"/":             ".",
		"old":           "old",
		"/loop":         "/loop: too many symbolic links",
		"broken":        "/broken is a symbolic link to /nowhere/x, and no layer has /nowhere",
		"bin/zsh":       "/bin is a symbolic link to usr/bin, and no layer has /usr/bin/zsh",
		"what/ever":     "no layer has /what",
	} {
		f, err := a.Find(name)
		var got string
		if err != nil {
			got = err.Error()
		} else {
			got = f.Node.Path()
			for _, h := range f.Hops {
				got += " " + h.Path + "->" + h.Target
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestGlob(t *testing.T) {
	a, _ := open(t, tarOf(t, "f a/x 1", "f a/b/x 1", "f a/b/c/x 1", "f a/b/y 1", "f gone/x 1", "f x 1"), tarOf(t, "w gone"))
	for pattern, want := range map[string]string{
		"/**/x":     "a/b/c/x a/b/x a/x x",
		"a/**":      "a/b a/b/c a/b/c/x a/b/x a/b/y a/x",
		"a/**/c/x":  "a/b/c/x",
		"a/*":       "a/b a/x",
		"a/[b]/?":   "a/b/c a/b/x a/b/y",
		"**/b/**/x": "a/b/c/x a/b/x",
		"gone/*":    "",
		"a/**/**/y": "a/b/y",
	} {
		nodes, err := a.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range nodes {
			got = append(got, n.Path())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", pattern, got, want)
		}
	}
	if _, err := a.Glob("a/["); err == nil {
		t.Error("a malformed pattern")
	}
}

func TestWaste(t *testing.T) {
	a, _ := open(t,
		tarOf(t, "f big 0123456789", "f keep 01234", "f d/x 0123", "f twice ab"),
		tarOf(t, "f big 01234567890123456789", "w d", "f twice ab"),
		tarOf(t, "w big"))
	if got := a.Efficiency(); got != 7.0/43 { // keep 5 of 5, twice 2 of 4, big 0 of 30, d/x 0 of 4
		t.Errorf("efficiency %v", got)
	}
	want := []anatomy.Waste{
		{Path: "big", Bytes: 30, Copies: 2, Layers: []int{1, 2}, Removed: true},
		{Path: "d/x", Bytes: 4, Copies: 1, Layers: []int{1}, Removed: true},
		{Path: "twice", Bytes: 2, Copies: 2, Layers: []int{1, 2}},
	}
	if diff := cmp.Diff(want, a.Waste()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if a.Wasted() != 36 || a.WastedPercent() != 100*36.0/22 {
		t.Errorf("%d bytes, %v %%", a.Wasted(), a.WastedPercent())
	}
	one, _ := open(t, tarOf(t, "f a a"))
	if one.Efficiency() != 1 || one.WastedPercent() != 0 || len(one.Waste()) != 0 {
		t.Error("an image without waste has some")
	}
	linked, _ := open(t, tarOf(t, "f a 0123", "h b a"), tarOf(t, "w a"))
	if linked.Wasted() != 0 {
		t.Errorf("%d bytes wasted of a file that has another name", linked.Wasted())
	}
}

func TestCompare(t *testing.T) {
	a, _ := open(t, tarOf(t, "d d", "f d/a 1", "f d/b 2", "f mode m", "l link x", "f type t", "d old", "f old/f f", "f first 1", "h second first"))
	b, _ := open(t, tarOf(t, "d d 0700", "f d/a 1"), tarOf(t, "f d/b 3", "f mode m 0600", "l link y", "d type", "f new/dir/f f", "f second 1", "h first second"))
	var got []string
	for _, c := range anatomy.Compare(a, b) {
		got = append(got, strings.TrimSpace(c.Kind+" "+c.Path+" "+strings.Join(c.What, ",")))
	}
	want := []string{"C /d mode", "C /d/b content", "C /link link", "C /mode mode", "A /new", "A /new/dir", "A /new/dir/f", "D /old", "D /old/f", "C /type type"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if same := anatomy.Compare(a, a); len(same) != 0 {
		t.Errorf("an image differs from itself: %v", same)
	}
}

func TestPackages(t *testing.T) {
	status := func(version string) string {
		return "Package: p\nStatus: install ok installed\nVersion: " + version + "\nArchitecture: all\nMaintainer: m\nDescription: d\n"
	}
	layerOf := func(text string) []byte {
		var b bytes.Buffer
		w := archive.NewWriter(&b, archive.WriterOptions{})
		for _, e := range []struct{ name, data string }{{"usr/lib/os-release", "ID=debian\n"}, {"var/lib/dpkg/status", text}} {
			if err := w.Add(archive.Entry{Name: e.name, Type: archive.TypeReg, Mode: 0o644, Size: int64(len(e.data))}, strings.NewReader(e.data)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	a, pa := open(t, layerOf(status("1")), tarOf(t, "l etc/os-release ../usr/lib/os-release"))
	b, pb := open(t, layerOf(status("1")), layerOf(status("2")))
	if anatomy.SamePackages(a, b) || !anatomy.SamePackages(a, a) {
		t.Error("SamePackages")
	}
	x, _, err := a.PlacedPackages(t.Context(), pa, nil)
	if err != nil {
		t.Fatal(err)
	}
	y, _, err := b.PlacedPackages(t.Context(), pb, nil)
	if err != nil {
		t.Fatal(err)
	}
	if x.Distribution.ID != "debian" {
		t.Errorf("distribution %+v", x.Distribution)
	}
	want := []anatomy.PackageChange{{Kind: "C", Type: "deb", Name: "p", Arch: "all", Old: "1", New: "2"}}
	if diff := cmp.Diff(want, anatomy.ComparePackages(x, y)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCompareHistories(t *testing.T) {
	h := func(lines string) (out []ocispec.History) {
		for l := range strings.FieldsSeq(lines) {
			out = append(out, ocispec.History{CreatedBy: l})
		}
		return out
	}
	for _, c := range [][3]string{
		{"a b c", "a b c", ""}, {"a b c", "a x c", "-b +x"}, {"a", "a b", "+b"}, {"", "a", "+a"}, {"a b c d", "b d", "-a -c"}, {"a b", "b a", "-a +a"},
	} {
		var got []string
		for _, l := range anatomy.CompareHistories(h(c[0]), h(c[1])) {
			got = append(got, l.Kind+l.Instruction)
		}
		if strings.Join(got, " ") != c[2] {
			t.Errorf("%s | %s: %v, want %s", c[0], c[1], got, c[2])
		}
	}
}

// TestRandom stacks random layers, and compares the tree with what an extraction of the layers makes.
func TestRandom(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an extraction needs root")
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	names := []string{"a", "b", "c"}
	compared := 0
	for range 60 {
		var layers [][]byte
		for range 1 + rnd.IntN(4) {
			made := map[string]bool{}
			var lines []string
			for range rnd.IntN(12) {
				p := names[rnd.IntN(3)]
				for rnd.IntN(2) == 0 && strings.Count(p, "/") < 3 {
					p += "/" + names[rnd.IntN(3)]
				}
				line := [...]string{"f " + p + " " + names[rnd.IntN(3)], "d " + p, "w " + p, "o " + p, "f " + p + " x 0755"}[rnd.IntN(5)]
				ok := !made[p]
				for q := range made { // one that is a file in a layer is no directory in it
					ok = ok && !strings.HasPrefix(p, q+"/") && !strings.HasPrefix(q, p+"/")
				}
				if ok {
					made[p] = true
					lines = append(lines, line)
				}
			}
			layers = append(layers, tarOf(t, lines...))
		}
		a, _ := open(t, layers...)
		dir := t.TempDir()
		if !extracted(t, dir, layers) {
			continue // a file where a directory is needed: no image
		}
		compared++
		want := map[string]string{}
		err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err != nil || p == dir {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(dir, p)
			want[rel] = info.Mode().Type().String() + info.Mode().Perm().String()
			if info.Mode().IsRegular() {
				data, err := os.ReadFile(p)
				want[rel] += " " + digest.FromBytes(data).String()
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		a.Each(func(n *anatomy.Node) {
			v := n.Now()
			if v == nil || n == a.Root() {
				return
			}
			if v.IsDir() {
				got[n.Path()] = os.ModeDir.String() + "-rwxr-xr-x"
				return
			}
			got[n.Path()] = "----------" + os.FileMode(v.Entry.Mode).String() + " " + v.Entry.Digest().String()
		})
		if diff := cmp.Diff(want, got); diff != "" {
			var text strings.Builder
			for _, l := range layers {
				cmd := exec.Command("tar", "tv")
				cmd.Stdin = bytes.NewReader(l)
				out, _ := cmd.Output()
				text.Write(out)
				text.WriteString("--\n")
			}
			t.Fatalf("(-extracted +tree):\n%s\n%s", diff, text.String())
		}
	}
	if compared < 20 {
		t.Errorf("only %d stacks could be extracted", compared)
	}
}

// extracted applies layers to dir, and reports whether they can be.
func extracted(t *testing.T, dir string, layers [][]byte) bool {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, l := range layers {
		if _, err := archive.Apply(t.Context(), root, bytes.NewReader(l), archive.ApplyOptions{}); err != nil {
			return false
		}
	}
	return true
}

// TestHostile merges layers that mean to take all memory or all time.
func TestHostile(t *testing.T) {
	long := strings.Repeat("d/", 2000)
	deep := []string{"l l0 " + long, "d " + long}
	for i := range 3 { // each link leads further down
		deep = append(deep, fmt.Sprintf("l l%d l%d/%s", i+1, i, long), fmt.Sprintf("f l%d/%sx x", i+1, long))
	}
	loops := []string{"l a b/b/b/b/b/b", "l b a/a/a/a/a/a", "f a/x x", "w b/y", "l c ../../c", "f c/z z"}
	for name, c := range map[string]struct {
		lines []string
		ok    func(error) bool
	}{
		"deeper than a path is long": {deep, errdefs.IsLimit},
		"links in circles":           {loops, func(err error) bool { return err == nil }},
	} {
		store := &imagetest.Memory{}
		var layers [][]byte
		for _, l := range c.lines {
			layers = append(layers, tarOf(t, l))
		}
		desc := imagetest.Write(t, store, imagetest.Config(), layers...)
		img, err := image.Open(t.Context(), store, desc, ocispec.Platform{})
		if err != nil {
			t.Fatal(err)
		}
		var none *index.Store
		if _, err := anatomy.Open(t.Context(), store, none, img); !c.ok(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := anatomy.Open(ctx, nil, kept{}, &image.Image{Layers: make([]ocispec.Descriptor, 1), DiffIDs: []digest.Digest{"x"}}); err == nil {
		t.Error("a canceled context")
	}
}

func TestHead(t *testing.T) {
	a, p := open(t, tarOf(t, "f dir/a first", "f b other", "c c another"), tarOf(t, "h again dir/a", "l link b", "d d"))
	for name, want := range map[string]string{"dir/a": "fir", "again": "fir", "b": "oth", "c": "ano"} {
		got, err := a.Head(t.Context(), p, a.Lookup(name).Now(), 3)
		if err != nil || string(got) != want {
			t.Errorf("%s begins with %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"link", "d"} {
		if _, err := a.Head(t.Context(), p, a.Lookup(name).Now(), 3); !errdefs.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
