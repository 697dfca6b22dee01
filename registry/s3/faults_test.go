package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/s3"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// document is a manifest that requires nothing.
func document(t *testing.T, what string) registry.Manifest {
	t.Helper()
	m, err := registry.ParseManifest("application/vnd.example+json", fmt.Appendf(nil, `{"what":%q}`, what), digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// image is a manifest of a config and a layer, which are its bytes.
func image(t *testing.T, seed int) (m registry.Manifest, config, layer []byte) {
	t.Helper()
	config = fmt.Appendf(nil, `{"seed":%d}`, seed)
	layer = random(20<<10+seed, seed)
	text := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		ocispec.MediaTypeImageConfig, digest.FromBytes(config), len(config), ocispec.MediaTypeImageLayer, digest.FromBytes(layer), len(layer))
	m, err := registry.ParseManifest(ocispec.MediaTypeImageManifest, []byte(text), digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return m, config, layer
}

func random(n, seed int) []byte {
	b := make([]byte, n)
	c := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = c.Read(b)
	return b
}

// push pushes an image as clients do.
func push(ctx context.Context, t *testing.T, s *s3.Store, repository string, seed int, tags ...string) error {
	t.Helper()
	m, config, layer := image(t, seed)
	for _, b := range [][]byte{config, layer} {
		d := digest.FromBytes(b)
		if _, err := s.StatBlob(ctx, repository, d); err == nil {
			continue
		}
		if err := s.PutBlob(ctx, repository, ocispec.Descriptor{Digest: d, Size: int64(len(b))}, bytes.NewReader(b)); err != nil {
			return err
		}
	}
	return s.PutManifest(ctx, repository, m, registry.PutOptions{Tags: tags, Mover: registry.Mover{Verb: "push"}})
}

// sound checks that nothing is wrong with all that is in a registry.
func sound(t *testing.T, s *s3.Store) {
	t.Helper()
	if _, err := s.Scrub(t.Context(), func(p registry.Problem) error {
		t.Errorf("a problem: %+v", p)
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// wantBlob checks a blob's bytes.
func wantBlob(t *testing.T, s *s3.Store, repository string, b []byte) {
	t.Helper()
	r, err := s.OpenBlob(t.Context(), repository, digest.FromBytes(b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes of %d, %v", len(got), len(b), err)
	}
}

// moves is what writers of one tag were told.
type moves struct {
	mu     sync.Mutex
	acked  map[string]bool
	failed map[string]bool
}

// moveAll moves a tag from many goroutines at once, each with an own storage in turn.
func moveAll(t *testing.T, stores []*s3.Store, writers, each int) *moves {
	t.Helper()
	m := &moves{acked: make(map[string]bool), failed: make(map[string]bool)}
	var wg sync.WaitGroup
	for w := range writers {
		s := stores[w%len(stores)]
		two := []registry.Manifest{document(t, fmt.Sprint(w, " a")), document(t, fmt.Sprint(w, " b"))}
		for _, d := range two {
			for {
				err := s.PutManifest(t.Context(), "r", d, registry.PutOptions{})
				if err == nil {
					break
				}
				if !errdefs.IsUnavailable(err) {
					t.Fatal(err)
				}
			}
		}
		wg.Go(func() {
			for i := range each {
				who := fmt.Sprint(w, ".", i)
				err := s.MoveTag(t.Context(), "r", "latest", registry.Move{To: two[i%2].Descriptor.Digest, Mover: registry.Mover{Who: who, Verb: "push"}})
				m.mu.Lock()
				if err == nil {
					m.acked[who] = true
				} else {
					m.failed[who] = true
					if !errdefs.IsUnavailable(err) {
						t.Error(err)
					}
				}
				m.mu.Unlock()
			}
		})
	}
	wg.Wait()
	return m
}

// check checks that the log has each move that was acknowledged exactly once, and each other one at most once, and that it is one chain.
func (m *moves) check(t *testing.T, s *s3.Store, leftAlone bool) {
	t.Helper()
	log, err := s.TagLog(t.Context(), "r", "latest")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for i, e := range log {
		seen[e.Who]++
		if i+1 < len(log) && (log[i].From != log[i+1].To || !log[i+1].Time.Before(log[i].Time)) {
			t.Errorf("line %d does not follow from the one before it", i)
		}
		if !m.acked[e.Who] && !m.failed[e.Who] {
			t.Errorf("nobody made the move %q", e.Who)
		}
	}
	for who := range m.acked {
		if seen[who] == 0 && !leftAlone {
			t.Errorf("the move %s was acknowledged and is lost", who)
		}
	}
	for who, n := range seen {
		if n > 1 {
			t.Errorf("the move %s is in the log %d times", who, n)
		}
	}
	tag, err := s.Tag(t.Context(), "r", "latest")
	if err != nil || tag.Descriptor.Digest != log[0].To {
		t.Errorf("the tag is %v, %v; the last move led to %s", tag, err, log[0].To)
	}
}

func testReplicasOneTag(t *testing.T, srv *server) {
	o := srv.options()
	stores := []*s3.Store{open(t, o), open(t, o), open(t, o), open(t, o)}
	m := moveAll(t, stores, 8, 12)
	if len(m.failed) > 0 {
		t.Errorf("%d moves failed", len(m.failed))
	}
	m.check(t, open(t, o), false)
}

// testLostAnswers: requests and answers get lost; what was acknowledged is there, once.
func testLostAnswers(t *testing.T, srv *server) {
	o := srv.options()
	var stores []*s3.Store
	for i := range 3 {
		l := o
		l.Transport = &liar{RoundTripper: http.DefaultTransport, rand: rand.New(rand.NewPCG(uint64(i), 2)), percent: 10}
		stores = append(stores, open(t, l))
	}
	m := moveAll(t, stores, 6, 10)
	// A move that failed may have happened: then the next one by the same writer to the other manifest is one as well, and the one after it may find the tag where it leads.
	m.check(t, open(t, o), len(m.failed) > 0)

	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() {
			for n := range 4 {
				if err := push(t.Context(), t, s, "p", 10*(n%2)+i, fmt.Sprint("t", n)); err != nil && !errdefs.IsUnavailable(err) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	sound(t, open(t, o))
}

// testTakenOver: a replica that is cut off under upload loses it to another one, and can do no harm when it comes back.
func testTakenOver(t *testing.T, srv *server) {
	o := srv.options()
	o.Lease = 2 * time.Second
	far := o
	p, address := newProxy(t, o.Endpoint)
	far.Endpoint, far.Tries, far.Timeout = address, 2, time.Second
	a, b := open(t, far), open(t, o)
	data := random(20<<20, 1)
	up, err := a.NewUpload(t.Context(), "r", digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := up.Append(t.Context(), bytes.NewReader(data[:9<<20])); err != nil {
		t.Fatal(err)
	}
	if _, err := b.OpenUpload(t.Context(), "r", up.ID()); !errdefs.IsUnavailable(err) {
		t.Errorf("an upload that is open elsewhere: %v", err)
	}
	p.set(func() { p.off = true })
	if n, err := up.Append(t.Context(), bytes.NewReader(data[9<<20:])); !errdefs.IsUnavailable(err) || n != 0 {
		t.Errorf("while nothing passes: %d, %v", n, err)
	}
	var other registry.Upload
	for range 100 {
		if other, err = b.OpenUpload(t.Context(), "r", up.ID()); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.heal()
	at := other.Size()
	if at < 9<<20 {
		t.Fatalf("%d bytes are left", at)
	}
	if _, err := other.Append(t.Context(), bytes.NewReader(data[at:at+6<<20])); err != nil {
		t.Fatal(err)
	}
	if n, err := up.Append(t.Context(), strings.NewReader("not the same")); err == nil || n != 0 {
		t.Errorf("who lost the upload could go on: %d, %v", n, err)
	}
	if _, err := up.Commit(t.Context(), digest.FromBytes(data)); err == nil {
		t.Error("who lost the upload could commit it")
	}
	if err := up.Close(); err != nil {
		t.Error(err)
	}
	if _, err := other.Append(t.Context(), bytes.NewReader(data[other.Size():])); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Commit(t.Context(), digest.FromBytes(data)); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, b, "r", data)
}

// testCuts: connections break and are slow all the time; what is pushed is whole, and what is read is, too.
func testCuts(t *testing.T, srv *server) {
	o := srv.options()
	direct := open(t, o)
	p, address := newProxy(t, o.Endpoint)
	o.Endpoint, o.Tries = address, 20
	s := open(t, o)
	p.set(func() { p.cut, p.delay = 8<<20, time.Millisecond })
	data := random(9<<20, 2)
	d := digest.FromBytes(data)
	if err := s.PutBlob(t.Context(), "r", ocispec.Descriptor{Digest: d, Size: int64(len(data))}, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.cut = 6 << 20 })
	wantBlob(t, s, "r", data)
	p.set(func() { p.cut, p.delay = 100<<10, 0 })
	if err := push(t.Context(), t, s, "r", 3, "x"); err != nil {
		t.Error(err)
	}
	wantBlob(t, direct, "r", data)
	sound(t, direct)
}

// counted is a transport that counts how many parts are on their way at once, and the bytes of them.
type counted struct {
	http.RoundTripper

	now, most atomic.Int64
	// together is closed when two are on their way; the first one waits for that.
	together chan struct{}
	once     sync.Once
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	if !r.URL.Query().Has("partNumber") {
		return c.RoundTripper.RoundTrip(r)
	}
	n := c.now.Add(r.ContentLength)
	defer c.now.Add(-r.ContentLength)
	for m := c.most.Load(); n > m && !c.most.CompareAndSwap(m, n); m = c.most.Load() {
	}
	if n > 8<<20 {
		c.once.Do(func() { close(c.together) })
	}
	select {
	case <-c.together:
		time.Sleep(20 * time.Millisecond)
	case <-time.After(10 * time.Second):
	}
	return c.RoundTripper.RoundTrip(r)
}

// slow is a reader whose bytes come a while after they were asked for.
type slow struct {
	r     io.Reader
	pause time.Duration
}

func (s slow) Read(p []byte) (int, error) {
	time.Sleep(s.pause)
	return s.r.Read(p[:min(len(p), 1<<20)])
}

// testParts: parts of one upload are on their way side by side, and all uploads together hold no more memory than they may.
func testParts(t *testing.T, srv *server) {
	o := srv.options()
	way := &counted{RoundTripper: http.DefaultTransport, together: make(chan struct{})}
	o.Transport = way
	one := open(t, o)
	data := random(52<<20, 7)
	up, err := one.NewUpload(t.Context(), "r", digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := up.Append(t.Context(), bytes.NewReader(data[:45<<20])); err != nil || n != 45<<20 || up.Size() != n {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if _, err := up.Append(t.Context(), bytes.NewReader(data[45<<20:])); err != nil {
		t.Fatal(err)
	}
	if _, err := up.Commit(t.Context(), digest.FromBytes(data)); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, one, "r", data)
	if way.most.Load() <= 8<<20 {
		t.Error("no two parts were on their way at once")
	}

	o.Memory = 16 << 20
	small := open(t, o)
	way.most.Store(0)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			b := random(18<<20, 100+i)
			if err := small.PutBlob(t.Context(), "r", ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}, slow{bytes.NewReader(b), 2 * time.Millisecond}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if way.most.Load() > 16<<20 {
		t.Errorf("parts of %d bytes were on their way at once", way.most.Load())
	}
	sound(t, small)
}

// testStorm: replicas push, delete and sweep at once.
func testStorm(t *testing.T, srv *server) {
	o := srv.options()
	stores := []*s3.Store{open(t, o), open(t, o), open(t, o)}
	ctx, stop := context.WithTimeout(t.Context(), 4*time.Second)
	defer stop()
	var wg sync.WaitGroup
	var swept atomic.Int32
	pushed := 0
	for i, s := range stores {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 3))
			for ctx.Err() == nil {
				repository, seed := fmt.Sprint("r", r.IntN(2)), r.IntN(6)
				// The grace is far too short for clients: a blob may go before the manifest comes, and then they are told.
				var missing *registry.MissingError
				err := push(t.Context(), t, s, repository, seed, fmt.Sprint("t", seed))
				if err != nil && !errors.As(err, &missing) && !errdefs.IsUnavailable(err) {
					t.Error(err)
				}
				if i == 0 && err == nil {
					pushed++
				}
				m, _, layer := image(t, r.IntN(6))
				if r.IntN(2) == 0 {
					err = s.DeleteManifest(t.Context(), repository, m.Descriptor.Digest, registry.Mover{Verb: "delete"})
				} else {
					err = s.MountBlob(t.Context(), "r2", repository, digest.FromBytes(layer))
				}
				if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsUnavailable(err) && !errdefs.IsConflict(err) {
					t.Error(err)
				}
			}
		})
	}
	for _, s := range stores[:2] {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, err := s.Sweep(t.Context(), registry.SweepOptions{Grace: time.Millisecond, Untagged: time.Nanosecond, Log: -1})
				if err == nil {
					swept.Add(1)
				} else if !errdefs.IsUnavailable(err) {
					t.Error(err)
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	if pushed == 0 || swept.Load() == 0 {
		t.Errorf("%d pushes, %d sweeps", pushed, swept.Load())
	}
	sound(t, stores[0])
}
