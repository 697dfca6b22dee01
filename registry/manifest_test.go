package registry

import (
	"errors"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestParseManifest(t *testing.T) {
	config := `"config":{"mediaType":"application/vnd.x","digest":"` + digestA + `","size":2}`
	layer := `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + digestB + `","size":3}`
	foreign := strings.Replace(layer, "layer.v1", "layer.nondistributable.v1", 1)
	for _, tc := range []struct {
		name, mediaType, data string
		requires              int
		artifact              string
		err                   error
	}{
		{name: "manifest", mediaType: ocispec.MediaTypeImageManifest, data: `{"schemaVersion":2,` + config + `,"layers":[` + layer + `]}`, requires: 2, artifact: "application/vnd.x"},
		{name: "its own media type", data: `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `",` + config + `}`, requires: 1, artifact: "application/vnd.x"},
		{name: "artifact type", mediaType: ocispec.MediaTypeImageManifest, data: `{"schemaVersion":2,"artifactType":"a/b",` + config + `}`, requires: 1, artifact: "a/b"},
		{name: "foreign layer", mediaType: ocispec.MediaTypeImageManifest, data: `{"schemaVersion":2,` + config + `,"layers":[` + foreign + `]}`, requires: 1, artifact: "application/vnd.x"},
		{name: "index", mediaType: ocispec.MediaTypeImageIndex, data: `{"schemaVersion":2,"manifests":[` + layer + `]}`, requires: 1},
		{name: "unknown kind", mediaType: "application/vnd.other+json", data: `{"a":1}`},
		{name: "no config", mediaType: ocispec.MediaTypeImageManifest, data: `{"schemaVersion":2}`, err: errdefs.ErrInvalid},
		{name: "no schema", mediaType: ocispec.MediaTypeImageManifest, data: `{` + config + `}`, err: errdefs.ErrInvalid},
		{name: "both", mediaType: ocispec.MediaTypeImageIndex, data: `{"schemaVersion":2,` + config + `,"manifests":[]}`, err: errdefs.ErrInvalid},
		{name: "another media type", mediaType: ocispec.MediaTypeImageIndex, data: `{"schemaVersion":2,"mediaType":"a/b"}`, err: errdefs.ErrInvalid},
		{name: "no media type", data: `{"schemaVersion":2}`, err: errdefs.ErrInvalid},
		{name: "bad digest", mediaType: ocispec.MediaTypeImageIndex, data: `{"schemaVersion":2,"manifests":[{"digest":"sha256:../../x"}]}`, err: errdefs.ErrInvalid},
		{name: "a negative size", mediaType: ocispec.MediaTypeImageIndex, data: `{"schemaVersion":2,"manifests":[` + strings.Replace(layer, `"size":3`, `"size":-3`, 1) + `]}`, err: errdefs.ErrInvalid},
		{name: "bad digest of a foreign layer", mediaType: ocispec.MediaTypeImageManifest, data: `{"schemaVersion":2,` + config + `,"layers":[` + strings.Replace(foreign, digestB, "sha256:../x", 1) + `]}`, err: errdefs.ErrInvalid},
		{name: "bad subject", mediaType: ocispec.MediaTypeImageIndex, data: `{"schemaVersion":2,"subject":{"digest":"x"}}`, err: errdefs.ErrInvalid},
		{name: "no JSON", mediaType: ocispec.MediaTypeImageIndex, data: `{`, err: errdefs.ErrInvalid},
		{name: "too big", mediaType: ocispec.MediaTypeImageIndex, data: strings.Repeat(" ", 5<<20), err: errdefs.ErrLimit},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := ParseManifest(tc.mediaType, []byte(tc.data), digest.SHA256)
			if tc.err != nil {
				if !errors.Is(err, tc.err) {
					t.Fatalf("error %v, wanted the class %v", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Requires) != tc.requires || m.ArtifactType != tc.artifact {
				t.Errorf("requires %v, artifact type %q", m.Requires, m.ArtifactType)
			}
			if m.Descriptor.Digest != digest.FromString(tc.data) || m.Descriptor.Size != int64(len(tc.data)) {
				t.Errorf("descriptor %v", m.Descriptor)
			}
		})
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add(ocispec.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"manifests":[{"digest":"`+digestA+`"}],"subject":{"digest":"`+digestB+`"}}`))
	f.Add("", []byte(`{"schemaVersion":2,"mediaType":"`+ocispec.MediaTypeImageManifest+`","config":{"digest":"`+digestA+`"},"layers":[{}]}`))
	f.Fuzz(func(t *testing.T, mediaType string, data []byte) {
		m, err := ParseManifest(mediaType, data, digest.SHA256)
		if err != nil {
			return
		}
		for _, r := range m.Requires {
			if r.Digest.Validate() != nil || r.Size < 0 {
				t.Errorf("requires %v", r)
			}
		}
	})
}
