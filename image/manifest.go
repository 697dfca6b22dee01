package image

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxManifest is how big a manifest or an index may be, in bytes: 4 MiB, as
// registries have it (OCI distribution-spec, "Pushing Manifests").
const MaxManifest = 4 << 20

// The media types of Docker's schema 2.
const (
	DockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	DockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerConfig       = "application/vnd.docker.container.image.v1+json"
	DockerLayer        = "application/vnd.docker.image.rootfs.diff.tar"
	DockerLayerGzip    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	DockerLayerZstd    = "application/vnd.docker.image.rootfs.diff.tar.zstd"
	DockerForeignGzip  = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
)

// NameAnnotation has the whole name of an image in the index.json of a layout,
// as containerd and Docker write it. org.opencontainers.image.ref.name has a
// short form there, or only the tag.
const NameAnnotation = "io.containerd.image.name"

// IsIndex reports whether a media type is that of an index.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == DockerManifestList
}

// IsManifest reports whether a media type is that of a manifest for one platform.
func IsManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == DockerManifest
}

// IsConfig reports whether a media type is that of an image config.
func IsConfig(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageConfig || mediaType == DockerConfig
}

// IsForeign reports whether a media type is that of a layer whose bytes may lie elsewhere: nobody is obliged to
// distribute it (OCI image-spec, layer.md, "Non-Distributable Layers").
func IsForeign(mediaType string) bool {
	return mediaType == DockerForeignGzip || strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.nondistributable.")
}

// ReadManifest reads, verifies and parses a manifest.
func ReadManifest(ctx context.Context, p content.Provider, desc ocispec.Descriptor) ([]byte, ocispec.Manifest, error) {
	data, err := content.ReadAll(ctx, p, desc, MaxManifest)
	if err != nil {
		return nil, ocispec.Manifest{}, fmt.Errorf("read manifest: %w", err)
	}
	m, err := ParseManifest(data, desc.MediaType)
	if err != nil {
		return nil, ocispec.Manifest{}, fmt.Errorf("manifest %s: %w", desc.Digest, err)
	}
	return data, m, nil
}

// ReadIndex reads, verifies and parses an index.
func ReadIndex(ctx context.Context, p content.Provider, desc ocispec.Descriptor) ([]byte, ocispec.Index, error) {
	data, err := content.ReadAll(ctx, p, desc, MaxManifest)
	if err != nil {
		return nil, ocispec.Index{}, fmt.Errorf("read index: %w", err)
	}
	idx, err := ParseIndex(data, desc.MediaType)
	if err != nil {
		return nil, ocispec.Index{}, fmt.Errorf("index %s: %w", desc.Digest, err)
	}
	return data, idx, nil
}

// shape is what tells the kinds of documents apart.
type shape struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Config        json.RawMessage `json:"config"`
	Layers        json.RawMessage `json:"layers"`
	FSLayers      json.RawMessage `json:"fsLayers"`
	Manifests     json.RawMessage `json:"manifests"`
}

// checkShape refuses a document that could be taken for one of another kind
// (OCI image-spec, manifest.md and image-index.md, "mediaType").
func checkShape(data []byte, mediaType string) error {
	if len(data) > MaxManifest {
		return errdefs.Limit("%d bytes, more than the limit of %d", len(data), MaxManifest)
	}
	var s shape
	if err := json.Unmarshal(data, &s); err != nil {
		return errdefs.Corrupt("parse: %w", err)
	}
	if s.SchemaVersion == 1 || s.FSLayers != nil {
		return errdefs.Unsupported("it is of Docker's schema 1, which is obsolete; convert it with another tool")
	}
	if s.SchemaVersion != 2 {
		return errdefs.Corrupt("schemaVersion %d instead of 2", s.SchemaVersion)
	}
	if s.MediaType != "" && mediaType != "" && s.MediaType != mediaType {
		return errdefs.Corrupt("its mediaType is %.100q and its descriptor's %.100q", s.MediaType, mediaType)
	}
	isIndex := IsIndex(mediaType) || mediaType == "" && s.Manifests != nil
	if isIndex && (s.Layers != nil || s.Config != nil) || !isIndex && s.Manifests != nil {
		return errdefs.Corrupt("it is both a manifest and an index")
	}
	return nil
}

// ParseManifest parses a manifest and checks its form. mediaType is the
// descriptor's; "" is not checked.
func ParseManifest(data []byte, mediaType string) (ocispec.Manifest, error) {
	var m ocispec.Manifest
	if err := checkShape(data, mediaType); err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, errdefs.Corrupt("parse: %w", err)
	}
	if err := checkDescriptor("config", m.Config); err != nil {
		return m, err
	}
	for i, l := range m.Layers {
		if err := checkDescriptor(fmt.Sprintf("layer %d", i), l); err != nil {
			return m, err
		}
	}
	return m, nil
}

// ParseIndex parses an index and checks its form. mediaType is the
// descriptor's; "" is not checked.
func ParseIndex(data []byte, mediaType string) (ocispec.Index, error) {
	var idx ocispec.Index
	if err := checkShape(data, mediaType); err != nil {
		return idx, err
	}
	if err := json.Unmarshal(data, &idx); err != nil {
		return idx, errdefs.Corrupt("parse: %w", err)
	}
	for i, m := range idx.Manifests {
		if err := checkDescriptor(fmt.Sprintf("manifest %d", i), m); err != nil {
			return idx, err
		}
	}
	return idx, nil
}

func checkDescriptor(what string, d ocispec.Descriptor) error {
	if err := content.CheckDigest(d.Digest); err != nil {
		return errdefs.With(errdefs.ErrCorrupt, fmt.Errorf("%s: %w", what, err))
	}
	if d.Size < 0 {
		return errdefs.Corrupt("%s: a size of %d", what, d.Size)
	}
	if d.MediaType == "" {
		return errdefs.Corrupt("%s: no mediaType", what)
	}
	return nil
}

// IsAttestation reports whether an entry of an index is what BuildKit stores
// beside the images of an index: no image, though it looks like one.
func IsAttestation(d ocispec.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" ||
		d.Platform != nil && strings.EqualFold(d.Platform.OS, "unknown") && strings.EqualFold(d.Platform.Architecture, "unknown")
}
