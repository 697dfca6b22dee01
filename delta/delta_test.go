package delta_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/delta"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// program is a file of n words that nobody can compress, of which every eighth depends on version: as when it is compiled again.
func program(seed uint64, n int, version uint32) string {
	rnd := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, 4*n)
	for i := range n {
		v := rnd.Uint32()
		if i%8 == 0 {
			v = v%100_000 + version
		}
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return string(b)
}

type entry struct{ name, data string }

// tarOf makes a tar of files, with some entries of other kinds between them.
func tarOf(tb testing.TB, files ...entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, data string) {
		h.Size, h.Mode, h.ModTime = int64(len(data)), 0o644, time.Unix(1_700_000_000, 0)
		if err := w.WriteHeader(&h); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, data); err != nil {
			tb.Fatal(err)
		}
	}
	add(tar.Header{Name: "usr/", Typeflag: tar.TypeDir}, "")
	for i, f := range files {
		h := tar.Header{Name: f.name, Typeflag: tar.TypeReg}
		if i%5 == 4 {
			h.PAXRecords = map[string]string{"SCHILY.xattr.user.note": strings.Repeat("x", i)}
		}
		add(h, f.data)
		if i%7 == 3 {
			add(tar.Header{Name: f.name + ".link", Typeflag: tar.TypeLink, Linkname: f.name}, "")
			add(tar.Header{Name: f.name + ".soft", Typeflag: tar.TypeSymlink, Linkname: "to"}, "")
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// pressed is a layer's blob.
type pressed struct {
	tar, blob []byte
}

func press(tb testing.TB, data []byte, recipe string) pressed {
	tb.Helper()
	var b bytes.Buffer
	z, err := delta.Compress(&b, recipe)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return pressed{data, b.Bytes()}
}

func (p pressed) source() delta.Source {
	return delta.Source{DiffID: digest.FromBytes(p.tar), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(p.tar)), nil
	}}
}

func (p pressed) target() delta.Target {
	return delta.Target{Source: p.source(), Digest: digest.FromBytes(p.blob), Head: p.blob[:min(len(p.blob), compression.DetectLen)]}
}

func (p pressed) lacking() delta.Lacking {
	return delta.Lacking{Digest: digest.FromBytes(p.blob), DiffID: digest.FromBytes(p.tar), Size: int64(len(p.blob))}
}

// machine has layers, and counts what it reads of a pack.
type machine struct {
	layers []pressed
	pack   []byte
	read   int64
	asked  int
	dir    string
}

func (m *machine) has(id digest.Digest) bool {
	return slices.ContainsFunc(m.layers, func(p pressed) bool { return digest.FromBytes(p.tar) == id })
}

func (m *machine) here() delta.Here {
	return delta.Here{Has: m.has,
		Pack: func(_ context.Context, at delta.Range) ([]byte, error) {
			m.read += at.Length
			return m.pack[at.Offset : at.Offset+at.Length], nil
		}}
}

func (m *machine) local() delta.Local {
	return delta.Local{Dir: m.dir,
		Tar: func(_ context.Context, id digest.Digest) (io.ReadCloser, error) {
			for _, p := range m.layers {
				if digest.FromBytes(p.tar) == id {
					return io.NopCloser(bytes.NewReader(p.tar)), nil
				}
			}
			return nil, errdefs.NotFound("layer %s", id)
		},
		Pack: func(_ context.Context, at delta.Range) (io.ReadCloser, error) {
			m.read += at.Length
			m.asked++
			return io.NopCloser(bytes.NewReader(m.pack[at.Offset : at.Offset+at.Length])), nil
		}}
}

// publish makes deltas, and passes the document through its blob.
func publish(tb testing.TB, targets []delta.Target, versions ...[]delta.Source) (doc *delta.Document, data, pack []byte, skipped []error) {
	tb.Helper()
	return publishParts(tb, 0, targets, versions...)
}

func publishParts(tb testing.TB, unit int, targets []delta.Target, versions ...[]delta.Source) (doc *delta.Document, data, pack []byte, skipped []error) {
	tb.Helper()
	pub, err := delta.Make(tb.Context(), targets, versions, delta.MakeOptions{Dir: tb.TempDir(), Unit: unit})
	if err != nil {
		tb.Fatal(err)
	}
	defer pub.Close()
	if data, err = pub.Document.Marshal(); err != nil {
		tb.Fatal(err)
	}
	if pack, err = io.ReadAll(pub.Pack()); err != nil {
		tb.Fatal(err)
	}
	if doc, err = delta.Parse(data); err != nil {
		tb.Fatal(err)
	}
	return doc, data, pack, pub.Skipped
}

// build makes what a plan makes, and compares it.
func build(tb testing.TB, m *machine, doc *delta.Document, here delta.Here, want ...pressed) *delta.Plan {
	tb.Helper()
	var lacking []delta.Lacking
	for _, w := range want {
		lacking = append(lacking, w.lacking())
	}
	plan, err := doc.Plan(tb.Context(), lacking, here)
	if err != nil {
		tb.Fatal(err)
	}
	job, err := plan.Collect(tb.Context(), m.local())
	if err != nil {
		tb.Fatal(err)
	}
	defer job.Close()
	store := local.Open(tb.TempDir(), local.Options{})
	for i := range plan.Layers {
		desc, err := job.Store(tb.Context(), &plan.Layers[i], store)
		if err != nil {
			tb.Fatal(err)
		}
		got, err := content.ReadAll(tb.Context(), store, desc, 1<<30)
		if err != nil || digest.FromBytes(got) != plan.Layers[i].Digest {
			tb.Errorf("another blob, %v", err)
		}
	}
	return plan
}

// version is an image of two layers: a base that stays, and files of which some are compiled again.
func version(tb testing.TB, v uint32, recipe string) []pressed {
	base := press(tb, tarOf(tb, entry{"lib/libc.so", program(1, 5_000, 0)}, entry{"etc/passwd", "root:x:0:0::/root:/bin/sh\n"}), recipe)
	files := []entry{{"usr/bin/a", program(2, 8_000, 0)}, {fmt.Sprintf("usr/lib/libb.so.1.%d", v), program(3, 20_000, v)}}
	for i := range 200 {
		data := program(uint64(i+10), 100+i, 0)
		if i%20 == 0 {
			data = fmt.Sprint("version ", v, data)
		}
		files = append(files, entry{fmt.Sprintf("usr/share/doc/%d", i), data})
	}
	files = append(files, entry{"var/lib/dpkg/status", strings.Repeat("Package: some text\n", 1000) + fmt.Sprint("Version: ", v)})
	return []pressed{base, press(tb, tarOf(tb, files...), recipe)}
}

func sources(layers []pressed) (out []delta.Source) {
	for _, l := range layers {
		out = append(out, l.source())
	}
	return out
}

func targets(layers []pressed) (out []delta.Target) {
	for _, l := range layers {
		out = append(out, l.target())
	}
	return out
}

func TestUpdate(t *testing.T) {
	for _, recipe := range []string{"camada-gzip", "camada-zstd", "go-gzip", "none"} {
		v1, v2, v3 := version(t, 1, recipe), version(t, 2, recipe), version(t, 3, recipe)
		doc, data, pack, skipped := publish(t, targets(v3), sources(v2), sources(v1))
		if len(skipped) > 0 || len(doc.Layers) != 1 || doc.Layers[0].Recipe != recipe {
			t.Fatalf("%s: skipped %v, layers %+v", recipe, skipped, doc.Layers)
		}
		whole := int64(len(v3[1].blob))
		if int64(len(pack)) > whole/2 || len(data) > 8000 {
			t.Errorf("%s: the pack has %d bytes, the document %d, the layer %d", recipe, len(pack), len(data), whole)
		}
		// Each of the earlier versions is enough, and costs about the same.
		for name, has := range map[string][]pressed{"the last version": v2, "the one before": v1, "both": slices.Concat(v1, v2)} {
			m := &machine{layers: has, pack: pack, dir: t.TempDir()}
			here := m.here()
			if name == "the one before" {
				here.Find = finder(m)
			}
			plan := build(t, m, doc, here, v3[1])
			if n, plain := plan.Bytes(); len(plan.Layers) != 1 || plain != whole || n > whole/8 || m.read < n || m.asked > 2 {
				t.Errorf("%s, %s: %d layers, %d of %d bytes are planned, %d read in %d pieces", recipe, name, len(plan.Layers), n, plain, m.read, m.asked)
			}
		}
		// Who has nothing gets nothing from a delta.
		m := &machine{pack: pack, dir: t.TempDir()}
		here := m.here()
		here.Find = finder(m)
		if plan := build(t, m, doc, here, v3[1]); len(plan.Layers) > 0 {
			t.Errorf("%s: a layer is made of nothing", recipe)
		}
	}
}

// finder is what a machine knows of contents by their sums.
func finder(m *machine) func(context.Context, map[uint64]bool) (map[uint64]digest.Digest, error) {
	return func(_ context.Context, wanted map[uint64]bool) (map[uint64]digest.Digest, error) {
		found := map[uint64]digest.Digest{}
		for _, l := range m.layers {
			for r := tar.NewReader(bytes.NewReader(l.tar)); ; {
				h, err := r.Next()
				if err != nil {
					break
				}
				data, _ := io.ReadAll(r)
				if h.Size == 0 {
					continue
				}
				dgst := digest.FromBytes(data)
				var sum uint64
				fmt.Sscanf(dgst.Encoded()[:16], "%x", &sum) //nolint:errcheck // digits
				if wanted[sum] {
					found[sum] = digest.FromBytes(l.tar)
				}
			}
		}
		return found, nil
	}
}

// TestElsewhere finds contents in an image that has nothing to do with the versions.
func TestElsewhere(t *testing.T) {
	v1, v2 := version(t, 1, "camada-gzip"), version(t, 2, "camada-gzip")
	doc, _, pack, _ := publish(t, targets(v2), sources(v1))
	var files []entry
	for r := tar.NewReader(bytes.NewReader(v1[1].tar)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		if data, _ := io.ReadAll(r); h.Typeflag == tar.TypeReg {
			files = append(files, entry{"opt/" + h.Name, string(data)})
		}
	}
	slices.Reverse(files)
	m := &machine{layers: []pressed{press(t, tarOf(t, files...), "none")}, pack: pack, dir: t.TempDir()}
	here := m.here()
	here.Find = finder(m)
	plan := build(t, m, doc, here, v2[1])
	if n, plain := plan.Bytes(); len(plan.Layers) != 1 || n > plain/6 {
		t.Errorf("%d layers, %d of %d bytes", len(plan.Layers), n, plain)
	}
	here.Find = nil
	if plan := build(t, m, doc, here, v2[1]); len(plan.Layers) != 0 {
		t.Error("without looking there is nothing to make it of")
	}
}

// TestBigFiles are cut into parts.
func TestBigFiles(t *testing.T) {
	big := program(5, 300<<10, 0) // 1.2 MiB
	changed := big[:1000] + "!" + big[1000:1<<20] + "?" + big[1<<20:]
	old := press(t, tarOf(t, entry{"a", big}), "none")
	fresh := press(t, tarOf(t, entry{"a", changed}, entry{"b", "b"}), "none")
	doc, _, pack, _ := publishParts(t, 1<<20, targets([]pressed{fresh}), sources([]pressed{old}))
	if n := len(doc.Layers[0].Fresh); n < 5 {
		t.Errorf("%d units", n)
	}
	m := &machine{layers: []pressed{old}, pack: pack, dir: t.TempDir()}
	plan := build(t, m, doc, m.here(), fresh)
	if n, _ := plan.Bytes(); len(plan.Layers) != 1 || n > 5000 {
		t.Errorf("%d layers, %d bytes", len(plan.Layers), n)
	}
}

func TestSkipped(t *testing.T) {
	old, before := press(t, tarOf(t, entry{"a", "a"}), "none"), press(t, tarOf(t, entry{"a", "b"}), "none")
	var foreign bytes.Buffer
	z, _ := gzip.NewWriterLevel(&foreign, gzip.HuffmanOnly)
	z.Write(old.tar) //nolint:errcheck // a buffer
	z.Close()
	for name, c := range map[string]struct {
		fresh pressed
		is    func(error) bool
	}{
		"a compressor that nobody knows": {pressed{old.tar, foreign.Bytes()}, errdefs.IsUnsupported},
		"no tar":                         {press(t, []byte(strings.Repeat("no tar at all ", 100)), "none"), errdefs.IsCorrupt},
	} {
		doc, _, _, skipped := publish(t, targets([]pressed{c.fresh}), sources([]pressed{before}))
		if len(doc.Layers) != 0 || len(skipped) != 1 || !c.is(skipped[0]) {
			t.Errorf("%s: %d layers, skipped %v", name, len(doc.Layers), skipped)
		}
	}
	doc, _, _, skipped := publish(t, targets([]pressed{old}), sources([]pressed{old}))
	if len(doc.Layers)+len(skipped) != 0 {
		t.Errorf("a layer that is there: %v, %v", doc.Layers, skipped)
	}
}

// TestLies gives a client packs, layers and documents that are not what they say: an error, and nothing in the store.
func TestLies(t *testing.T) {
	v1, v2 := version(t, 1, "camada-gzip"), version(t, 2, "camada-gzip")
	doc, _, pack, _ := publish(t, targets(v2), sources(v1))
	other := version(t, 7, "camada-gzip")
	for name, f := range map[string]func(m *machine, d *delta.Document){
		"zeros in the pack": func(m *machine, _ *delta.Document) { m.pack = make([]byte, len(pack)) },
		"another layer here": func(m *machine, _ *delta.Document) {
			m.layers = []pressed{{v1[0].tar, nil}, {v1[1].tar, nil}}
			m.layers[1].tar = append(bytes.Clone(v1[1].tar[:3000]), other[1].tar[3000:]...)
		},
		"another size": func(_ *machine, d *delta.Document) { d.Layers[0].Size-- },
		"other runs":   func(_ *machine, d *delta.Document) { d.Layers[0].Runs[0].First++ },
		"fewer runs":   func(_ *machine, d *delta.Document) { d.Layers[0].Runs = d.Layers[0].Runs[:1] },
		"another member": func(_ *machine, d *delta.Document) {
			d.Layers[0].Fresh[0].Ways[0].Refs[0].Member += 3
		},
		"a member that is not there": func(_ *machine, d *delta.Document) { d.Layers[0].Fresh[0].Ways[0].Refs[0].Member = 99_999 },
		"another recipe":             func(_ *machine, d *delta.Document) { d.Layers[0].Recipe = "go-gzip" },
		"no recipe":                  func(_ *machine, d *delta.Document) { d.Layers[0].Recipe = "magic" },
	} {
		lied, err := doc.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		copied, err := delta.Parse(lied)
		if err != nil {
			t.Fatal(err)
		}
		m := &machine{layers: v1, pack: pack, dir: t.TempDir()}
		f(m, copied)
		here := m.here()
		here.Has = func(id digest.Digest) bool { return id == doc.Sources[0] || id == doc.Sources[1] }
		plan, err := copied.Plan(t.Context(), []delta.Lacking{v2[1].lacking()}, here)
		if err != nil || len(plan.Layers) != 1 {
			t.Fatalf("%s: %v, %d layers", name, err, len(plan.Layers))
		}
		tars := m.local()
		if name == "another layer here" {
			tars.Tar = func(context.Context, digest.Digest) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(m.layers[1].tar)), nil
			}
		}
		store := local.Open(t.TempDir(), local.Options{})
		job, err := plan.Collect(t.Context(), tars)
		if err == nil {
			var desc ocispec.Descriptor
			desc, err = job.Store(t.Context(), &plan.Layers[0], store)
			job.Close()
			if err == nil {
				t.Errorf("%s: made %v", name, desc)
			}
		}
		if err != nil && !errdefs.IsCorrupt(err) && !errdefs.IsUnsupported(err) && !errdefs.IsNotFound(err) {
			t.Errorf("%s: no class: %v", name, err)
		}
		if _, err := store.Stat(t.Context(), plan.Layers[0].Digest); !errdefs.IsNotFound(err) {
			t.Errorf("%s: it is in the store: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	v1, v2 := version(f, 1, "none"), version(f, 2, "none")
	_, data, _, _ := publish(f, targets(v2), sources(v1))
	f.Add(data)
	f.Add([]byte("camada delta 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := delta.Parse(data)
		if err != nil {
			if !errdefs.IsCorrupt(err) && !errdefs.IsLimit(err) {
				t.Errorf("no class: %v", err)
			}
			return
		}
		again, err := doc.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := delta.Parse(again); err != nil {
			t.Errorf("a document that was read cannot be read again: %v", err)
		}
	})
}
