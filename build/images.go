package build

import (
	"context"
	"encoding/json"

	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/lease"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxConfig bounds an image config that is read, in bytes.
const maxConfig = 8 << 20

// images finds the base images of one build.
type images struct{ r *run }

// Base implements graph.Images.
func (i *images) Base(ctx context.Context, name string, p ocispec.Platform) (*graph.Base, error) {
	r := i.r
	if r.p.Images == nil {
		return nil, errdefs.NotFound("image %s: there is no place to look for images", name)
	}
	b, err := r.p.Images.Resolve(ctx, name, p, r.opts.Pull)
	if err != nil {
		return nil, err
	}
	return i.use(ctx, name, b)
}

// use makes of an image what the graph knows of it, and keeps it until the end of the build.
func (i *images) use(ctx context.Context, name string, b Base) (*graph.Base, error) {
	base := &graph.Base{Name: b.Name, Manifest: b.Manifest, Layers: b.Layers, Annotations: b.Annotations}
	if len(b.Config) > maxConfig {
		return nil, errdefs.Limit("image %s: its config has %d bytes", name, len(b.Config))
	}
	if err := json.Unmarshal(b.Config, &base.Image); err != nil {
		return nil, errdefs.Corrupt("image %s: its config: %w", name, err)
	}
	if len(base.Image.RootFS.DiffIDs) != len(b.Layers) {
		return nil, errdefs.Corrupt("image %s has %d layers and %d diffIDs", name, len(b.Layers), len(base.Image.RootFS.DiffIDs))
	}
	fitHistory(&base.Image)
	rs := make([]lease.Resource, 0, len(b.Layers)+1)
	rs = append(rs, lease.Blob(b.Manifest.Digest))
	for _, l := range b.Layers {
		rs = append(rs, lease.Blob(l.Digest))
	}
	return base, i.r.p.Pins.Pin(ctx, rs...)
}

// fitHistory gives a foreign image as many history entries with a layer as
// it has layers: a reader pairs them one by one, and ours come after them.
func fitHistory(img *image.Config) {
	n := len(img.RootFS.DiffIDs)
	for i := range img.History {
		if img.History[i].EmptyLayer {
			continue
		}
		if n == 0 {
			img.History[i].EmptyLayer = true
			continue
		}
		n--
	}
	for range n {
		img.History = append(img.History, ocispec.History{Created: img.Created, Comment: "a layer of the base image"})
	}
}
