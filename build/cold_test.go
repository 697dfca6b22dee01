package build_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/camada/camada/build"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/snapshot/overlay"
)

// BenchmarkCold copies a context of 5,000 files and 100 MB, half of it random, and unpacks
// the layer for a step on top.
func BenchmarkCold(b *testing.B) {
	dir := b.TempDir()
	rng := rand.NewChaCha8(sha256.Sum256([]byte("seed")))
	data := make([]byte, 20<<10)
	for i := range 5000 {
		d := filepath.Join(dir, fmt.Sprintf("dir%02d", i%100))
		if err := os.MkdirAll(d, 0o755); err != nil {
			b.Fatal(err)
		}
		rng.Read(data[:10<<10])
		if err := os.WriteFile(filepath.Join(d, fmt.Sprintf("file-%03d.txt", i)), data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(5000 * 20 << 10)
	for b.Loop() {
		b.StopTimer()
		root, err := os.MkdirTemp(b.TempDir(), "store")
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		bd := build.New(build.Parts{Content: local.Open(root, local.Options{}), Snapshots: overlay.Open(root+"/snapshots", overlay.Options{}), CacheDir: root + "/cache"})
		if _, err := bd.Build(b.Context(), build.Options{Context: dir, Source: []byte("FROM scratch\nCOPY . /src\nWORKDIR /w\n")}, nil); err != nil {
			b.Fatal(err)
		}
	}
}
