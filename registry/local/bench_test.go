package local_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// BenchmarkPutBlob stores blobs of 10 KiB from 8 goroutines, each durable when it is acknowledged.
func BenchmarkPutBlob(b *testing.B) {
	s, err := local.Open(b.Context(), b.TempDir(), local.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range 8 {
		wg.Go(func() {
			data := make([]byte, 10<<10)
			rand.Read(data)
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				copy(data, strconv.FormatInt(i, 10)+" ")
				desc := ocispec.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
				if err := s.PutBlob(b.Context(), "a/b", desc, bytes.NewReader(data)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blobs/s")
}

// TestMany fills a registry with many repositories, tags and blobs and looks at what costs grow with. It tells times and asserts none.
func TestMany(t *testing.T) {
	repositories, tags := 20, 100
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		repositories, tags = 1000, 1000
	}
	m := &many{T: t, dir: t.TempDir()}
	m.step("start, empty", func() { m.s = open(t, m.dir) })
	m.step("the first push", func() { m.push("team7/app7", "first") })
	m.step("pushes", func() { m.fill(repositories, tags) })
	m.close()
	m.step("start", func() { m.s = open(t, m.dir) })
	m.close()
	m.evict()
	m.step("start, nothing in the page cache", func() { m.s = open(t, m.dir) })
	m.step("20 tags after one", func() {
		l, err := m.s.ListTags(t.Context(), "team7/app7", "v50", 20)
		m.check(len(l) == 20, err)
	})
	m.step("all tags of a repository", func() {
		l, err := m.s.ListTags(t.Context(), "team7/app7", "", -1)
		m.check(len(l) == tags+1, err)
	})
	m.step("10 repositories after one", func() {
		l, err := m.s.ListRepositories(t.Context(), "team1", 10)
		m.check(len(l) == 10, err)
	})
	m.step("all repositories", func() {
		l, err := m.s.ListRepositories(t.Context(), "", -1)
		m.check(len(l) == repositories, err)
	})
	m.step("a tag and its manifest", func() {
		tag, err := m.s.Tag(t.Context(), "team7/app7", "v77")
		m.check(err == nil, err)
		got, err := m.s.Manifest(t.Context(), "team7/app7", tag.Descriptor.Digest)
		m.check(len(got.Data) > 0, err)
	})
	m.step("referrers of a manifest", func() {
		tag, err := m.s.Tag(t.Context(), "team7/app7", "v78")
		m.check(err == nil, err)
		l, err := m.s.Referrers(t.Context(), "team7/app7", tag.Descriptor.Digest)
		m.check(len(l) == 0, err)
	})
	m.step("a push", func() { m.push("team7/app7", "new") })
	for _, what := range []string{"a sweep", "a sweep of manifests without tags, too"} {
		opts := registry.SweepOptions{Grace: time.Nanosecond}
		if what != "a sweep" {
			opts.Untagged = time.Nanosecond
		}
		m.step(what, func() {
			r, err := m.s.Sweep(t.Context(), opts)
			m.check(r.Manifests == 0 && r.Blobs == 0 && r.Kept == 2*repositories*tags+6, err)
		})
	}
	m.close()
	m.step("start, for what is held at rest", func() { m.s = open(t, m.dir) })
}

// many is a registry of many things.
type many struct {
	*testing.T

	dir string
	s   *local.Store
}

func (m *many) check(ok bool, err error) {
	m.Helper()
	if !ok || err != nil {
		m.Errorf("not as it should be: %v", err)
	}
}

func (m *many) close() {
	m.Helper()
	if err := m.s.Close(); err != nil {
		m.Fatal(err)
	}
}

// push pushes an image as one client does.
func (m *many) push(repository, tag string) {
	m.Helper()
	if _, err := pushImage(m.Context(), m.s, repository, tag, 20_000); err != nil {
		m.Fatal(err)
	}
}

// step tells how long something took, and the memory that it needed at most and left behind.
func (m *many) step(what string, fn func()) {
	m.Helper()
	// Peaks are counted from here on (proc(5), clear_refs).
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600); err != nil {
		m.Log(err)
	}
	begun := time.Now()
	fn()
	took, peak := time.Since(begun), status("VmHWM:")
	debug.FreeOSMemory()
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	m.Logf("%-40s %12v   at most %s, then %s, heap %4.1f MB", what, took.Round(time.Microsecond), peak, status("VmRSS:"), float64(after.HeapAlloc)/1e6)
}

// fill pushes many small images, from many clients.
func (m *many) fill(repositories, tags int) {
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for r := w; r < repositories; r += 32 {
				for i := range tags {
					if err := m.small(fmt.Sprintf("team%d/app%d", r%50, r), fmt.Sprintf("v%d", i), fmt.Appendf(nil, "%d of %d", i, r)); err != nil {
						m.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// small pushes a blob that is the image's own, and a manifest that requires it.
func (m *many) small(repository, tag string, blob []byte) error {
	d := digest.FromBytes(blob)
	if err := m.s.PutBlob(m.Context(), repository, ocispec.Descriptor{Digest: d, Size: int64(len(blob))}, bytes.NewReader(blob)); err != nil {
		return err
	}
	doc := fmt.Appendf(nil, `{"schemaVersion":2,"config":{"digest":%q,"size":%d}}`, d, len(blob))
	parsed, err := registry.ParseManifest(ocispec.MediaTypeImageManifest, doc, digest.SHA256)
	if err != nil {
		return err
	}
	return m.s.PutManifest(m.Context(), repository, parsed, registry.PutOptions{Tags: []string{tag}})
}

// evict throws the registry's files out of the page cache.
func (m *many) evict() {
	err := filepath.WalkDir(m.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	})
	if err != nil {
		m.Error(err)
	}
}

// status is a line of what the kernel knows of this process.
func status(name string) string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
