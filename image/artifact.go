package image

import (
	"context"
	"fmt"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Artifact is a manifest that is no image: stored files, and the manifest that they are about.
type Artifact struct {
	// Type says what it is, as a media type.
	Type string
	// Subject is the manifest that it is about; nil is none.
	Subject *ocispec.Descriptor
	// Layers are the files; at least one.
	Layers []ocispec.Descriptor
	// Annotations of the manifest.
	Annotations map[string]string
}

// WriteArtifact stores the manifest of an artifact (OCI image-spec, manifest.md, "Guidelines for Artifact Usage") and its
// empty config, and returns its descriptor as the referrers API lists it (OCI distribution-spec, "Listing Referrers"): with type and annotations.
func WriteArtifact(ctx context.Context, ing content.Ingester, a Artifact) (ocispec.Descriptor, error) {
	if a.Type == "" || len(a.Layers) == 0 {
		return ocispec.Descriptor{}, errdefs.Invalid("write artifact: it has no type, or no layers")
	}
	empty := ocispec.DescriptorEmptyJSON
	config, err := content.WriteBlob(ctx, ing, empty.Data)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("write artifact: %w", err)
	}
	m := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: a.Type,
		Config:       ocispec.Descriptor{MediaType: empty.MediaType, Digest: config.Digest, Size: config.Size},
		Layers:       a.Layers,
		Annotations:  a.Annotations,
	}
	if s := a.Subject; s != nil {
		m.Subject = &ocispec.Descriptor{MediaType: s.MediaType, Digest: s.Digest, Size: s.Size}
	}
	desc, err := content.WriteJSON(ctx, ing, m.MediaType, m)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("write artifact: %w", err)
	}
	desc.ArtifactType, desc.Annotations = a.Type, a.Annotations
	return desc, nil
}

// Referrer reports what a manifest or index refers to, and how the referrers API lists it; ok is false when it has no subject.
func Referrer(ctx context.Context, p content.Provider, desc ocispec.Descriptor) (subject, listed ocispec.Descriptor, ok bool, err error) {
	listed = ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
	var s *ocispec.Descriptor
	if IsIndex(desc.MediaType) {
		_, idx, err := ReadIndex(ctx, p, desc)
		if err != nil {
			return subject, listed, false, err
		}
		s, listed.ArtifactType, listed.Annotations = idx.Subject, idx.ArtifactType, idx.Annotations
	} else {
		_, m, err := ReadManifest(ctx, p, desc)
		if err != nil {
			return subject, listed, false, err
		}
		s, listed.ArtifactType, listed.Annotations = m.Subject, m.ArtifactType, m.Annotations
		if listed.ArtifactType == "" {
			listed.ArtifactType = m.Config.MediaType
		}
	}
	if s == nil {
		return subject, listed, false, nil
	}
	if err := checkDescriptor("subject", *s); err != nil {
		return subject, listed, false, fmt.Errorf("manifest %s: %w", desc.Digest, err)
	}
	return *s, listed, true, nil
}
