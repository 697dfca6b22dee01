package remote_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestForeignLayers: what may not be distributed is not pushed, and is fetched from where its manifest says.
func TestForeignLayers(t *testing.T) {
	src, layer := noise(t, 300_000)
	data, err := content.ReadAll(t.Context(), src, layer, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	place := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a credential was sent")
		}
		switch r.URL.Path {
		case "/secret":
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
		case "/right":
			_, _ = w.Write(data)
		case "/wrong":
			_, _ = w.Write(append([]byte("x"), data[1:]...))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(place.Close)
	for name, tc := range map[string]struct {
		urls  []string
		class errdefs.Class
		there bool
	}{
		"there":       {[]string{"/right"}, "", true},
		"the last":    {[]string{"/none", "ftp://x/y", "/secret", "/right"}, "", true},
		"nowhere":     {[]string{"/none"}, "", false},
		"other bytes": {[]string{"/wrong"}, errdefs.ErrCorrupt, false},
	} {
		t.Run(name, func(t *testing.T) {
			foreign := layer
			foreign.MediaType = image.DockerForeignGzip
			for _, u := range tc.urls {
				if strings.HasPrefix(u, "/") {
					u = place.URL + u
				}
				foreign.URLs = append(foreign.URLs, u)
			}
			cfg := imagetest.Config()
			cfg.RootFS.DiffIDs = []digest.Digest{digest.FromString("x")}
			desc, err := image.Write(t.Context(), src, cfg, []ocispec.Descriptor{foreign}, nil)
			if err != nil {
				t.Fatal(err)
			}
			reg := remotetest.Start(t)
			repo := client(t, remote.Options{Credentials: given{Username: "me", Password: "pass"}, Tries: 1}).Repository(reg.Ref("app"))
			if err := transfer.Push(t.Context(), src, repo.Target("1", desc), desc, transfer.Options{}); err != nil {
				t.Fatal(err)
			}
			if n := len(reg.Calls("POST uploads")); n != 1 {
				t.Errorf("%d blobs were pushed", n)
			}
			dst := &imagetest.Memory{}
			err = transfer.Copy(t.Context(), repo, dst, desc, transfer.Options{})
			if tc.class == "" && err != nil || tc.class != "" && !errdefs.IsCorrupt(err) {
				t.Errorf("%v; want %q", err, tc.class)
			}
			if _, err := dst.Stat(t.Context(), layer.Digest); (err == nil) != tc.there {
				t.Errorf("in the store: %v", err)
			}
		})
	}
}
