package api_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/api"
	"github.com/camada/camada/registry/local"
	"github.com/opencontainers/go-digest"
)

// discard is a ResponseWriter that keeps nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// What the registry itself takes for a manifest, without the server of net/http.
func BenchmarkManifest(b *testing.B) {
	s, err := local.Open(b.Context(), b.TempDir(), local.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	m, err := registry.ParseManifest("application/json", []byte(`{"a":"b"}`), digest.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.PutManifest(b.Context(), "team/app", m, registry.PutOptions{Tags: []string{"1"}}); err != nil {
		b.Fatal(err)
	}
	h := api.New(s, api.Options{})
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/v2/team/app/manifests/1", nil)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(discard{http.Header{}}, r)
	}
}
