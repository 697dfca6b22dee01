package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxDepth bounds how deep indexes lie in each other. Digests make cycles
	// impossible, so this only bounds recursion.
	maxDepth = 8
	// maxNodes bounds how many descriptors one Walk visits.
	maxNodes = 1 << 20
)

// Children returns what a descriptor leads to: the manifests of an index; the
// config and then the layers of a manifest; nothing for all other media types.
// The bytes are verified and bounded (MaxManifest). The subject of a manifest
// is no child: it points backwards.
func Children(ctx context.Context, p content.Provider, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	switch {
	case IsIndex(desc.MediaType):
		_, idx, err := ReadIndex(ctx, p, desc)
		return idx.Manifests, err
	case IsManifest(desc.MediaType):
		_, m, err := ReadManifest(ctx, p, desc)
		if err != nil {
			return nil, err
		}
		return append([]ocispec.Descriptor{m.Config}, m.Layers...), nil
	}
	return nil, nil
}

// WalkOptions shape a Walk.
type WalkOptions struct {
	// Missing, when not nil, is called for an index or manifest that is not in
	// the store, after fn was called for it. The walk goes on unless it
	// returns an error. When nil, the walk ends with ErrNotFound.
	Missing func(ocispec.Descriptor) error
}

// Walk calls fn for root and all that it leads to, parents first, each
// digest once (once for each media type, should they differ). Only indexes and manifests are read; whether configs and layers
// are there is not looked at. fn may return fs.SkipDir to leave out the
// children of a descriptor; any other error ends the walk.
func Walk(ctx context.Context, p content.Provider, root ocispec.Descriptor, opts WalkOptions, fn func(ocispec.Descriptor) error) error {
	w := walker{p: p, opts: opts, fn: fn, seen: map[visit]bool{}}
	return w.walk(ctx, root, 0)
}

type walker struct {
	p    content.Provider
	opts WalkOptions
	fn   func(ocispec.Descriptor) error
	seen map[visit]bool
}

// visit is what is visited once. Whoever names a manifest once as a layer and
// once as a manifest does not hide what it leads to.
type visit struct {
	digest    digest.Digest
	mediaType string
}

func (w *walker) walk(ctx context.Context, desc ocispec.Descriptor, depth int) error {
	key := visit{desc.Digest, desc.MediaType}
	if w.seen[key] {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return errdefs.Limit("index %s lies deeper than %d indexes", desc.Digest, maxDepth)
	}
	if len(w.seen) >= maxNodes {
		return errdefs.Limit("the image has more than %d parts", maxNodes)
	}
	w.seen[key] = true
	if err := w.fn(desc); err != nil {
		if errors.Is(err, fs.SkipDir) {
			return nil
		}
		return err
	}
	children, err := Children(ctx, w.p, desc)
	if errdefs.IsNotFound(err) && w.opts.Missing != nil {
		return w.opts.Missing(desc)
	}
	if err != nil {
		return fmt.Errorf("walk image: %w", err)
	}
	for _, c := range children {
		if err := w.walk(ctx, c, depth+1); err != nil {
			return err
		}
	}
	return nil
}
