package unpack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/snapshot"
	"github.com/camada/camada/snapshot/native"
	"github.com/camada/camada/snapshot/overlay"
	"github.com/camada/camada/unpack"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobs is a Provider that counts.
type blobs struct {
	mu     sync.Mutex
	blob   map[digest.Digest][]byte
	opened int
}

type blob struct{ *bytes.Reader }

func (b blob) Close() error { return nil }

func (b *blobs) Open(_ context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened++
	data, ok := b.blob[desc.Digest]
	if !ok {
		return nil, errdefs.NotFound("blob %s", desc.Digest)
	}
	return blob{bytes.NewReader(data)}, nil
}

// image is layers with what a manifest and a config say of them.
type image struct {
	layers  []ocispec.Descriptor
	diffIDs []digest.Digest
}

// add makes a layer with files of the given names and contents.
func (b *blobs) add(t *testing.T, img *image, files ...string) {
	t.Helper()
	var raw, packed bytes.Buffer
	w := tar.NewWriter(&raw)
	for i := 0; i < len(files); i += 2 {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))})
		if err == nil {
			_, err = io.WriteString(w, files[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(&packed)
	z.Write(raw.Bytes())
	z.Close()
	d := digest.FromBytes(packed.Bytes())
	if b.blob == nil {
		b.blob = map[digest.Digest][]byte{}
	}
	b.blob[d] = packed.Bytes()
	img.layers = append(img.layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: int64(packed.Len())})
	img.diffIDs = append(img.diffIDs, digest.FromBytes(raw.Bytes()))
}

func open(t *testing.T) snapshot.Snapshotter {
	t.Helper()
	dir := t.TempDir()
	sup, err := overlay.Probe(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if sup.OK {
		return overlay.Open(dir, overlay.Options{UserXattr: sup.UserXattr, RecordOwner: sup.RecordOwner})
	}
	n, err := native.Probe(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return native.Open(dir, native.Options{RecordOwner: n.RecordOwner})
}

func count(t *testing.T, s snapshot.Snapshotter) (all, committed int) {
	t.Helper()
	err := s.Walk(t.Context(), func(i snapshot.Info) error {
		all++
		if i.State == snapshot.Committed {
			committed++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, committed
}

func read(t *testing.T, s snapshot.Snapshotter, id, name string) string {
	t.Helper()
	v, err := s.View(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	b, err := os.ReadFile(v.Dir() + "/" + name)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestChainID(t *testing.T) {
	// The recursion of OCI image-spec, config.md, written out.
	a, b, c := digest.FromString("a"), digest.FromString("b"), digest.FromString("c")
	ab := digest.FromString(string(a) + " " + string(b))
	abc := digest.FromString(string(ab) + " " + string(c))
	for want, diffIDs := range map[digest.Digest][]digest.Digest{"": nil, a: {a}, ab: {a, b}, abc: {a, b, c}} {
		if got := unpack.ChainID(diffIDs); got != want {
			t.Errorf("ChainID(%v) = %s, want %s", diffIDs, got, want)
		}
	}
}

func TestImage(t *testing.T) {
	s, b, ctx := open(t), &blobs{}, t.Context()
	var one, two image
	big := make([]byte, 9<<20)
	rand.Read(big)
	b.add(t, &one, "a", "1", "b", "1", "big", string(big))
	b.add(t, &one, ".wh.a", "", "b", "2")
	two = image{append([]ocispec.Descriptor(nil), one.layers...), append([]digest.Digest(nil), one.diffIDs...)}
	b.add(t, &two, "c", "3")

	info, err := unpack.Image(ctx, b, s, one.layers, one.diffIDs, unpack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if info.State != snapshot.Committed || info.ChainID != unpack.ChainID(one.diffIDs) {
		t.Errorf("Image: %+v", info)
	}
	if got := read(t, s, info.ID, "b"); got != "2" {
		t.Errorf("b is %q", got)
	}
	if got := read(t, s, info.ID, "big"); got != string(big) {
		t.Error("the big file is not what it was")
	}
	if _, committed := count(t, s); committed != 2 {
		t.Errorf("%d chains, want 2", committed)
	}
	opened := b.opened
	if again, err := unpack.Image(ctx, b, s, one.layers, one.diffIDs, unpack.Options{}); err != nil || again != info {
		t.Errorf("Image again: %+v, %v", again, err)
	}
	if b.opened != opened {
		t.Error("layers that are there were opened")
	}
	var mu sync.Mutex
	states := map[string][]progress.State{}
	sink := progress.Func(func(e progress.Event) {
		mu.Lock()
		defer mu.Unlock()
		states[e.ID] = append(states[e.ID], e.State)
	})
	next, err := unpack.Image(ctx, b, s, two.layers, two.diffIDs, unpack.Options{Progress: sink, Verified: true})
	if err != nil || next.Parent != info.ID || b.opened != opened+1 {
		t.Errorf("Image with one more layer: %+v, %v, %d blobs opened", next, err, b.opened-opened)
	}
	for i, want := range []progress.State{progress.Cached, progress.Cached, progress.Done} {
		got := states[two.layers[i].Digest.String()]
		if len(got) == 0 || got[len(got)-1] != want {
			t.Errorf("layer %d: events %v, want %v at the end", i, got, want)
		}
	}
}

func TestScratch(t *testing.T) {
	s := open(t)
	info, err := unpack.Image(t.Context(), &blobs{}, s, nil, nil, unpack.Options{})
	if err != nil || info.ID != "" {
		t.Errorf("an image without layers: %+v, %v", info, err)
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(b *blobs, img *image)
		class errdefs.Class
		stay  int // layers that were good
	}{
		{"diffID", func(_ *blobs, img *image) { img.diffIDs[1] = digest.FromString("other") }, errdefs.ErrCorrupt, 1},
		{"first diffID", func(_ *blobs, img *image) { img.diffIDs[0] = digest.FromString("other") }, errdefs.ErrCorrupt, 0},
		{"bytes", func(b *blobs, img *image) { b.blob[img.layers[1].Digest][20] ^= 1 }, errdefs.ErrCorrupt, 1},
		{"truncated", func(b *blobs, img *image) {
			d := img.layers[1].Digest
			b.blob[d] = b.blob[d][:len(b.blob[d])-9]
		}, errdefs.ErrCorrupt, 1},
		{"size", func(_ *blobs, img *image) { img.layers[1].Size++ }, errdefs.ErrCorrupt, 1},
		{"missing", func(b *blobs, img *image) { delete(b.blob, img.layers[1].Digest) }, errdefs.ErrNotFound, 1},
		{"media type", func(_ *blobs, img *image) { img.layers[1].MediaType = "text/plain" }, errdefs.ErrUnsupported, 1},
		{"count", func(_ *blobs, img *image) { img.diffIDs = img.diffIDs[:1] }, errdefs.ErrInvalid, 0},
		{"no digest", func(_ *blobs, img *image) { img.diffIDs[1] = "sha256:../x" }, errdefs.ErrInvalid, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, b := open(t), &blobs{}
			var img image
			b.add(t, &img, "a", strings.Repeat("1", 1000))
			b.add(t, &img, "b", strings.Repeat("2", 1000))
			tt.spoil(b, &img)
			if info, err := unpack.Image(t.Context(), b, s, img.layers, img.diffIDs, unpack.Options{}); !errors.Is(err, tt.class) {
				t.Errorf("Image: %+v, %v, want %v", info, err, tt.class)
			}
			if all, committed := count(t, s); all != tt.stay || committed != tt.stay {
				t.Errorf("%d snapshots, %d of them committed, want %d", all, committed, tt.stay)
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	s, b := open(t), &blobs{}
	var img image
	for i := range 5 {
		b.add(t, &img, fmt.Sprint(i), strings.Repeat("x", 1<<20))
	}
	ctx, cancel := context.WithCancel(t.Context())
	sink := progress.Func(func(e progress.Event) {
		if e.State == progress.Done {
			cancel()
		}
	})
	if _, err := unpack.Image(ctx, b, s, img.layers, img.diffIDs, unpack.Options{Progress: sink}); err == nil {
		t.Error("the unpacking went on after its context was done")
	}
	all, committed := count(t, s)
	if all != committed || all == 0 || all == 5 {
		t.Errorf("%d snapshots, %d committed", all, committed)
	}
	if _, err := unpack.Image(t.Context(), b, s, img.layers, img.diffIDs, unpack.Options{}); err != nil {
		t.Errorf("Image after it was interrupted: %v", err)
	}
}

// TestTogether unpacks images with common layers at once: each layer is applied once.
func TestTogether(t *testing.T) {
	s, b := open(t), &blobs{}
	var common image
	for i := range 4 {
		b.add(t, &common, fmt.Sprint(i), strings.Repeat("x", 1<<16))
	}
	var images []image
	for i := range 4 {
		img := image{append([]ocispec.Descriptor(nil), common.layers...), append([]digest.Digest(nil), common.diffIDs...)}
		if i > 1 {
			b.add(t, &img, "own", fmt.Sprint(i))
		}
		images = append(images, img)
	}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			img := images[i%len(images)]
			info, err := unpack.Image(t.Context(), b, s, img.layers, img.diffIDs, unpack.Options{})
			if err != nil || info.ChainID != unpack.ChainID(img.diffIDs) {
				t.Errorf("Image: %+v, %v", info, err)
			}
		})
	}
	wg.Wait()
	if all, committed := count(t, s); all != 6 || committed != 6 {
		t.Errorf("%d snapshots, %d committed, want 6", all, committed)
	}
}
