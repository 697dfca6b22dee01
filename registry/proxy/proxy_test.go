package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func testPullIsKept(t *testing.T, in driver) {
	w := newWorld(t, in, nil)
	small, big := layer(100, 1), layer(300_000, 2)
	d, _ := w.up.image(t, "v1", small, big)
	if got := w.pull("hub/a/b", "v1"); got != d {
		t.Fatalf("pulled %s", got)
	}
	w.want("resolve", 1)
	w.want("manifest", 1)
	w.want("blob", 3)
	// All of it is here now, as something that a sweep keeps, also for a new process that has no upstream.
	w.up.set(func() { w.up.err = errdefs.Unavailable("down") })
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w.start(nil)
	w.sweep(registry.SweepOptions{})
	w.pull("hub/a/b", "v1")
	w.want("blob", 3)
	if len(w.faults) == 0 {
		t.Error("nobody was told that the tag could not be looked up")
	}
	log, err := w.TagLog(t.Context(), "hub/a/b", "v1")
	if err != nil || len(log) != 1 || log[0].Verb != verb {
		t.Errorf("log %v, %v", log, err)
	}
	report, err := w.Scrub(t.Context(), func(p registry.Problem) error { t.Errorf("problem %+v", p); return nil })
	if err != nil || report.Problems != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

func testTagsAreLookedUpAgain(t *testing.T, in driver) {
	w := newWorld(t, in, nil)
	w.up.image(t, "v1", layer(10, 1))
	old := w.pull("hub/a", "v1")
	next, _ := w.up.image(t, "v1", layer(10, 9))
	if got := w.pull("hub/a", "v1"); got != old {
		t.Error("a fresh tag was looked up")
	}
	w.want("resolve", 1)
	w.pass(11 * time.Minute)
	if got := w.pull("hub/a", "v1"); got != next {
		t.Error("the tag did not move")
	}
	// Back to what is here: nothing is fetched.
	manifests := w.up.count("manifest")
	w.up.set(func() { w.up.tags["v1"] = old })
	w.pass(11 * time.Minute)
	if got := w.pull("hub/a", "v1"); got != old {
		t.Error("the tag did not move back")
	}
	w.want("manifest", manifests)
	// Upstream forbids it: what is here is not shown. Then it is down: what is here counts, and it is not asked all the time.
	w.pass(11 * time.Minute)
	w.up.set(func() { w.up.err = errdefs.Permission("401") })
	_, err := w.Tag(t.Context(), "hub/a", "v1")
	w.class("a tag that upstream does not show", err, errdefs.ErrPermission)
	w.up.set(func() { w.up.err = errdefs.Unavailable("429") })
	asked := w.up.count("resolve")
	for range 3 {
		if got := w.pull("hub/a", "v1"); got != old {
			t.Error("no stale tag")
		}
	}
	w.want("resolve", asked+1)
	// It is gone there: here, too, but its history stays.
	w.pass(time.Minute)
	w.up.set(func() { w.up.err = nil; delete(w.up.tags, "v1") })
	_, err = w.Tag(t.Context(), "hub/a", "v1")
	w.class("a tag that is gone", err, errdefs.ErrNotFound)
	if log, err := w.TagLog(t.Context(), "hub/a", "v1"); err != nil || len(log) != 4 {
		t.Errorf("log %v, %v", log, err)
	}
}

func testAbsentIsRemembered(t *testing.T, in driver) {
	w := newWorld(t, in, nil)
	d := digest.FromString("none")
	for range 2 {
		_, err := w.Tag(t.Context(), "hub/a", "none")
		w.class("tag", err, errdefs.ErrNotFound)
		_, err = w.Manifest(t.Context(), "hub/a", d)
		w.class("manifest", err, errdefs.ErrNotFound)
		_, err = w.StatBlob(t.Context(), "hub/a", d)
		w.class("stat", err, errdefs.ErrNotFound)
		_, err = w.OpenBlob(t.Context(), "hub/a", d)
		w.class("blob", err, errdefs.ErrNotFound)
	}
	w.want("resolve", 1)
	w.want("manifest", 1)
	w.want("stat", 1)
	if names, err := w.ListRepositories(t.Context(), "", -1); err != nil || len(names) > 0 {
		t.Errorf("what is not there made %q, %v", names, err)
	}
	w.up.image(t, "none", layer(10, 1))
	w.pass(2 * time.Minute)
	w.pull("hub/a", "none")
	w.up.set(func() { w.up.err = errdefs.Unavailable("down") })
	_, err := w.Tag(t.Context(), "hub/a", "other")
	w.class("a tag that is not here, while upstream is down", err, errdefs.ErrUnavailable)
}

// testOneDownload: those who ask for a blob at the same time share one download, and read it while it comes.
func testOneDownload(t *testing.T, in driver) {
	w := newWorld(t, in, nil)
	big := layer(1<<20, 3)
	w.up.image(t, "v1", big)
	w.up.gate = make(chan struct{})
	d := digest.FromBytes(big)
	var wg sync.WaitGroup
	half := make(chan struct{}, 8)
	for range 8 {
		wg.Go(func() {
			r, err := w.OpenBlob(t.Context(), "hub/a", d)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			got := make([]byte, len(big)/2)
			_, err = io.ReadFull(r, got)
			half <- struct{}{} // before the rest has come
			rest, err2 := io.ReadAll(r)
			if err != nil || err2 != nil || !bytes.Equal(append(got, rest...), big) {
				t.Errorf("%d bytes, %v, %v", len(got)+len(rest), err, err2)
			}
		})
	}
	for range 8 {
		<-half
	}
	if _, err := w.inner.StatBlob(t.Context(), "hub/a", d); !errdefs.IsNotFound(err) {
		t.Errorf("half a blob is kept: %v", err)
	}
	// A part of it, from the middle.
	r, err := w.OpenBlob(t.Context(), "hub/a", d)
	if err != nil {
		t.Fatal(err)
	}
	at := make([]byte, 1000)
	close(w.up.gate)
	if _, err := r.ReadAt(at, 700_000); err != nil || !bytes.Equal(at, big[700_000:701_000]) || r.Size() != 1<<20 {
		t.Errorf("a part: %v", err)
	}
	r.Close()
	wg.Wait()
	w.flights.wait()
	w.want("blob", 1)
	if _, err := w.inner.StatBlob(t.Context(), "hub/a", d); err != nil {
		t.Error(err)
	}
}

// testWrongBytes: who reads what is wrong gets no whole blob, and nothing of it is kept.
func testWrongBytes(t *testing.T, in driver) {
	for name, wrong := range map[string]func([]byte) []byte{
		"other": func(b []byte) []byte { b[len(b)-1]++; return b },
		"less":  func(b []byte) []byte { return b[:len(b)-1] },
		"more":  func(b []byte) []byte { return append(b, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, in, nil)
			b := layer(200_000, 4)
			w.up.image(t, "v1", b)
			w.up.wrong = wrong
			got, err := w.read("hub/a", digest.FromBytes(b))
			w.class("wrong bytes", err, errdefs.ErrCorrupt)
			w.flights.mu.Lock()
			left := len(w.flights.all)
			w.flights.mu.Unlock()
			if left > 0 {
				t.Error("who asks again joins the download that failed")
			}
			if len(got) >= len(b) {
				t.Errorf("all %d bytes were given", len(got))
			}
			w.flights.wait()
			if _, err := w.inner.StatBlob(t.Context(), "hub/a", digest.FromBytes(b)); !errdefs.IsNotFound(err) {
				t.Errorf("it is kept: %v", err)
			}
			w.up.set(func() { w.up.wrong = nil })
			if got, err := w.read("hub/a", digest.FromBytes(b)); err != nil || !bytes.Equal(got, b) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
	w := newWorld(t, in, nil)
	d, b := w.up.image(t, "v1", layer(10, 1))
	w.up.set(func() { w.up.manifests[d] = append(b, ' ') })
	_, err := w.Tag(t.Context(), "hub/a", "v1")
	w.class("a wrong manifest", err, errdefs.ErrCorrupt)
}

// testLeftDownload: nobody waits for it any more, so it ends, and the next one begins anew.
func testLeftDownload(t *testing.T, in driver) {
	w := newWorld(t, in, nil)
	big := layer(1<<20, 3)
	w.up.image(t, "v1", big)
	w.up.gate = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := w.OpenBlob(ctx, "hub/a", digest.FromBytes(big))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	// Half of it is there at most, of which the last byte is held back only at the end.
	w.flights.mu.Lock()
	f := w.flights.all["blob hub/a@"+digest.FromBytes(big).String()]
	w.flights.mu.Unlock()
	f.change(func() { f.n = 1000 })
	r.Close()
	w.flights.wait()
	close(w.up.gate)
	w.up.set(func() { w.up.gate = nil })
	if got, err := w.read("hub/a", digest.FromBytes(big)); err != nil || !bytes.Equal(got, big) {
		t.Errorf("the next one: %v", err)
	}
	w.want("blob", 2)
}

func testIndexOfWhichOneIsPulled(t *testing.T, in driver) {
	w := newWorld(t, in, nil)
	one, oneBytes := w.up.image(t, "", layer(10, 1))
	_, other := w.up.image(t, "", layer(10, 2))
	idx := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{describe(ocispec.MediaTypeImageManifest, oneBytes), describe(ocispec.MediaTypeImageManifest, other)}}
	idx.SchemaVersion = 2
	w.up.document(t, "v1", idx)
	tag, err := w.Tag(t.Context(), "hub/a", "v1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Manifest(t.Context(), "hub/a", tag.Descriptor.Digest); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Manifest(t.Context(), "hub/a", one); err != nil {
		t.Fatal(err)
	}
	// The index leads to it now: a sweep of what nothing leads to leaves it alone.
	w.sweep(registry.SweepOptions{Untagged: time.Hour})
	if _, err := w.inner.Manifest(t.Context(), "hub/a", one); err != nil {
		t.Error(err)
	}
	if err := w.inner.DeleteManifest(t.Context(), "hub/a", one, registry.Mover{}); !errdefs.IsConflict(err) {
		t.Errorf("a manifest that the index requires was deleted: %v", err)
	}
}

func testLists(t *testing.T, in driver) {
	w := newWorld(t, in, nil)
	for _, tag := range []string{"b", "a", "c"} {
		w.up.image(t, tag, layer(10, 1))
	}
	w.up.refs = []ocispec.Descriptor{{Digest: "sha256:b"}, {Digest: "sha256:a"}}
	for _, tt := range []struct {
		after string
		n     int
		want  []string
	}{{"", -1, []string{"a", "b", "c"}}, {"a", 1, []string{"b"}}, {"aa", 5, []string{"b", "c"}}, {"c", 1, []string{}}} {
		got, err := w.ListTags(t.Context(), "hub/a", tt.after, tt.n)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%d tags after %q: %q, %v, want %q", tt.n, tt.after, got, err, tt.want)
		}
	}
	w.want("tags", 1)
	refs, err := w.Referrers(t.Context(), "hub/a", digest.FromString("x"))
	if err != nil || len(refs) != 2 || refs[0].Digest != "sha256:a" {
		t.Errorf("referrers %v, %v", refs, err)
	}
	w.pull("hub/a", "b")
	w.pass(time.Hour)
	w.up.set(func() { w.up.err = errdefs.Unavailable("down") })
	if got, err := w.ListTags(t.Context(), "hub/a", "", -1); err != nil || !slices.Equal(got, []string{"b"}) {
		t.Errorf("tags that are here: %q, %v", got, err)
	}
}

func testPushesAreRefused(t *testing.T, in driver) {
	w := newWorld(t, in, nil)
	w.up.image(t, "v1", layer(10, 1))
	d := w.pull("hub/a", "v1")
	ctx, b := t.Context(), []byte("x")
	blob := ocispec.Descriptor{Digest: digest.FromBytes(b), Size: 1}
	_, err := w.NewUpload(ctx, "hub/a", digest.SHA256)
	w.class("upload", err, errdefs.ErrPermission)
	w.class("blob", w.PutBlob(ctx, "hub/new", blob, bytes.NewReader(b)), errdefs.ErrPermission)
	w.class("manifest", w.PutManifest(ctx, "hub/a", registry.Manifest{}, registry.PutOptions{}), errdefs.ErrPermission)
	w.class("tag", w.MoveTag(ctx, "hub/a", "v2", registry.Move{To: d}), errdefs.ErrPermission)
	if err := w.PutBlob(ctx, "own", blob, bytes.NewReader(b)); err != nil {
		t.Error(err)
	}
	w.class("mount", w.MountBlob(ctx, "hub/a", "own", blob.Digest), errdefs.ErrPermission)
	if err := w.MountBlob(ctx, "own", "hub/a", digest.FromBytes(layer(10, 1))); err != nil {
		t.Errorf("mount of a copy: %v", err)
	}
	if err := w.MoveTag(ctx, "hub/a", "v1", registry.Move{}); err != nil {
		t.Errorf("removal of a copy: %v", err)
	}
	w.pull("hub/a", "v1") // it comes back
}

func TestName(t *testing.T) {
	w := newWorld(t, inDirectory(), nil)
	for _, tt := range []struct{ query, name, want string }{
		{"", "own/x", "own/x"},
		{"", "hub/library/x", "hub/library/x"},
		{"", "library/x", "hub/library/x"},
		{"", "library/x/y", "library/x/y"},
		{"ns=docker.io", "a/b", "hub/a/b"},
		{"n=1&ns=docker.io", "hub/b", "hub/hub/b"},
		{"ns=quay.io", "a/b", ""},
		{"ns=reg.example.org", "a/b", "a/b"},
		{"ns=other.example.org", "a/b", "a/b"},
		{"ns=", "a/b", "a/b"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://reg.example.org/v2/x?"+tt.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.Name(r, tt.name, "other.example.org")
		if got != tt.want || (tt.want == "") != errdefs.IsNotFound(err) {
			t.Errorf("%s?%s is %q, %v; want %q", tt.name, tt.query, got, err, tt.want)
		}
	}
}

func testEvict(t *testing.T, in driver) {
	ctx := t.Context()
	used := map[string]map[string]time.Time{}
	last := func(_ context.Context, repository string) (map[string]time.Time, error) { return used[repository], nil }
	w := newWorld(t, in, func(s *Source) { s.Unused = 30 * 24 * time.Hour; s.Size = 250_000 })
	shared := layer(100_000, 7)
	w.up.image(t, "v1", shared, layer(10_000, 1))
	old := w.pull("hub/a", "v1")
	w.pass(20 * 24 * time.Hour)
	w.up.image(t, "v2", shared, layer(10_000, 2))
	young := w.pull("hub/a", "v2")
	used["hub/a"] = map[string]time.Time{old.String(): w.now()}
	if !in.clocked { // it was not pushed now
		used["hub/a"][young.String()] = w.now()
	}
	w.pass(15 * 24 * time.Hour)
	if err := w.Evict(ctx, last); err != nil {
		t.Fatal(err)
	}
	for _, d := range []digest.Digest{old, young} {
		if _, err := w.inner.Manifest(ctx, "hub/a", d); err != nil {
			t.Errorf("it was used: %v", err)
		}
	}
	w.pass(16 * 24 * time.Hour)
	used["hub/a"] = map[string]time.Time{young.String(): w.now()}
	if err := w.Evict(ctx, last); err != nil {
		t.Fatal(err)
	}
	if _, err := w.inner.Manifest(ctx, "hub/a", old); !errdefs.IsNotFound(err) {
		t.Errorf("nobody used it: %v", err)
	}
	// Too much: what was used longest ago goes, and no more than has to.
	w.up.image(t, "v3", layer(200_000, 3))
	big := w.pull("hub/b", "v3")
	w.pass(time.Hour)
	w.up.image(t, "v4", layer(30_000, 4))
	small := w.pull("hub/b", "v4")
	used["hub/b"] = map[string]time.Time{big.String(): w.now(), small.String(): w.now()}
	if _, err := w.Sweep(ctx, registry.SweepOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Evict(ctx, last); err != nil {
		t.Fatal(err)
	}
	if _, err := w.inner.Manifest(ctx, "hub/a", young); !errdefs.IsNotFound(err) {
		t.Errorf("it was used longest ago: %v", err)
	}
	for _, d := range []digest.Digest{big, small} {
		if _, err := w.inner.Manifest(ctx, "hub/b", d); err != nil {
			t.Errorf("there is room for it: %v", err)
		}
	}
	w.sweep(registry.SweepOptions{})
	if _, err := w.inner.StatBlob(ctx, "hub/a", digest.FromBytes(shared)); !errdefs.IsNotFound(err) {
		t.Errorf("its blob stays: %v", err)
	}
	w.pull("hub/a", "v2") // and it comes back
}
