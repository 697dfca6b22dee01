package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local"
	"github.com/camada/camada/registry/s3"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fake is an upstream in memory. Its repositories all have the same.
type fake struct {
	mu        sync.Mutex
	tags      map[string]digest.Digest
	manifests map[digest.Digest][]byte
	blobs     map[digest.Digest][]byte
	// err, when not nil, is the answer to everything.
	err error
	// asked counts what was asked for.
	asked map[string]int
	// gate, when not nil, is waited for before the second half of a blob.
	gate chan struct{}
	// wrong changes the bytes of blobs.
	wrong func([]byte) []byte
	refs  []ocispec.Descriptor
}

func newFake() *fake {
	return &fake{tags: map[string]digest.Digest{}, manifests: map[digest.Digest][]byte{}, blobs: map[digest.Digest][]byte{}, asked: map[string]int{}}
}

// ask counts a question, and answers it with the error of all.
func (f *fake) ask(what string) error {
	f.asked[what]++
	return f.err
}

func (f *fake) count(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[what]
}

func (f *fake) set(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

func (f *fake) Resolve(_ context.Context, _, tag string) (ocispec.Descriptor, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ask("resolve"); err != nil {
		return ocispec.Descriptor{}, err
	}
	d, ok := f.tags[tag]
	if !ok {
		return ocispec.Descriptor{}, errdefs.NotFound("no tag %s", tag)
	}
	return ocispec.Descriptor{Digest: d}, nil
}

func (f *fake) Manifest(_ context.Context, _ string, d digest.Digest) (ocispec.Descriptor, []byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ask("manifest"); err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	b, ok := f.manifests[d]
	if !ok {
		return ocispec.Descriptor{}, nil, errdefs.NotFound("no manifest %s", d)
	}
	var doc struct{ MediaType string }
	_ = json.Unmarshal(b, &doc)
	return ocispec.Descriptor{MediaType: doc.MediaType, Digest: d, Size: int64(len(b))}, b, nil
}

func (f *fake) StatBlob(_ context.Context, _ string, d digest.Digest) (content.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ask("stat"); err != nil {
		return content.Info{}, err
	}
	b, ok := f.blobs[d]
	if !ok {
		return content.Info{}, errdefs.NotFound("no blob %s", d)
	}
	return content.Info{Digest: d, Size: int64(len(b))}, nil
}

func (f *fake) OpenBlob(ctx context.Context, _ string, d digest.Digest, _ int64) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ask("blob"); err != nil {
		return nil, err
	}
	b, ok := f.blobs[d]
	if !ok {
		return nil, errdefs.NotFound("no blob %s", d)
	}
	if f.wrong != nil {
		b = f.wrong(bytes.Clone(b))
	}
	gate := f.gate
	return io.NopCloser(io.MultiReader(bytes.NewReader(b[:len(b)/2]), readerFunc(func([]byte) (int, error) {
		if gate != nil {
			select {
			case <-gate:
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		return 0, io.EOF
	}), bytes.NewReader(b[len(b)/2:]))), nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (f *fake) Tags(context.Context, string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ask("tags"); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Keys(f.tags)), nil
}

func (f *fake) Referrers(context.Context, string, digest.Digest) ([]ocispec.Descriptor, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refs, f.ask("referrers")
}

// image adds an image with some layers, and returns its manifest.
func (f *fake) image(t *testing.T, tag string, layers ...[]byte) (digest.Digest, []byte) {
	t.Helper()
	config := []byte(`{"tag":"` + tag + `"}`)
	doc := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: describe(ocispec.MediaTypeImageConfig, config)}
	doc.SchemaVersion = 2
	f.set(func() { f.blobs[doc.Config.Digest] = config })
	for _, l := range layers {
		d := describe(ocispec.MediaTypeImageLayer, l)
		doc.Layers = append(doc.Layers, d)
		f.set(func() { f.blobs[d.Digest] = l })
	}
	return f.document(t, tag, doc)
}

func (f *fake) document(t *testing.T, tag string, doc any) (digest.Digest, []byte) {
	t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	d := digest.FromBytes(b)
	f.set(func() {
		f.manifests[d] = b
		if tag != "" {
			f.tags[tag] = d
		}
	})
	return d, b
}

func describe(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// driver is a kind of storage below the copies.
type driver struct {
	// begin is what the clock says at first.
	begin time.Time
	// clocked says that the storage goes by the test's clock, too. Otherwise its times are real ones, and grace times short.
	clocked bool
	// place names a new, empty storage, and open opens one.
	place func(t *testing.T) string
	open  func(t *testing.T, place string, now func() time.Time) (registry.Storage, error)
}

// inDirectory keeps copies in a directory.
func inDirectory() driver {
	return driver{
		begin: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), clocked: true, place: (*testing.T).TempDir,
		open: func(t *testing.T, dir string, now func() time.Time) (registry.Storage, error) {
			return local.Open(t.Context(), dir, local.Options{Now: now})
		},
	}
}

// inObjects keeps copies in an object store.
func inObjects(o peers.Objects) driver {
	var places atomic.Int64
	return driver{
		begin: time.Now(),
		place: func(*testing.T) string { return fmt.Sprint("place", places.Add(1)) },
		open: func(t *testing.T, prefix string, _ func() time.Time) (registry.Storage, error) {
			return s3.Open(t.Context(), s3.Options{Endpoint: o.Endpoint, Bucket: "registry", Prefix: prefix, AccessKey: o.ID, SecretKey: o.Secret, Create: true})
		},
	}
}

// TestCopies runs all tests on both drivers.
func TestCopies(t *testing.T) {
	all := func(t *testing.T, in driver) {
		for _, tt := range []struct {
			name string
			run  func(*testing.T, driver)
		}{
			{"PullIsKept", testPullIsKept},
			{"TagsAreLookedUpAgain", testTagsAreLookedUpAgain},
			{"AbsentIsRemembered", testAbsentIsRemembered},
			{"OneDownload", testOneDownload},
			{"WrongBytes", testWrongBytes},
			{"LeftDownload", testLeftDownload},
			{"IndexOfWhichOneIsPulled", testIndexOfWhichOneIsPulled},
			{"Lists", testLists},
			{"PushesAreRefused", testPushesAreRefused},
			{"Evict", testEvict},
		} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				tt.run(t, in)
			})
		}
	}
	t.Run("local", func(t *testing.T) { all(t, inDirectory()) })
	t.Run("s3", func(t *testing.T) { all(t, inObjects(peers.Need(t, "versitygw").StartVersity())) })
}

// world is a storage with copies, its upstream and a clock.
type world struct {
	*Storage
	*testing.T

	driver driver
	up     *fake
	inner  registry.Storage
	place  string
	mu     sync.Mutex
	at     time.Time
	faults []error
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

func newWorld(t *testing.T, in driver, change func(*Source)) *world {
	t.Helper()
	w := &world{T: t, driver: in, up: newFake(), place: in.place(t), at: in.begin}
	w.start(change)
	t.Cleanup(func() { w.Close() })
	return w
}

func (w *world) start(change func(*Source)) {
	w.Helper()
	inner, err := w.driver.open(w.T, w.place, w.now)
	if err != nil {
		w.Fatal(err)
	}
	src := Source{Prefix: "hub", Host: "docker.io", Plain: []string{"library/*"}, Upstream: w.up, Fresh: 10 * time.Minute, Absent: time.Minute}
	if change != nil {
		change(&src)
	}
	w.inner = inner
	w.Storage = New(inner, Options{Sources: []Source{src}, Dir: w.TempDir(), Now: w.now, Fault: func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.faults = append(w.faults, err)
	}})
}

// sweep removes what nothing leads to, two days later.
func (w *world) sweep(opts registry.SweepOptions) {
	w.Helper()
	w.pass(48 * time.Hour)
	if !w.driver.clocked {
		opts.Grace = 50 * time.Millisecond
		opts.Untagged = min(opts.Untagged, time.Nanosecond)
	}
	if _, err := w.Sweep(w.Context(), opts); err != nil {
		w.Fatal(err)
	}
}

func (w *world) read(repository string, d digest.Digest) ([]byte, error) {
	r, err := w.OpenBlob(w.Context(), repository, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// pull pulls a tag with all that it leads to.
func (w *world) pull(repository, tag string) digest.Digest {
	w.Helper()
	t, err := w.Tag(w.Context(), repository, tag)
	if err != nil {
		w.Fatalf("pull %s:%s: %v", repository, tag, err)
	}
	m, err := w.Manifest(w.Context(), repository, t.Descriptor.Digest)
	if err != nil {
		w.Fatalf("pull %s:%s: %v", repository, tag, err)
	}
	m, err = registry.ParseManifest(m.Descriptor.MediaType, m.Data, digest.SHA256)
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range m.Requires {
		b, err := w.read(repository, r.Digest)
		if err != nil || digest.FromBytes(b) != r.Digest {
			w.Fatalf("pull %s:%s: blob %s: %d bytes, %v", repository, tag, r.Digest, len(b), err)
		}
	}
	w.flights.wait() // what was read is kept then
	return t.Descriptor.Digest
}

func (w *world) want(what string, n int) {
	w.Helper()
	if got := w.up.count(what); got != n {
		w.Errorf("upstream was asked %d times for %s, want %d", got, what, n)
	}
}

func (w *world) class(what string, err error, class errdefs.Class) {
	w.Helper()
	if !errors.Is(err, class) {
		w.Errorf("%s: %v, want the class %q", what, err, class)
	}
}

func layer(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7) + seed
	}
	return b
}
