package local_test

import (
	"bytes"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local"
	"github.com/camada/camada/registry/registrytest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func open(t *testing.T, dir string) *local.Store {
	t.Helper()
	s, err := local.Open(t.Context(), dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStorage(t *testing.T) {
	registrytest.Run(t, registrytest.Driver{
		Open: func(t *testing.T) registry.Storage { return open(t, t.TempDir()) },
		Reopen: func(t *testing.T, s registry.Storage) registry.Storage {
			dir := s.(*local.Store).Root()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, dir)
		},
		Grain: 10 * time.Millisecond,
	})
}

// TestOneFile puts the same bytes by many at once: one file has them afterwards.
func TestOneFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	const rounds = 50
	for i := range rounds {
		b := bytes.Repeat([]byte{byte(i), 1}, 50_000)
		desc := ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := s.PutBlob(t.Context(), "a", desc, bytes.NewReader(b)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	files, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*/*"))
	if err != nil || len(files) != rounds {
		t.Errorf("%d files, want %d: %v", len(files), rounds, err)
	}
}
