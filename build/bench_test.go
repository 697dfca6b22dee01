package build_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/snapshot/native"
)

// BenchmarkCached builds a context of 10,000 files of which nothing changed, each time as a new
// process would: nothing is kept in memory.
func BenchmarkCached(b *testing.B) {
	dir, root := b.TempDir(), b.TempDir()
	for i := range 100 {
		d := filepath.Join(dir, fmt.Sprintf("dir%02d", i))
		if err := os.Mkdir(d, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range 100 {
			if err := os.WriteFile(filepath.Join(d, fmt.Sprintf("file-%03d.txt", j)), fmt.Appendf(nil, "%d %d", i, j), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	time.Sleep(50 * time.Millisecond) // the files are not racy any more
	src := []byte("FROM scratch\nCOPY . /src\nENV a=b\nCOPY dir01 /x/\n")
	once := func() *build.Result {
		var ex op.Executor
		bd := build.New(build.Parts{Content: local.Open(root, local.Options{}), Snapshots: native.Open(root+"/snapshots", native.Options{}), CacheDir: root + "/cache", Executor: ex})
		res, err := bd.Build(b.Context(), build.Options{Context: dir, Source: src}, nil)
		if err != nil {
			b.Fatal(err)
		}
		return res
	}
	once()
	once()
	b.ReportAllocs()
	for b.Loop() {
		if res := once(); res.Cached != res.Steps {
			b.Fatalf("%d of %d steps were cached", res.Cached, res.Steps)
		}
	}
}
