package layout_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"strings"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layout"
	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// writeImage stores an image of one layer with one file that has the text.
func writeImage(t *testing.T, store content.Store, text string) ocispec.Descriptor {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	check(t, tw.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(text))}))
	_, err := tw.Write([]byte(text))
	check(t, err)
	check(t, tw.Close())
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	_, err = zw.Write(buf.Bytes())
	check(t, err)
	check(t, zw.Close())
	layer, err := content.WriteBlob(t.Context(), store, zipped.Bytes())
	check(t, err)
	layer.MediaType = ocispec.MediaTypeImageLayerGzip
	config, err := content.WriteJSON(t.Context(), store, ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(buf.Bytes())}},
	})
	check(t, err)
	desc, err := content.WriteJSON(t.Context(), store, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: []ocispec.Descriptor{layer},
	})
	check(t, err)
	return desc
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, name string) reference.Reference {
	t.Helper()
	ref, err := reference.Parse(name)
	check(t, err)
	return ref
}

// The forms that names take: each must be found by tools that read index.json.
var names = []string{
	"app", "app:1.2", "user/app:v1", "localhost:5000/a/b/c:X_y.z-1", "ghcr.io/o/r:sha-1",
	"a__b:c__d", "a---b/c:1", "[::1]:5000/x:1", "Host.example/x:1", "x:_a", "x:a-", "x:a..b",
}

func TestOtherToolsReadNames(t *testing.T) {
	p := peers.Need(t, "skopeo")
	root := t.TempDir()
	store, refs := local.Open(root, local.Options{}), layout.Open(root)
	want := map[string]ocispec.Descriptor{}
	for _, name := range names {
		want[name] = writeImage(t, store, name)
		check(t, refs.Set(t.Context(), parse(t, name), want[name], image.SetOptions{Verb: "test"}))
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			tag, err := refs.Get(t.Context(), parse(t, name))
			check(t, err)
			out := p.In(t).Run("skopeo", "inspect", "oci:"+root+":"+layout.Name(tag))
			var got struct{ Digest digest.Digest }
			check(t, json.Unmarshal([]byte(out), &got))
			if got.Digest != want[name].Digest {
				t.Errorf("skopeo found %s, want %s", got.Digest, want[name].Digest)
			}
		})
	}
}

func TestOtherToolsReadTheWhole(t *testing.T) {
	root := t.TempDir()
	store, refs := local.Open(root, local.Options{}), layout.Open(root)
	check(t, refs.Init(t.Context()))
	for _, name := range []string{"app:1", "app:2", "user/x:1"} {
		check(t, refs.Set(t.Context(), parse(t, name), writeImage(t, store, name), image.SetOptions{Verb: "test"}))
	}
	t.Run("crane validate", func(t *testing.T) {
		// crane pushes from a layout, and validates what it pushed.
		p := peers.Need(t, "crane")
		host := p.StartRegistry()
		p.Run("crane", "push", "--index", root, host+"/whole:1")
		p.Run("crane", "validate", "--remote", host+"/whole:1")
	})
	t.Run("umoci list", func(t *testing.T) {
		out := peers.Need(t, "umoci").Run("umoci", "list", "--layout", root)
		if got := strings.Fields(out); strings.Join(got, " ") != "app:1 app:2 user/x:1" {
			t.Errorf("umoci lists %q", got)
		}
	})
}
