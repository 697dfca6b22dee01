package engine

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote/remotetest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// compressed makes an image of one layer with a compression the image that a name of the engine points to.
func compressed(t *testing.T, e *Engine, ref reference.Reference, tar []byte, how compression.Algorithm) ocispec.Descriptor {
	t.Helper()
	l, err := layer.Write(t.Context(), e.content, layer.WriteOptions{Compression: how}, func(w io.Writer) error {
		_, err := w.Write(tar)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tagged(t, e, ref, l.Descriptor, l.DiffID)
}

func tagged(t *testing.T, e *Engine, ref reference.Reference, l ocispec.Descriptor, id digest.Digest) ocispec.Descriptor {
	t.Helper()
	cfg := imagetest.Config()
	cfg.Platform, cfg.RootFS.DiffIDs = platform.Host(), []digest.Digest{id}
	desc, err := image.Write(t.Context(), e.content, cfg, []ocispec.Descriptor{l}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.refs.Set(t.Context(), ref, desc, image.SetOptions{Verb: "build"}); err != nil {
		t.Fatal(err)
	}
	return l
}

// slowGzip is a layer as no recipe makes it.
func slowGzip(t *testing.T, e *Engine, ref reference.Reference, tar []byte) ocispec.Descriptor {
	t.Helper()
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, 9)
	_, _ = z.Write(tar)
	_ = z.Close()
	desc, err := content.WriteBlob(t.Context(), e.content, b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	desc.MediaType = ocispec.MediaTypeImageLayerGzip
	return tagged(t, e, ref, desc, digest.FromBytes(tar))
}

// TestPullOtherCompression pulls an image whose layer is here in another compression: nearly nothing is fetched.
func TestPullOtherCompression(t *testing.T) {
	tar := imagetest.Layer("a", randomText(5, 2_000_000), "b", randomText(6, 100_000))
	for name, tc := range map[string]struct {
		there, here compression.Algorithm
		noDelta     bool
		most        int64 // bytes, besides documents
	}{
		"gzip, here zstd": {compression.Gzip, compression.Zstd, false, remakeHead},
		"zstd, here gzip": {compression.Zstd, compression.Gzip, false, remakeHead},
		"none, here gzip": {compression.None, compression.Gzip, false, remakeHead},
		"not wanted":      {compression.Gzip, compression.Zstd, true, 10_000_000},
		"made by others":  {"", compression.Zstd, false, 10_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			reg := remotetest.Start(t)
			ref := reg.Ref("app:1")
			a, b := machine(t), machine(t)
			var want ocispec.Descriptor
			if tc.there == "" {
				want = slowGzip(t, a, ref, tar)
			} else {
				want = compressed(t, a, ref, tar, tc.there)
			}
			if _, err := a.Push(t.Context(), ref.String(), PushOptions{}, nil); err != nil {
				t.Fatal(err)
			}
			compressed(t, b, reg.Ref("mine:1"), tar, tc.here)
			read := counting(reg)
			if _, err := b.Pull(t.Context(), PullOptions{Image: ref.String(), NoDelta: tc.noDelta}, nil); err != nil {
				t.Fatal(err)
			}
			most, least := tc.most+3000, int64(0)
			if tc.most > remakeHead {
				least, most = want.Size, want.Size+3000
			}
			if n := read.Load(); n > most || n < least {
				t.Errorf("%d bytes were read, want %d to %d", n, least, most)
			}
			if got := readBlob(t, b, want); digest.FromBytes(got) != want.Digest {
				t.Errorf("the layer is another one")
			}
			if list, err := b.content.Ingests(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("left: %v, %v", list, err)
			}
		})
	}
}
