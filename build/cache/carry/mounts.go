package carry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of cache mounts, an artifact of their own: a layer for each mount, and a config with their keys:
//
//	{"mounts": [{"key": "sha256:…", "id": "/root/.cache", "layer": {"descriptor": {…}, "diffID": "sha256:…", "size": 1024}}, …]}
const (
	MountsType       = "application/vnd.camada.cache-mounts.v1"
	MountsConfigType = "application/vnd.camada.cache-mounts.config.v1+json"
	// MountAnnotation of a layer has the id of its mount, for people.
	MountAnnotation = "vnd.camada.cache-mount.id"
)

// maxMounts bounds how many mounts an artifact has.
const maxMounts = 1000

// Mount is what was in the directory of RUN --mount=type=cache.
type Mount struct {
	// Key is the digest of all that decides which mount it is.
	Key digest.Digest `json:"key"`
	// ID is its id or target, for people.
	ID string `json:"id"`
	// Layer is a tar of the directory's content.
	Layer layer.Layer `json:"layer"`
}

type mountsConfig struct {
	Mounts []Mount `json:"mounts"`
}

// EncodeMounts makes the artifact of mounts, each of another key.
func EncodeMounts(mounts []Mount, subject *ocispec.Descriptor) (Artifact, error) {
	c := mountsConfig{Mounts: slices.Clone(mounts)}
	slices.SortFunc(c.Mounts, func(a, b Mount) int { return cmp.Compare(a.Key, b.Key) })
	var layers []ocispec.Descriptor
	for i, m := range c.Mounts {
		c.Mounts[i].Layer.Descriptor = plain(m.Layer.Descriptor)
		d := plain(m.Layer.Descriptor)
		d.Annotations = map[string]string{MountAnnotation: m.ID}
		layers = append(layers, d)
	}
	if len(layers) > maxMounts {
		return Artifact{}, errdefs.Limit("more than %d cache mounts", maxMounts)
	}
	return encode(MountsType, MountsConfigType, c, layers, subject)
}

// ReadMounts reads the artifact of mounts. The layers were not looked at.
func ReadMounts(ctx context.Context, p content.Provider, desc ocispec.Descriptor) ([]Mount, error) {
	_, data, err := read(ctx, p, desc, MountsType, MountsConfigType)
	if err != nil {
		return nil, err
	}
	mounts, err := ParseMounts(data)
	if err != nil {
		return nil, fmt.Errorf("cache mounts %s: %w", desc.Digest, err)
	}
	return mounts, nil
}

// ParseMounts reads the config of mounts; ErrCorrupt when one makes no sense.
func ParseMounts(data []byte) ([]Mount, error) {
	var c mountsConfig
	if len(data) > maxConfig {
		return nil, errdefs.Limit("%d bytes, more than the limit of %d", len(data), maxConfig)
	}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&c); err != nil {
		return nil, errdefs.Corrupt("parse: %w", err)
	}
	if len(c.Mounts) > maxMounts {
		return nil, errdefs.Limit("more than %d cache mounts", maxMounts)
	}
	for i := range c.Mounts {
		m := &c.Mounts[i]
		d := m.Layer.Descriptor
		for _, dgst := range []digest.Digest{m.Key, d.Digest, m.Layer.DiffID} {
			if err := content.CheckDigest(dgst); err != nil {
				return nil, errdefs.Corrupt("mount %d: %w", i, err)
			}
		}
		if _, err := compression.FromMediaType(d.MediaType); err != nil || d.Size <= 0 || m.Layer.Size < 0 || len(d.URLs) > 0 {
			return nil, errdefs.Corrupt("mount %d: the descriptor of its layer makes no sense", i)
		}
		m.Layer.Descriptor = plain(d)
	}
	return c.Mounts, nil
}
