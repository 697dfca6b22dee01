package browse

import (
	"archive/tar"
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/layer/index"
	"github.com/docker/go-units"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var update = flag.Bool("update", false, "write the golden files")

// layerOf makes a layer: names that end with / are directories, -name is a whiteout, name@target a link, others files of 1000 bytes.
func layerOf(t testing.TB, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, n := range names {
		h := &tar.Header{Name: n, Mode: 0o644, Typeflag: tar.TypeReg, Size: 1000}
		if name, target, ok := strings.Cut(n, "@"); ok {
			h.Name, h.Typeflag, h.Linkname, h.Mode, h.Size = name, tar.TypeSymlink, target, 0o777, 0
		}
		if rest, ok := strings.CutPrefix(n, "-"); ok {
			h.Name, h.Size = path.Join(path.Dir(rest), ".wh."+path.Base(rest)), 0
		}
		if strings.HasSuffix(n, "/") {
			h.Typeflag, h.Mode, h.Size = tar.TypeDir, 0o4755, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte{byte(i)}, int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sample(t testing.TB) *anatomy.Image {
	t.Helper()
	store := &imagetest.Memory{}
	cfg := imagetest.Config()
	for _, by := range []string{"ADD rootfs.tar /", "RUN /bin/sh -c apt-get update && \\\n    apt-get install -y nothing # buildkit", "COPY src /usr/src/app"} {
		cfg.History = append(cfg.History, ocispec.History{CreatedBy: by})
	}
	desc := imagetest.Write(t, store, cfg,
		layerOf(t, "bin/", "bin/sh", "bin/dash@sh", "etc/passwd", "etc/hosts", "usr/lib/libc.so", "usr/lib/übergröße.so", "usr/lib/日本語", "old/a", "old/b"),
		layerOf(t, "usr/lib/libc.so", "-old", "var/cache/apt/pkgcache.bin", "bin/", "evil\x1b[31m"),
		layerOf(t, "usr/src/app/main.c", "-var/cache"))
	img, err := image.Open(context.Background(), store, desc, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	var none *index.Store
	a, err := anatomy.Open(context.Background(), store, none, img)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Layers { // these depend on the compressor
		a.Layers[i].Descriptor.Digest, a.Layers[i].Descriptor.Size = digest.FromString(a.Layers[i].Instruction), int64(1000*i+200)
	}
	return a
}

func newTest(t testing.TB) *model { return modelOf(sample(t)) }

func modelOf(img *anatomy.Image) *model {
	return newModel(img, Options{Name: "app:latest", Human: func(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }})
}

// press sends keys as a terminal does.
func press(t *testing.T, m *model, text string) (quit bool) {
	t.Helper()
	keys, rest := parseKeys([]byte(text))
	if len(rest) > 0 {
		t.Fatalf("%q is not whole", text)
	}
	for _, k := range keys {
		quit = m.key(k) || quit
	}
	return quit
}

const (
	up, down, left, right = "\x1b[A", "\x1b[B", "\x1b[D", "\x1b[C"
)

// TestScreens compares screens with golden files: testdata/NAME.txt.
func TestScreens(t *testing.T) {
	for _, c := range []struct {
		name, keys string
		w, h       int
	}{
		{"start", "", 80, 24},
		{"layer2", up, 80, 24},
		{"all", up + "a", 80, 24},
		{"unchanged", up + "au", 80, 24},
		{"file", up + "\t" + down + down, 80, 24},
		{"filter", "gga" + "/LIB" + "\r", 80, 24},
		{"typing", "ga/*.so\x7f", 80, 24},
		{"nothing", "/nowhere\r", 80, 24},
		{"size", "ga" + "s\t", 80, 24},
		{"closed", "g\tc" + down + down + " ", 80, 24},
		{"wide", "g\t" + down, 140, 16},
		{"narrow", "", 60, 10},
		{"small", "", 30, 5},
		{"help", "?", 80, 24},
	} {
		m := newTest(t)
		if press(t, m, c.keys) {
			t.Errorf("%s: it ended", c.name)
		}
		lines := m.view(c.w, c.h)
		if len(lines) != c.h {
			t.Errorf("%s: %d lines", c.name, len(lines))
		}
		for i, l := range lines {
			lines[i] = stripped(l)
			n := 0
			for _, r := range lines[i] {
				n += width(r)
			}
			if n != c.w && lines[i] != "" {
				t.Errorf("%s: line %d has %d columns: %q", c.name, i, n, lines[i])
			}
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		got := strings.Join(lines, "\n") + "\n"
		file := filepath.Join("testdata", c.name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// stripped removes the styles.
func stripped(s string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "\x1b[")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		_, s, _ = strings.Cut(rest, "m")
	}
}

func TestColors(t *testing.T) {
	m := newTest(t)
	press(t, m, up+"a")
	plain := strings.Join(m.view(80, 24), "")
	m.opts.Color = true
	colored := strings.Join(m.view(80, 24), "")
	for _, style := range []string{styleAdded, styleChanged, styleRemoved} {
		if strings.Contains(plain, "\x1b["+style+"m") {
			t.Errorf("colour %s though none is wanted", style)
		}
		if !strings.Contains(colored, "\x1b["+style+"m") {
			t.Errorf("no colour %s", style)
		}
	}
	if !strings.Contains(plain, "\x1b["+styleSelected+"m") {
		t.Error("what is selected is not to be seen without colours")
	}
}

func TestKeys(t *testing.T) {
	for text, want := range map[string]string{
		"jä": "j ä", "\x1b[A\x1b[B\x1bOC\x1bOD": "-1 -2 -4 -3", "\x1b": "-12", "\x1b\x1b[A": "-12 -1", "\x1b[5~\x1b[6~": "-5 -6", "\x1b[1;5Cx": "-15 x",
		"\t\x1b[Z\r\x7f\x03": "-9 -10 -11 -13 -14", "\x1bq": "-12 q", "\x1b[": "-15", "\x01": "-15", "\x1b[H\x1b[4~": "-7 -8",
	} {
		keys, rest := parseKeys([]byte(text))
		var got []string
		for _, k := range keys {
			if k > 0 {
				got = append(got, string(rune(k)))
			} else {
				got = append(got, fmt.Sprint(int(k)))
			}
		}
		if strings.Join(got, " ") != want || len(rest) > 0 {
			t.Errorf("%q: %v and %q, want %s", text, got, rest, want)
		}
	}
	if keys, rest := parseKeys([]byte("a\xc3")); len(keys) != 1 || string(rest) != "\xc3" {
		t.Errorf("half a character: %v, %q", keys, rest)
	}
}

func TestEnds(t *testing.T) {
	for _, keys := range []string{"q", "\x03", "/abc\x03", "?x\x03", "a\tQ"} {
		if !press(t, newTest(t), keys) {
			t.Errorf("%q does not end it", keys)
		}
	}
	for _, keys := range []string{"/q", "\x1b", "?q"} {
		if press(t, newTest(t), keys) {
			t.Errorf("%q ends it", keys)
		}
	}
}

// FuzzKeys presses anything, and looks at the screen after each key.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(up+down+left+right+"\t/lib\r \x1b[5~cogGansu?x"), uint8(80), uint8(24))
	f.Add([]byte("\tGGG"+up+left+left+left), uint8(41), uint8(8))
	img := sample(f)
	f.Fuzz(func(t *testing.T, text []byte, w, h uint8) {
		m := modelOf(img)
		keys, _ := parseKeys(text)
		for _, k := range keys[:min(len(keys), 50)] {
			m.key(k)
			if lines := m.view(max(1, int(w)), max(1, int(h))); len(lines) != max(1, int(h)) {
				t.Fatalf("%d lines of %d", len(lines), h)
			}
		}
	})
}

// FuzzParseKeys reads all that a terminal may send.
func FuzzParseKeys(f *testing.F) {
	f.Add([]byte("\x1b[1;2A\x1b[<0;1;1M"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, rest := parseKeys(b); len(rest) > 3 {
			t.Fatalf("%d bytes are left", len(rest))
		}
	})
}
