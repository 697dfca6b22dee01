package events_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/events"
	"github.com/camada/camada/registry/local"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func manifest(t *testing.T, text string) registry.Manifest {
	t.Helper()
	m, err := registry.ParseManifest(ocispec.MediaTypeImageIndex, []byte(fmt.Sprintf(`{"schemaVersion":2,"manifests":[],"annotations":{"x":%q}}`, text)), digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWatch(t *testing.T) {
	store, err := local.Open(t.Context(), t.TempDir(), local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var told []string
	var last []events.Event
	var fails error
	s := events.Watch(store, func(_ context.Context, list []events.Event) error {
		for _, e := range list {
			told = append(told, fmt.Sprintf("%s %s %v", e.Kind, e.Who, e.Tags))
		}
		last = list
		return fails
	})
	if _, ok := s.(registry.Redirector); ok {
		t.Error("it says that it redirects")
	}
	r := httptest.NewRequest(http.MethodPut, "http://reg.example/v2/", nil)
	r.Header.Set("User-Agent", "tester")
	ctx := events.WithRequest(t.Context(), r)
	one, two := manifest(t, "one"), manifest(t, "two")
	none := digest.Digest("")
	for _, tc := range []struct {
		do   func() error
		want []string
	}{
		{func() error {
			return s.PutManifest(ctx, "app", one, registry.PutOptions{Tags: []string{"1", "latest"}, Mover: registry.Mover{Who: "ann", Verb: "push"}})
		}, []string{"push ann [1 latest]", "tag ann [1]", "tag ann [latest]"}},
		{func() error { return s.PutManifest(ctx, "app", two, registry.PutOptions{}) }, []string{"push  []"}},
		{func() error {
			return s.MoveTag(ctx, "app", "latest", registry.Move{To: two.Descriptor.Digest, Expect: &one.Descriptor.Digest, Mover: registry.Mover{Verb: "rollback"}})
		}, []string{"rollback  [latest]"}},
		{func() error {
			return s.MoveTag(ctx, "app", "fixed", registry.Move{To: two.Descriptor.Digest, Expect: &none, Mover: registry.Mover{Verb: "push"}})
		}, []string{"push  [fixed]", "tag  [fixed]"}},
		{func() error { return s.MoveTag(ctx, "app", "1", registry.Move{Mover: registry.Mover{Verb: "delete"}}) }, []string{"delete  [1]"}},
		{func() error { return s.DeleteManifest(ctx, "app", one.Descriptor.Digest, registry.Mover{Who: "bob"}) }, []string{"delete bob []"}},
	} {
		told = nil
		if err := tc.do(); err != nil {
			t.Error(err)
		}
		if !slices.Equal(told, tc.want) {
			t.Errorf("told %v, want %v", told, tc.want)
		}
		for _, e := range last {
			if e.ID == "" || e.Time.IsZero() || e.Repository != "app" || e.Digest == "" || e.Request.Agent != "tester" || e.Request.Base != "http://reg.example" {
				t.Errorf("%+v", e)
			}
		}
	}
	// What was not done is not told, and what cannot be told is not acknowledged.
	told = nil
	if err := s.MoveTag(ctx, "app", "nothing", registry.Move{}); !errdefs.IsNotFound(err) || told != nil {
		t.Errorf("%v, told %v", err, told)
	}
	fails = errors.New("disk full")
	if err := s.PutManifest(ctx, "app", one, registry.PutOptions{Tags: []string{"1"}}); !errdefs.IsUnavailable(err) {
		t.Errorf("telling failed: %v", err)
	}
	fails, told = nil, nil
	if err := s.PutManifest(ctx, "app", one, registry.PutOptions{Tags: []string{"1"}}); err != nil || len(told) != 2 {
		t.Errorf("again: %v, told %v", err, told)
	}
}

// direct is a storage whose blobs have URLs.
type direct struct{ registry.Storage }

func (direct) BlobURL(context.Context, string, digest.Digest) (string, error) { return "u", nil }

func TestWatchRedirector(t *testing.T) {
	s, ok := events.Watch(direct{}, nil).(registry.Redirector)
	if !ok {
		t.Fatal("it does not redirect any more")
	}
	if u, err := s.BlobURL(t.Context(), "a", ""); u != "u" || err != nil {
		t.Errorf("%q, %v", u, err)
	}
}
