package registrytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
)

func newCanceled(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx, cancel
}

// sweep sweeps all that was pushed before the last pass.
func (s *suite) sweep(opts registry.SweepOptions) registry.SweepReport {
	s.Helper()
	s.pass()
	if opts.Grace == 0 {
		opts.Grace = s.driver.Grain
	}
	r, err := s.Sweep(s.Context(), opts)
	s.ok(err)
	return r
}

func testSweepBlobs(s *suite) {
	m := s.push("a", 1, "x")
	var loose []digest.Digest
	for i, n := range []int{10, 10_000, 100_000} {
		loose = append(loose, s.blob("a", data(n, 100+i)).Digest)
	}
	r, err := s.Sweep(s.Context(), registry.SweepOptions{})
	s.ok(err)
	if r.Blobs != 0 || r.Manifests != 0 || r.Uploads != 0 || r.Bytes != 0 {
		s.Errorf("a sweep with an hour of grace removed %+v", r)
	}
	s.wantBlob("a", loose[2], data(100_000, 102))
	r = s.sweep(registry.SweepOptions{})
	if r.Blobs != 3 || r.Bytes != 110_010 || r.Manifests != 0 {
		s.Errorf("the sweep says %+v", r)
	}
	if r.Kept < 2 || r.KeptBytes <= 0 {
		s.Errorf("the sweep says that it kept %+v", r)
	}
	for _, d := range loose {
		s.wantNoBlob("a", d)
	}
	s.wantImage("a", m)
	s.wantTag("a", "x", m.Descriptor.Digest)
	s.blob("a", data(100_000, 102))
	s.wantBlob("a", loose[2], data(100_000, 102))
	s.Storage = s.driver.Reopen(s.T, s.Storage)
	s.wantNoBlob("a", loose[1])
	s.wantBlob("a", loose[2], data(100_000, 102))
}

// testSweepAsked: what somebody was told is there stays for a time.
func testSweepAsked(s *suite) {
	d, other := s.blob("a", data(10, 1)).Digest, s.blob("a", data(10, 2)).Digest
	grace := max(time.Second, 2*s.driver.Grain)
	time.Sleep(grace * 3 / 2)
	s.wantBlob("a", d, data(10, 1))
	ctx, stop := context.WithCancel(s.Context())
	var wg sync.WaitGroup
	if s.driver.Condemns {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.StatBlob(s.Context(), "a", d); err != nil {
					s.Error(err)
				}
				time.Sleep(grace / 5)
			}
		})
	}
	s.sweep(registry.SweepOptions{Grace: grace})
	stop()
	wg.Wait()
	s.wantBlob("a", d, data(10, 1))
	s.wantNoBlob("a", other)
}

// testSweepShared: bytes stay as long as one repository has them.
func testSweepShared(s *suite) {
	m := s.push("a", 1)
	layer := m.Requires[1].Digest
	for _, r := range m.Requires {
		s.ok(s.MountBlob(s.Context(), "b", "a", r.Digest))
	}
	s.put("b", m)
	s.ok(s.DeleteManifest(s.Context(), "a", m.Descriptor.Digest, registry.Mover{}))
	s.sweep(registry.SweepOptions{})
	s.wantNoBlob("a", layer)
	s.wantImage("b", m)
	s.ok(s.DeleteManifest(s.Context(), "b", m.Descriptor.Digest, registry.Mover{}))
	s.sweep(registry.SweepOptions{})
	s.wantNoBlob("b", layer)
	r := s.sweep(registry.SweepOptions{})
	if r.Kept != 0 || r.Blobs != 0 {
		s.Errorf("something is left: %+v", r)
	}
}

func testSweepUntagged(s *suite) {
	tagged, loose, inIndex := s.push("a", 1, "x"), s.push("a", 2), s.push("a", 3)
	index, looseIndex := s.indexOf(inIndex), s.indexOf(s.push("a", 4))
	s.put("a", index)
	s.put("a", s.indexOf(index), "deep")
	s.put("a", looseIndex)
	if r := s.sweep(registry.SweepOptions{}); r.Manifests != 0 {
		s.Errorf("a sweep that keeps what has no tag removed %+v", r)
	}
	r := s.sweep(registry.SweepOptions{Untagged: time.Nanosecond})
	if r.Manifests != 3 { // loose, looseIndex and what it required
		s.Errorf("the sweep says %+v", r)
	}
	s.wantNoManifest("a", loose.Descriptor.Digest)
	s.wantNoManifest("a", looseIndex.Descriptor.Digest)
	s.wantNoManifest("a", looseIndex.Requires[0].Digest)
	s.wantNoBlob("a", loose.Requires[1].Digest)
	s.wantImage("a", tagged)
	s.wantImage("a", index)
	s.wantImage("a", inIndex)
	if r := s.sweep(registry.SweepOptions{Untagged: time.Hour}); r.Manifests != 0 {
		s.Errorf("a sweep for what is older than an hour removed %+v", r)
	}
}

// testSweepLog: what a tag pointed to can be brought back for a time.
func testSweepLog(s *suite) {
	old := s.push("a", 1, "x")
	m := s.push("a", 2, "x")
	gone := s.push("a", 3, "y")
	s.move("a", "y", "")
	s.sweep(registry.SweepOptions{Untagged: time.Nanosecond})
	s.wantImage("a", old)
	s.wantImage("a", gone)
	s.move("a", "y", gone.Descriptor.Digest)
	s.wantImage("a", gone)
	s.sweep(registry.SweepOptions{Untagged: time.Nanosecond, Log: -1})
	s.wantNoManifest("a", old.Descriptor.Digest)
	s.wantImage("a", m)
	s.wantImage("a", gone)
	if log, err := s.TagLog(s.Context(), "a", "x"); err != nil || len(log) != 2 {
		s.Errorf("the log after the sweep: %v, %v", log, err)
	}
	// The log of a removed tag is kept as long as logs count; then the tag begins anew.
	for range 45 {
		s.move("a", "z", m.Descriptor.Digest)
		s.move("a", "z", "")
	}
	s.sweep(registry.SweepOptions{})
	if log, err := s.TagLog(s.Context(), "a", "z"); err != nil || len(log) != 90 {
		s.Errorf("the log of a removed tag: %d moves, %v", len(log), err)
	}
	s.sweep(registry.SweepOptions{Log: -1})
	_, err := s.TagLog(s.Context(), "a", "z")
	s.class("the log of a tag that was removed long ago", err, errdefs.ErrNotFound)
	if log, err := s.TagLog(s.Context(), "a", "x"); err != nil || len(log) != 2 {
		s.Errorf("the log of a tag that is there: %v, %v", log, err)
	}
	s.move("a", "z", m.Descriptor.Digest)
	if log, err := s.TagLog(s.Context(), "a", "z"); err != nil || len(log) != 1 || log[0].From != "" {
		s.Errorf("the log of a tag that came back: %v, %v", log, err)
	}
}

func testSweepReferrers(s *suite) {
	m, loose := s.push("a", 1, "x"), s.push("a", 2)
	config := s.blob("a", []byte("{}"))
	refer := func(m registry.Manifest, n int) registry.Manifest {
		r := s.manifestOf(&m.Descriptor, map[string]string{"n": fmt.Sprint(n)}, config)
		s.put("a", r)
		return r
	}
	kept := refer(m, 1)
	kept2 := refer(kept, 2)
	refer(refer(loose, 3), 4)
	nobody := s.manifestOf(nil, nil, config)
	nobody.Descriptor.Digest = digest.FromString("nobody")
	refer(nobody, 5)
	r := s.sweep(registry.SweepOptions{Untagged: time.Nanosecond})
	if r.Manifests != 4 {
		s.Errorf("the sweep says %+v", r)
	}
	s.wantImage("a", kept)
	s.wantImage("a", kept2)
	if l, err := s.Referrers(s.Context(), "a", loose.Descriptor.Digest); err != nil || len(l) != 0 {
		s.Errorf("referrers of what was swept: %v, %v", l, err)
	}
}

func testSweepUploads(s *suite) {
	var ids []string
	for _, n := range []int{0, 100, 100_000} {
		u := s.begin("a", digest.SHA256)
		s.appendTo(u, data(n, 1))
		s.ok(u.Close())
		ids = append(ids, u.ID())
	}
	if r := s.sweep(registry.SweepOptions{}); r.Uploads != 0 {
		s.Errorf("a sweep that keeps uploads for a day removed %+v", r)
	}
	s.pass()
	if r := s.sweep(registry.SweepOptions{Uploads: s.driver.Grain}); r.Uploads != 3 {
		s.Errorf("the sweep says %+v", r)
	}
	for _, id := range ids {
		_, err := s.OpenUpload(s.Context(), "a", id)
		s.class("open", err, errdefs.ErrNotFound)
	}
}

func testSweepRepository(s *suite) {
	m := s.push("a", 1, "x")
	s.push("a/b", 2, "x")
	s.ok(s.DeleteManifest(s.Context(), "a", m.Descriptor.Digest, registry.Mover{}))
	s.sweep(registry.SweepOptions{})
	s.sweep(registry.SweepOptions{})
	l, err := s.ListRepositories(s.Context(), "", -1)
	s.ok(err)
	if !slices.Equal(l, []string{"a/b"}) {
		s.Errorf("repositories after a sweep: %q", l)
	}
	s.push("a", 1, "x")
	s.wantImage("a", m)
}

func testSweepDry(s *suite) {
	m, loose := s.push("a", 1, "x"), s.push("a", 2)
	s.blob("a", data(10, 3))
	s.blob("b", data(10, 3))
	dry := s.sweep(registry.SweepOptions{Untagged: time.Nanosecond, DryRun: true})
	s.wantImage("a", loose)
	s.wantImage("a", m)
	s.pass()
	s.pass()
	// It was asked for, in wantImage.
	r := s.sweep(registry.SweepOptions{Untagged: time.Nanosecond})
	if dry.Manifests != 1 || dry.Manifests != r.Manifests || dry.Blobs < 3 || dry.Blobs != r.Blobs || dry.Bytes != r.Bytes {
		s.Errorf("the dry run says %+v, the sweep %+v", dry, r)
	}
	s.wantNoManifest("a", loose.Descriptor.Digest)
}

// testSweepMany: more than a driver does at once.
func testSweepMany(s *suite) {
	n := 700
	if s.driver.Grain > time.Second/10 {
		n = 70
	}
	var keep []registry.Manifest
	var wg sync.WaitGroup
	var mu sync.Mutex
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				m := s.parse("application/vnd.example+json", map[string]any{"n": i}, digest.SHA256)
				if i%2 == 0 {
					s.put("a", m, fmt.Sprint("t", i))
					mu.Lock()
					keep = append(keep, m)
					mu.Unlock()
				} else {
					s.put("a", m)
				}
				s.blob("b", data(20, i))
			}
		})
	}
	wg.Wait()
	r := s.sweep(registry.SweepOptions{Untagged: time.Nanosecond})
	if r.Manifests != n/2 || r.Blobs < n {
		s.Errorf("the sweep says %+v", r)
	}
	for _, m := range keep {
		s.wantManifest("a", m)
	}
}

func testScrub(s *suite) {
	m := s.push("a", 1, "x")
	s.put("a", s.indexOf(m), "y")
	s.blob("b", data(100_000, 2))
	r, err := s.Scrub(s.Context(), func(p registry.Problem) error {
		s.Errorf("a problem: %+v", p)
		return nil
	})
	s.ok(err)
	if r.Repositories != 2 || r.Manifests != 2 || r.Tags != 2 || r.Blobs < 3 || r.Bytes < 100_000 || r.Problems != 0 {
		s.Errorf("the scrub says %+v", r)
	}
}

// testOneTag: of many who move a tag from where it is, one does.
func testOneTag(s *suite) {
	var ms []registry.Manifest
	for i := range 8 {
		ms = append(ms, s.push("a", i))
	}
	now := digest.Digest("")
	for range 5 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won []digest.Digest
		for i, m := range ms {
			if m.Descriptor.Digest == now {
				continue
			}
			wg.Go(func() {
				var err error
				if i%2 == 0 {
					err = s.MoveTag(s.Context(), "a", "x", registry.Move{To: m.Descriptor.Digest, Expect: &now})
				} else {
					err = s.PutManifest(s.Context(), "a", m, registry.PutOptions{Tags: []string{"x"}, Expect: &now})
				}
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					won = append(won, m.Descriptor.Digest)
				} else if !errdefs.IsConflict(err) {
					s.Errorf("who lost got %v", err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			s.Fatalf("%d of %d won", len(won), len(ms))
		}
		s.wantTag("a", "x", won[0])
		now = won[0]
	}
	log, err := s.TagLog(s.Context(), "a", "x")
	s.ok(err)
	if len(log) != 5 {
		s.Errorf("the log has %d lines: %v", len(log), log)
	}
	for i := range len(log) - 1 {
		if log[i].From != log[i+1].To {
			s.Errorf("line %d leads from %s, the one before to %s", i, log[i].From, log[i+1].To)
		}
	}
}

func testOneBlob(s *suite) {
	for i, n := range []int{100, 100_000} {
		b := data(n, i)
		d := digest.FromBytes(b)
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				repository := fmt.Sprintf("r%d", w%3)
				if w%2 == 0 {
					s.blob(repository, b)
					return
				}
				u := s.begin(repository, digest.SHA256)
				s.appendTo(u, b)
				s.commit(u, d, n)
			})
		}
		wg.Wait()
		for r := range 3 {
			s.wantBlob(fmt.Sprintf("r%d", r), d, b)
		}
	}
	s.sweepProblems()
}

func (s *suite) sweepProblems() {
	s.Helper()
	_, err := s.Scrub(s.Context(), func(p registry.Problem) error {
		s.Errorf("a problem: %+v", p)
		return nil
	})
	s.ok(err)
}

// testStorm: a sweep beside pushes and deletes takes nothing that a manifest requires, and nothing that somebody was told of.
func testStorm(s *suite) {
	grace := max(2*time.Second, 4*s.driver.Grain)
	stop := time.Now().Add(grace * 2)
	ctx := s.Context()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for n := 0; time.Now().Before(stop); n++ {
				// Few seeds, so that blobs that are about to go are pushed again.
				repository, seed := fmt.Sprintf("r%d", r.IntN(2)), r.IntN(12)
				begun := time.Now()
				m := s.image(repository, seed)
				if n%3 == 0 {
					time.Sleep(grace / 10)
				}
				err := s.PutManifest(ctx, repository, m, registry.PutOptions{Tags: []string{fmt.Sprint("t", seed)}})
				if errdefs.IsNotFound(err) && time.Since(begun) > grace*9/10 {
					continue // this machine was too slow for the grace
				}
				if err != nil {
					s.Errorf("%s, image %d: %v", repository, seed, err)
					return
				}
				if r.IntN(3) == 0 {
					if err := s.DeleteManifest(ctx, repository, m.Descriptor.Digest, registry.Mover{}); err != nil && !errdefs.IsNotFound(err) {
						s.Error(err)
					}
				}
			}
		})
	}
	for time.Now().Before(stop) {
		_, err := s.Sweep(ctx, registry.SweepOptions{Grace: grace, Untagged: time.Nanosecond, Log: -1})
		s.ok(err)
		time.Sleep(grace / 50)
	}
	wg.Wait()
	for r := range 2 {
		repository := fmt.Sprintf("r%d", r)
		tags, err := s.ListTags(ctx, repository, "", -1)
		s.ok(err)
		for _, tag := range tags {
			t, err := s.Tag(ctx, repository, tag)
			s.ok(err)
			m, err := s.Manifest(ctx, repository, t.Descriptor.Digest)
			s.ok(err)
			m, err = registry.ParseManifest(m.Descriptor.MediaType, m.Data, digest.SHA256)
			s.ok(err)
			s.wantImage(repository, m)
		}
	}
	s.sweepProblems()
}
