package anatomy_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/content"
	"github.com/camada/camada/image"
	"github.com/camada/camada/layer/index"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// kept are lists as they lie in the store.
type kept map[digest.Digest][]byte

func (k kept) Of(_ context.Context, _ content.Provider, _ ocispec.Descriptor, diffID digest.Digest) (*index.Index, error) {
	return index.Parse(k[diffID], diffID)
}

// BenchmarkOpen opens an image of 60,000 files from its lists.
func BenchmarkOpen(b *testing.B) {
	x := &index.Index{}
	for i := range 60_000 {
		e := index.Entry{Path: fmt.Sprintf("usr/lib/python3/dist-packages/pkg%03d/sub%d/module_%05d.py", i/100, i/10%10, i), Kind: index.Reg, Mode: 0o644, Size: 1, HasSum: true}
		e.Sum = sha256.Sum256([]byte(e.Path))
		x.Entries = append(x.Entries, e)
	}
	id := digest.FromString("layer")
	lists := kept{id: x.Marshal(id)}
	img := &image.Image{Layers: []ocispec.Descriptor{{}}, DiffIDs: []digest.Digest{id}}
	for b.Loop() {
		a, err := anatomy.Open(b.Context(), nil, lists, img)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := a.Find("usr/lib/python3/dist-packages/pkg001/sub1/module_00110.py"); err != nil {
			b.Fatal(err)
		}
	}
}
