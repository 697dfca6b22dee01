package layer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func store(t testing.TB) content.Store {
	t.Helper()
	return local.Open(t.TempDir(), local.Options{})
}

// tarBytes is a layer of one file of so many bytes.
func tarBytes(t testing.TB, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range data {
		data[i] = byte(rnd.IntN(20))
	}
	var b bytes.Buffer
	w := archive.NewWriter(&b, archive.WriterOptions{})
	if err := w.Add(archive.Entry{Name: "file", Type: archive.TypeReg, Size: int64(size)}, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writes(b []byte, size int) func(io.Writer) error {
	return func(w io.Writer) error {
		for len(b) > 0 {
			n := min(size, len(b))
			if _, err := w.Write(b[:n]); err != nil {
				return err
			}
			b = b[n:]
		}
		return nil
	}
}

func TestWriteThenOpen(t *testing.T) {
	s := store(t)
	for _, size := range []int{0, 1, 256 << 10, 5<<20 + 13} {
		tar := tarBytes(t, size)
		for _, alg := range []compression.Algorithm{"", compression.None, compression.Gzip, compression.Zstd} {
			var one, two bytes.Buffer
			l, err := layer.Write(t.Context(), s, layer.WriteOptions{Compression: alg}, writes(tar, 10_000), &one, &two)
			if err != nil {
				t.Fatal(err)
			}
			if l.DiffID != digest.FromBytes(tar) || l.Size != int64(len(tar)) || l.Empty {
				t.Errorf("%s: layer %+v of %d bytes", alg, l, len(tar))
			}
			if !bytes.Equal(one.Bytes(), tar) || !bytes.Equal(two.Bytes(), tar) {
				t.Errorf("%s: the tees got %d and %d bytes of %d", alg, one.Len(), two.Len(), len(tar))
			}
			if info, err := s.Stat(t.Context(), l.Descriptor.Digest); err != nil || info.Size != l.Descriptor.Size {
				t.Errorf("%s: stored %+v, %v", alg, info, err)
			}
			for _, opts := range []layer.OpenOptions{{}, {Verified: true}} {
				got, err := read(t, s, l.Descriptor, l.DiffID, opts)
				if err != nil || !bytes.Equal(got, tar) {
					t.Errorf("%s: %d bytes come back, %v", alg, len(got), err)
				}
			}
		}
	}
}

func read(t testing.TB, p content.Provider, desc ocispec.Descriptor, diffID digest.Digest, opts layer.OpenOptions) ([]byte, error) {
	t.Helper()
	r, err := layer.Open(t.Context(), p, desc, diffID, opts)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestEmpty(t *testing.T) {
	l, err := layer.Write(t.Context(), store(t), layer.WriteOptions{}, func(w io.Writer) error {
		return archive.NewWriter(w, archive.WriterOptions{}).Close()
	})
	if err != nil || !l.Empty {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestWriteFails(t *testing.T) {
	boom := errors.New("boom")
	tar := tarBytes(t, 20<<20)
	before := runtime.NumGoroutine()
	dir := t.TempDir()
	s := local.Open(dir, local.Options{})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx     context.Context
		produce func(io.Writer) error
		tee     []io.Writer
		want    error
	}{
		"the producer": {t.Context(), func(w io.Writer) error {
			return errors.Join(writes(tar[:1<<20], 4096)(w), boom)
		}, []io.Writer{io.Discard}, boom},
		"a tee":       {t.Context(), writes(tar, 4096), []io.Writer{io.Discard, &fails{after: 1 << 20, err: boom}}, boom},
		"a tee late":  {t.Context(), writes(tar, 4096), []io.Writer{&fails{after: len(tar) - 1, err: boom}}, boom},
		"the context": {canceled, writes(tar, 4096), nil, context.Canceled},
	} {
		if _, err := layer.Write(c.ctx, s, layer.WriteOptions{}, c.produce, c.tee...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if blobs, _ := filepath.Glob(filepath.Join(dir, "blobs", "*", "*")); len(blobs) > 0 {
		t.Errorf("stored all the same: %v", blobs)
	}
	if ingests, _ := filepath.Glob(filepath.Join(dir, "ingest", "*")); len(ingests) > 0 {
		t.Errorf("left behind: %v", ingests)
	}
	wantGoroutines(t, before)
}

type fails struct {
	after int
	err   error
}

func (f *fails) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, f.err
	}
	return len(p), nil
}

func TestOpenVerifies(t *testing.T) {
	dir := t.TempDir()
	s := local.Open(dir, local.Options{})
	tar := tarBytes(t, 1<<20)
	l, err := layer.Write(t.Context(), s, layer.WriteOptions{}, writes(tar, 4096))
	if err != nil {
		t.Fatal(err)
	}
	other := digest.FromString("another")
	for name, c := range map[string]struct {
		desc   ocispec.Descriptor
		diffID digest.Digest
		opts   layer.OpenOptions
		is     func(error) bool
	}{
		"wrong diffID":      {l.Descriptor, other, layer.OpenOptions{}, errdefs.IsCorrupt},
		"wrong size":        {with(l.Descriptor, func(d *ocispec.Descriptor) { d.Size++ }), l.DiffID, layer.OpenOptions{}, errdefs.IsCorrupt},
		"no such blob":      {with(l.Descriptor, func(d *ocispec.Descriptor) { d.Digest = other }), l.DiffID, layer.OpenOptions{}, errdefs.IsNotFound},
		"no layer":          {with(l.Descriptor, func(d *ocispec.Descriptor) { d.MediaType = "application/json" }), l.DiffID, layer.OpenOptions{}, errdefs.IsUnsupported},
		"malformed diffID":  {l.Descriptor, "sha256:x", layer.OpenOptions{}, errdefs.IsInvalid},
		"a bomb":            {l.Descriptor, l.DiffID, layer.OpenOptions{MaxBytes: 1 << 19}, errdefs.IsLimit},
		"Docker's type":     {with(l.Descriptor, func(d *ocispec.Descriptor) { d.MediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip" }), l.DiffID, layer.OpenOptions{}, isNil},
		"wrong compression": {with(l.Descriptor, func(d *ocispec.Descriptor) { d.MediaType = ocispec.MediaTypeImageLayer }), l.DiffID, layer.OpenOptions{}, isNil},
		"diffID not known":  {l.Descriptor, "", layer.OpenOptions{}, isNil},
	} {
		if _, err := read(t, s, c.desc, c.diffID, c.opts); !c.is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A blob that has changed on disk: a bit of the gzip header that no decompressor looks at.
	path := filepath.Join(dir, "blobs", "sha256", l.Descriptor.Digest.Encoded())
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[9] ^= 1
	if err := errors.Join(os.Remove(path), os.WriteFile(path, b, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, s, l.Descriptor, "", layer.OpenOptions{}); !errdefs.IsCorrupt(err) {
		t.Errorf("wrong digest: %v", err)
	}
	if _, err := read(t, s, l.Descriptor, l.DiffID, layer.OpenOptions{Verified: true}); err != nil {
		t.Errorf("wrong digest, said to be verified, with the right diffID: %v", err)
	}
	// Truncated, and longer than promised.
	for name, bad := range map[string][]byte{"truncated": b[:len(b)-100], "longer": append(bytes.Clone(b), 0)} {
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := read(t, s, l.Descriptor, l.DiffID, layer.OpenOptions{}); !errdefs.IsCorrupt(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// lax is a store of one blob that is as long as it is, whatever is asked for.
type lax []byte

func (l lax) Open(context.Context, ocispec.Descriptor) (content.Reader, error) {
	return laxReader{bytes.NewReader(l)}, nil
}

type laxReader struct{ *bytes.Reader }

func (laxReader) Close() error { return nil }

// TestOpenCounts: the size is the layer's own business, also where nobody else looks at it.
func TestOpenCounts(t *testing.T) {
	s := store(t)
	l, err := layer.Write(t.Context(), s, layer.WriteOptions{}, writes(tarBytes(t, 1<<20), 4096))
	if err != nil {
		t.Fatal(err)
	}
	b, err := content.ReadAll(t.Context(), s, l.Descriptor, 1<<22)
	if err != nil {
		t.Fatal(err)
	}
	for by, is := range map[int64]func(error) bool{0: isNil, 1: errdefs.IsCorrupt, -1: errdefs.IsCorrupt} {
		desc := with(l.Descriptor, func(d *ocispec.Descriptor) { d.Size += by })
		if _, err := read(t, lax(b), desc, l.DiffID, layer.OpenOptions{Verified: true}); !is(err) {
			t.Errorf("%+d bytes: %v", by, err)
		}
	}
}

func isNil(err error) bool { return err == nil }

func with(d ocispec.Descriptor, change func(*ocispec.Descriptor)) ocispec.Descriptor {
	change(&d)
	return d
}

func TestCloseEarly(t *testing.T) {
	s := store(t)
	l, err := layer.Write(t.Context(), s, layer.WriteOptions{}, writes(tarBytes(t, 20<<20), 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	r, err := layer.Open(t.Context(), s, l.Descriptor, l.DiffID, layer.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	wantGoroutines(t, before)
}

// wantGoroutines waits for those that are on their way out.
func wantGoroutines(t *testing.T, want int) {
	t.Helper()
	for range 500 {
		if runtime.NumGoroutine() <= want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), want)
}

func BenchmarkWrite(b *testing.B) {
	tar := tarBytes(b, 64<<20)
	s := store(b)
	for _, alg := range []compression.Algorithm{compression.None, compression.Gzip, compression.Zstd} {
		b.Run(string(alg), func(b *testing.B) {
			b.SetBytes(int64(len(tar)))
			for b.Loop() {
				if _, err := layer.Write(b.Context(), s, layer.WriteOptions{Compression: alg, NoSync: true}, writes(tar, 256<<10)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
