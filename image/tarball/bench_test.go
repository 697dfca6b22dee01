package tarball_test

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/image/tarball"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// bigImage stores an image of four layers of 64 MiB that cannot be compressed.
func bigImage(b *testing.B, ing content.Ingester) ocispec.Descriptor {
	b.Helper()
	cfg := imagetest.Config()
	var layers []ocispec.Descriptor
	for i := range uint64(4) {
		r := rand.NewChaCha8([32]byte{byte(i)})
		d, err := content.WriteReader(context.Background(), ing, io.LimitReader(r, 64<<20), ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: -1})
		if err != nil {
			b.Fatal(err)
		}
		layers = append(layers, d)
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, d.Digest)
	}
	desc, err := image.Write(context.Background(), ing, cfg, layers, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(256 << 20)
	return desc
}

func BenchmarkSave(b *testing.B) {
	store := newStore(b)
	images := []tarball.Image{{Descriptor: bigImage(b, store)}}
	out, err := os.Create(filepath.Join(b.TempDir(), "out.tar"))
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	for b.Loop() {
		if _, err := out.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		if err := tarball.Save(context.Background(), out, store, images, tarball.SaveOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	store := newStore(b)
	images := []tarball.Image{{Descriptor: bigImage(b, store)}}
	out, err := os.Create(filepath.Join(b.TempDir(), "out.tar"))
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	if err := tarball.Save(context.Background(), out, store, images, tarball.SaveOptions{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := out.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		if _, err := tarball.Load(context.Background(), out, local.Open(b.TempDir(), local.Options{}), tarball.LoadOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
