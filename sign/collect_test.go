package sign

import (
	"context"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/sign/bundle"
	"github.com/camada/camada/sign/keys"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// listing is a store that lists the same of each image, and counts what is read.
type listing struct {
	*local.Store
	about []ocispec.Descriptor
	opens int
}

func (l *listing) Open(ctx context.Context, d ocispec.Descriptor) (content.Reader, error) {
	l.opens++
	return l.Store.Open(ctx, d)
}

func (l *listing) Referrers(context.Context, digest.Digest) ([]ocispec.Descriptor, error) {
	return l.about, nil
}

func (l *listing) Tagged(context.Context, string) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, errdefs.NotFound("no tags")
}

// TestManyManifests has a long list of what has no signature in it.
func TestManyManifests(t *testing.T) {
	src := &listing{Store: local.Open(t.TempDir(), local.Options{})}
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 5}
	blob, err := content.WriteBlob(t.Context(), src.Store, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	blob.MediaType = ocispec.MediaTypeEmptyJSON
	d, err := image.WriteArtifact(t.Context(), src.Store, image.Artifact{Type: bundle.MediaType, Subject: &subject, Layers: []ocispec.Descriptor{blob}})
	if err != nil {
		t.Fatal(err)
	}
	for range maxManifests + 7 {
		src.about = append(src.about, d)
	}
	k, err := keys.Generate(keys.P256)
	if err != nil {
		t.Fatal(err)
	}
	s, err := keys.New(k)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Look(t.Context(), src, subject, Requirements{Keys: []*keys.Public{s.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	if r.More != 7 || src.opens != maxManifests {
		t.Errorf("%d are not looked at, %d were read", r.More, src.opens)
	}
}

// TestUntoldSize has signatures whose manifests do not say how long they are: what is read counts.
func TestUntoldSize(t *testing.T) {
	src := &listing{Store: local.Open(t.TempDir(), local.Options{})}
	blob, err := content.WriteBlob(t.Context(), src.Store, []byte("a signature"))
	if err != nil {
		t.Fatal(err)
	}
	blob.Size = 0
	c := &collection{src: src, req: &Requirements{}}
	for range 3 {
		if _, err := c.blob(t.Context(), found{blob: blob}); err != nil {
			t.Fatal(err)
		}
	}
	if c.read != 33 {
		t.Errorf("%d bytes were read, and not 33", c.read)
	}
	c.read = maxTotal + 1
	if _, err := c.blob(t.Context(), found{blob: blob}); !errdefs.IsLimit(err) {
		t.Errorf("too many: %v", err)
	}
}
