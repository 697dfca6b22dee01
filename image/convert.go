package image

import (
	"context"
	"fmt"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ReadWriter is a store to convert in.
type ReadWriter interface {
	content.Provider
	content.Ingester
}

// ToOCI returns the image in OCI's media types. What is in them already keeps
// its digest; of Docker's schema 2, new manifests and indexes are stored over the same
// configs and layers, so that image IDs stay. Manifests of an index that are not in the
// store are left out of a new one.
func ToOCI(ctx context.Context, store ReadWriter, desc ocispec.Descriptor) (ocispec.Descriptor, error) {
	return toOCI(ctx, store, desc, 0)
}

func toOCI(ctx context.Context, store ReadWriter, desc ocispec.Descriptor, depth int) (ocispec.Descriptor, error) {
	if depth > maxDepth {
		return desc, errdefs.Limit("index %s lies deeper than %d indexes", desc.Digest, maxDepth)
	}
	switch {
	case desc.MediaType == DockerManifest:
		return manifestToOCI(ctx, store, desc)
	case IsIndex(desc.MediaType):
		return indexToOCI(ctx, store, desc, depth)
	}
	return desc, nil
}

func manifestToOCI(ctx context.Context, store ReadWriter, desc ocispec.Descriptor) (ocispec.Descriptor, error) {
	_, m, err := ReadManifest(ctx, store, desc)
	if err != nil {
		return desc, err
	}
	m.Config.MediaType = ociType(m.Config.MediaType)
	for i := range m.Layers {
		m.Layers[i].MediaType = ociType(m.Layers[i].MediaType)
	}
	made, err := WriteManifest(ctx, store, m.Config, m.Layers, m.Annotations)
	if err != nil {
		return desc, fmt.Errorf("convert manifest %s: %w", desc.Digest, err)
	}
	made.Platform, made.Annotations = desc.Platform, desc.Annotations
	return made, nil
}

func indexToOCI(ctx context.Context, store ReadWriter, desc ocispec.Descriptor, depth int) (ocispec.Descriptor, error) {
	_, idx, err := ReadIndex(ctx, store, desc)
	if err != nil {
		return desc, err
	}
	changed := desc.MediaType != ocispec.MediaTypeImageIndex
	var manifests []ocispec.Descriptor
	for _, m := range idx.Manifests {
		made, err := toOCI(ctx, store, m, depth+1)
		if errdefs.IsNotFound(err) {
			if m.MediaType == DockerManifest || m.MediaType == DockerManifestList {
				continue
			}
			made, err = m, nil
		}
		if err != nil {
			return desc, err
		}
		changed = changed || made.Digest != m.Digest
		manifests = append(manifests, made)
	}
	if !changed {
		return desc, nil
	}
	made, err := WriteIndex(ctx, store, manifests, idx.Annotations)
	if err != nil {
		return desc, fmt.Errorf("convert index %s: %w", desc.Digest, err)
	}
	made.Annotations = desc.Annotations
	return made, nil
}

// ociType is OCI's media type for one of Docker's; others stay.
func ociType(mediaType string) string {
	switch mediaType {
	case DockerConfig:
		return ocispec.MediaTypeImageConfig
	case DockerLayer:
		return ocispec.MediaTypeImageLayer
	case DockerLayerGzip:
		return ocispec.MediaTypeImageLayerGzip
	case DockerLayerZstd:
		return ocispec.MediaTypeImageLayerZstd
	case DockerForeignGzip:
		return "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	}
	return mediaType
}
