package image

import (
	"context"
	"fmt"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Write stores an image of a config and its layers and returns the
// descriptor of its manifest, which has the config's platform. The bytes are
// canonical: the compact JSON of the structs, so that the same image has the
// same digest. The layers are not looked at; ErrInvalid when they are not as
// many as the config's diff_ids.
func Write(ctx context.Context, ing content.Ingester, cfg Config, layers []ocispec.Descriptor, annotations map[string]string) (ocispec.Descriptor, error) {
	if len(layers) != len(cfg.RootFS.DiffIDs) {
		return ocispec.Descriptor{}, errdefs.Invalid("write image: %d layers, and %d diff_ids", len(layers), len(cfg.RootFS.DiffIDs))
	}
	cfg.RootFS.Type = "layers"
	config, err := content.WriteJSON(ctx, ing, ocispec.MediaTypeImageConfig, cfg)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("write config: %w", err)
	}
	desc, err := WriteManifest(ctx, ing, config, layers, annotations)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	p := cfg.Platform
	desc.Platform = &p
	return desc, nil
}

// WriteManifest stores an OCI manifest of a stored config and stored layers
// and returns its descriptor. Of the layers' descriptors only what a
// manifest says of a layer is kept: media type, digest, size, URLs and annotations.
func WriteManifest(ctx context.Context, ing content.Ingester, config ocispec.Descriptor, layers []ocispec.Descriptor, annotations map[string]string) (ocispec.Descriptor, error) {
	m := ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      ocispec.Descriptor{MediaType: config.MediaType, Digest: config.Digest, Size: config.Size},
		Layers:      []ocispec.Descriptor{},
		Annotations: annotations,
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size, URLs: l.URLs, Annotations: l.Annotations})
	}
	desc, err := content.WriteJSON(ctx, ing, ocispec.MediaTypeImageManifest, m)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("write manifest: %w", err)
	}
	if desc.Size > MaxManifest {
		return ocispec.Descriptor{}, errdefs.Limit("write manifest: %d bytes, more than the limit of %d", desc.Size, MaxManifest)
	}
	return desc, nil
}

// WriteIndex stores an OCI index of stored manifests and returns its descriptor.
func WriteIndex(ctx context.Context, ing content.Ingester, manifests []ocispec.Descriptor, annotations map[string]string) (ocispec.Descriptor, error) {
	if manifests == nil {
		manifests = []ocispec.Descriptor{}
	}
	idx := ocispec.Index{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageIndex,
		Manifests:   manifests,
		Annotations: annotations,
	}
	desc, err := content.WriteJSON(ctx, ing, ocispec.MediaTypeImageIndex, idx)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("write index: %w", err)
	}
	return desc, nil
}
