package usage

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local"
	"github.com/camada/camada/registry/s3"
)

func TestTracker(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		store, err := local.Open(t.Context(), t.TempDir(), local.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		testTracker(t, store)
	})
	t.Run("s3", func(t *testing.T) {
		o := peers.Need(t, "versitygw").StartVersity()
		store, err := s3.Open(t.Context(), s3.Options{Endpoint: o.Endpoint, Bucket: "registry", AccessKey: o.ID, SecretKey: o.Secret, Create: true})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		testTracker(t, store)
	})
}

func testTracker(t *testing.T, store registry.Storage) {
	ctx := t.Context()
	now := time.Unix(600, 0)
	opts := Options{Now: func() time.Time { return now }, Wants: func(r string) Kinds {
		return map[string]Kinds{"tags": Tags, "both/x": Tags | Digests}[r]
	}}
	a, b := New(store, opts), New(store, opts) // two replicas
	a.Note("tags", "v1", "sha256:1")
	a.Note("both/x", "v1", "sha256:1")
	a.Note("none", "v1", "sha256:1")
	want := func(tr *Tracker, repository, ref string, at int64) {
		t.Helper()
		last, err := tr.Last(ctx, repository)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := last[ref]; !ok && at != 0 || ok && got.Unix() != at {
			t.Errorf("%s %s was pulled at %d, want %d", repository, ref, got.Unix(), at)
		}
	}
	want(a, "tags", "v1", 600) // also what is not written yet
	want(b, "tags", "v1", 0)
	if err := a.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	now = time.Unix(731, 0)
	b.Note("tags", "v2", "sha256:2")
	if err := b.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for _, tr := range []*Tracker{a, b} {
		want(tr, "tags", "v1", 600)
		want(tr, "tags", "v2", 720)
		want(tr, "tags", "sha256:1", 0)
		want(tr, "both/x", "sha256:1", 600)
		want(tr, "none", "v1", 0)
	}
	// Nothing is lost when the notes cannot be written.
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	a.Note("tags", "v3", "")
	if err := a.Flush(canceled); err == nil {
		t.Error("it was written")
	}
	want(a, "tags", "v3", 720)
	if err := a.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	want(b, "tags", "v3", 720)
	since, err := a.Since(ctx, "x")
	now = time.Unix(9000, 0)
	again, err2 := b.Since(ctx, "x")
	if err != nil || err2 != nil || since.Unix() != 720 || !again.Equal(since) {
		t.Errorf("since %v and %v, %v, %v", since, again, err, err2)
	}
	if err := b.Forget(ctx); err != nil {
		t.Fatal(err)
	}
	if since, err = a.Since(ctx, "x"); err != nil || since.Unix() != 9000 {
		t.Errorf("since %v, %v", since, err)
	}
	now = time.Unix(12000, 0)
	if since, err = a.Since(ctx, "y"); err != nil || since.Unix() != 12000 {
		t.Errorf("since %v of something else, %v", since, err)
	}
	if err := a.Tidy(ctx, func(_ context.Context, r string) (bool, error) { return r == "both/x", nil }); err != nil {
		t.Fatal(err)
	}
	want(b, "tags", "v3", 0)
	want(b, "both/x", "v1", 600)
	if _, _, err := store.Note(ctx, "pulled/tags"); !errdefs.IsNotFound(err) {
		t.Errorf("the note is still there: %v", err)
	}
}

func TestBound(t *testing.T) {
	refs := map[string]int64{}
	for i := range maxRefs + 1 {
		refs[strconv.Itoa(i)] = int64(i)
	}
	bound(refs)
	if len(refs) > maxRefs || refs[strconv.Itoa(maxRefs)] != maxRefs || refs["0"] != 0 {
		t.Errorf("%d are left", len(refs))
	}
	long := string(make([]byte, registry.MaxNote/4))
	refs = map[string]int64{long + "a": 1, long + "b": 2, long + "c": 3, long + "d": 4}
	bound(refs)
	if _, ok := refs[long+"a"]; ok || refs[long+"d"] != 4 {
		t.Errorf("%d big ones are left", len(refs))
	}
}
