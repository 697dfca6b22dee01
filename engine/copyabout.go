package engine

import (
	"context"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// aboutAt lists what refers to an image where it comes from, and to that in turn: subjects before what refers to them.
func (e *Engine) aboutAt(ctx context.Context, src *copySource, root ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if src.store {
		return e.about(ctx, root)
	}
	of := func(d digest.Digest) ([]ocispec.Descriptor, error) { return src.repo.Referrers(ctx, d, "") }
	if src.repo == nil {
		listed, err := referring(ctx, src)
		if err != nil {
			return nil, err
		}
		of = func(d digest.Digest) ([]ocispec.Descriptor, error) { return listed[d], nil }
	}
	return aboutOf(ctx, src, root, of)
}

// referring lists the entries of a layout that refer to others, by their subjects.
func referring(ctx context.Context, src *copySource) (map[digest.Digest][]ocispec.Descriptor, error) {
	out := map[digest.Digest][]ocispec.Descriptor{}
	for _, d := range src.entries {
		if !image.IsIndex(d.MediaType) && !image.IsManifest(d.MediaType) {
			continue
		}
		subject, listed, ok, err := image.Referrer(ctx, src, d)
		if errdefs.IsNotFound(err) {
			continue // an entry of which the layout has nothing
		}
		if err != nil {
			return nil, err
		}
		if ok {
			out[subject.Digest] = append(out[subject.Digest], listed)
		}
	}
	return out, nil
}
