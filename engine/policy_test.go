package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/policy"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// putDoc stores a document.
func putDoc(t *testing.T, in content.Ingester, mediaType string, doc any) ocispec.Descriptor {
	t.Helper()
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	d, err := content.WriteBlob(t.Context(), in, data)
	if err != nil {
		t.Fatal(err)
	}
	d.MediaType = mediaType
	return d
}

type anything = map[string]any

// What some run is judged, or refused: neither a config that says strange things, nor what is not there yet, nor what an index says of an entry makes anything of it nothing.
func TestWhatIsJudged(t *testing.T) {
	store := &imagetest.Memory{}
	good := imagetest.Write(t, store, imagetest.Config(), imagetest.Layer("a", "b"))
	layer := putDoc(t, store, ocispec.MediaTypeImageLayer, "a layer")
	manifest := func(configType string, config any) ocispec.Descriptor {
		return putDoc(t, store, ocispec.MediaTypeImageManifest, anything{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest,
			"config": putDoc(t, store, configType, config), "layers": []any{layer}})
	}
	index := func(entries ...ocispec.Descriptor) ocispec.Descriptor {
		return putDoc(t, store, ocispec.MediaTypeImageIndex, anything{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": entries})
	}
	root := func(kind string) any {
		return anything{"os": "linux", "architecture": "amd64", "rootfs": anything{"type": kind, "diff_ids": []any{layer.Digest}}}
	}
	const simple = "application/vnd.dev.cosign.simplesigning.v1+json"
	statement := func(mediaType string, data []byte) ocispec.Descriptor {
		said, err := content.WriteBlob(t.Context(), store, data)
		if err != nil {
			t.Fatal(err)
		}
		said.MediaType = mediaType
		return putDoc(t, store, ocispec.MediaTypeImageManifest, anything{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest,
			"config": putDoc(t, store, ocispec.MediaTypeImageConfig, root("layers")), "layers": []any{said}})
	}
	absent := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString("comes later"), Size: 11}
	another := good
	another.MediaType = "text/plain"
	for name, tc := range map[string]struct {
		root   ocispec.Descriptor
		judged int
		fails  func(error) bool
	}{
		"an image":                              {good, 1, nil},
		"an index":                              {index(good, manifest(ocispec.MediaTypeImageConfig, root("layers"))), 2, nil},
		"an artifact":                           {manifest(ocispec.MediaTypeEmptyJSON, anything{}), 0, nil},
		"another kind of root file system":      {index(good, manifest(ocispec.MediaTypeImageConfig, root("other"))), 0, errdefs.IsUnsupported},
		"a config that Docker takes for one":    {index(good, manifest("application/octet-stream", root("layers"))), 0, errdefs.IsPermission},
		"a signature of cosign's":               {statement(simple, []byte(`{"critical": {}}`)), 0, nil},
		"a provenance":                          {index(good, statement(attest.MediaType, []byte("{}"))), 1, nil},
		"a layer that says to be a signature":   {statement(simple, imagetest.Layer("a", "b")), 0, errdefs.IsPermission},
		"a layer that says to be a provenance":  {statement(attest.MediaType, imagetest.Layer("a", "b")), 0, errdefs.IsPermission},
		"a text that can be unpacked":           {statement(simple, textArchive()), 0, errdefs.IsPermission},
		"an index that is not there":            {index(good, absent), 0, errdefs.IsNotFound},
		"an entry that says to be another kind": {index(good, another), 1, nil}, // what fetches it asks a registry for a manifest
	} {
		judged := 0
		err := new(Engine).eachImage(t.Context(), store, tc.root, func(located) error { judged++; return nil })
		if tc.fails == nil && (err != nil || judged != tc.judged) || tc.fails != nil && !tc.fails(err) {
			t.Errorf("%s: %d judged, %v", name, judged, err)
		}
	}
	if err := onlyManifests(t.Context(), store, index(good, another)); !errdefs.IsUnsupported(err) {
		t.Errorf("an entry that says to be another kind: %v", err)
	}
	if err := onlyManifests(t.Context(), store, index(good, index(good))); err != nil {
		t.Errorf("indexes of manifests: %v", err)
	}
}

// textArchive is JSON and a tar in one: a text whose first 512 bytes are the header of a file.
func textArchive() []byte { return append(oldHeader(`["bin/sh`, 0), `"]`...) }

// A signature of what a name stands for counts for the images that it leads to only.
func TestRootOf(t *testing.T) {
	store := &imagetest.Memory{}
	one := imagetest.Write(t, store, imagetest.Config(), imagetest.Layer("a", "1"))
	two := imagetest.Write(t, store, imagetest.Config(), imagetest.Layer("a", "2"))
	index, err := image.WriteIndex(t.Context(), store, []ocispec.Descriptor{one}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ root, img, want ocispec.Descriptor }{{one, one, one}, {index, one, index}, {index, two, two}, {one, two, two}} {
		got, err := rootOf(t.Context(), store, tc.root, &image.Image{Descriptor: tc.img})
		if err != nil || got.Digest != tc.want.Digest {
			t.Errorf("%s of %s: %s, %v; want %s", tc.root.Digest, tc.img.Digest, got.Digest, err, tc.want.Digest)
		}
	}
}

// A policy that is a link which leads nowhere was lost: it does not count as none.
func TestLostPolicy(t *testing.T) {
	dir := t.TempDir()
	files := []policyFile{{filepath.Join(dir, "policy.yaml"), false}}
	if list, err := readPolicies(files); err != nil || len(list) != 0 {
		t.Errorf("no policy: %d, %v", len(list), err)
	}
	if err := os.Symlink("nowhere", files[0].name); err != nil {
		t.Fatal(err)
	}
	if _, err := readPolicies(files); !errdefs.IsNotFound(err) {
		t.Errorf("a link that leads nowhere: %v", err)
	}
}

// A verdict is remembered for the index whose signature it may rest on, and for the base that the image was said to have.
func TestVerdictKey(t *testing.T) {
	e := machine(t)
	img := &image.Image{Descriptor: ocispec.Descriptor{Digest: digest.FromString("image")}}
	seen := map[string]bool{}
	all := []located{
		{image: img}, {image: img, root: ocispec.Descriptor{Digest: digest.FromString("one")}}, {image: img, root: ocispec.Descriptor{Digest: digest.FromString("two")}},
		{image: img, base: &policy.Base{Name: "a"}}, {image: img, base: &policy.Base{Name: "a", Digest: "sha256:1"}},
	}
	for _, at := range all {
		seen[e.verdictKey(nil, policy.Request{Action: policy.Run}, at)] = true
	}
	if len(seen) != len(all) {
		t.Errorf("%d keys for %d verdicts", len(seen), len(all))
	}
}
