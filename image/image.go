// Package image reads and makes OCI images: index, manifest and config over a
// content store, and the refs that name them.
//
//	img, err := image.Open(ctx, store, tag.Descriptor, platform.Host())
//	img.ID()        // the config's digest, which Docker calls the image ID
//	img.Layers      // blobs, the base first
//	img.Config.Env  // how to run it
//
// The graph of an image is walked with Children and Walk: an index leads to
// manifests, a manifest to a config and layers. Media types of OCI and of
// Docker's schema 2 are read alike. Whatever is parsed was verified against its
// digest before, is bounded in size, and is refused when it is not what its
// descriptor says.
package image

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxConfig is how big a config may be, in bytes. Long histories and labels
// make configs bigger than manifests.
const MaxConfig = 8 << 20

// Image is an image for one platform, as it was read.
type Image struct {
	// Descriptor of the manifest (never of an index).
	Descriptor ocispec.Descriptor
	Manifest   ocispec.Manifest
	Config     Config
	// RawManifest and ConfigBytes are the stored bytes. They have what the
	// structs do not know.
	RawManifest []byte
	ConfigBytes []byte
	// Layers are the layers' descriptors and DiffIDs the digests of their
	// uncompressed tars, the base first; both have the same length.
	Layers  []ocispec.Descriptor
	DiffIDs []digest.Digest
}

// ID is the digest of the config, which Docker calls the image ID.
func (img *Image) ID() digest.Digest { return img.Manifest.Config.Digest }

// Size is the sum of the sizes of the manifest, the config and the layers, in
// bytes, as they are stored.
func (img *Image) Size() int64 {
	n := int64(len(img.RawManifest)) + int64(len(img.ConfigBytes))
	for _, l := range img.Layers {
		n += l.Size
	}
	return n
}

// Open reads the image that desc names: an index leads to the manifest for
// want (see Select), a manifest is taken whatever its platform. A manifest of
// something else than an image is ErrUnsupported; a config that does not fit
// the layers is ErrCorrupt. The layers are not looked at.
func Open(ctx context.Context, p content.Provider, desc ocispec.Descriptor, want ocispec.Platform) (*Image, error) {
	desc, err := Select(ctx, p, desc, want)
	if err != nil {
		return nil, err
	}
	raw, m, err := ReadManifest(ctx, p, desc)
	if err != nil {
		return nil, err
	}
	if !IsConfig(m.Config.MediaType) {
		return nil, errdefs.Unsupported("manifest %s is not that of an image: its config is of the type %.100q", desc.Digest, m.Config.MediaType)
	}
	data, cfg, err := ReadConfig(ctx, p, m.Config)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", desc.Digest, err)
	}
	if len(m.Layers) != len(cfg.RootFS.DiffIDs) {
		return nil, errdefs.Corrupt("manifest %s has %d layers, and its config %s has %d diff_ids", desc.Digest, len(m.Layers), m.Config.Digest, len(cfg.RootFS.DiffIDs))
	}
	return &Image{
		Descriptor: desc, Manifest: m, Config: cfg,
		RawManifest: raw, ConfigBytes: data,
		Layers: m.Layers, DiffIDs: cfg.RootFS.DiffIDs,
	}, nil
}

// ReadConfig reads and checks the config of an image.
func ReadConfig(ctx context.Context, p content.Provider, desc ocispec.Descriptor) ([]byte, Config, error) {
	data, err := content.ReadAll(ctx, p, desc, MaxConfig)
	if err != nil {
		return nil, Config{}, fmt.Errorf("read config: %w", err)
	}
	cfg, err := ParseConfig(data)
	if err != nil {
		return nil, Config{}, fmt.Errorf("config %s: %w", desc.Digest, err)
	}
	return data, cfg, nil
}

// ParseConfig parses a config (OCI image-spec, config.md) and checks its diff_ids.
func ParseConfig(data []byte) (Config, error) {
	var cfg Config
	if len(data) > MaxConfig {
		return cfg, errdefs.Limit("%d bytes, more than the limit of %d", len(data), MaxConfig)
	}
	if err := json.Unmarshal(data, &cfg); err != nil {
		return cfg, errdefs.Corrupt("parse config: %w", err)
	}
	if t := cfg.RootFS.Type; t != "" && t != "layers" {
		return cfg, errdefs.Unsupported("parse config: a rootfs of type %.100q", t)
	}
	for _, d := range cfg.RootFS.DiffIDs {
		if err := content.CheckDigest(d); err != nil {
			return cfg, errdefs.Corrupt("parse config: diff_ids: %w", err)
		}
	}
	return cfg, nil
}
