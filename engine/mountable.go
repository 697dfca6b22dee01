package engine

import (
	"context"
	"slices"
	"sync"

	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// mountsTried is in how many repositories a registry is asked to look for one blob.
const mountsTried = 2

// mountsRead is how many images are looked through for that, the newest: a store can have very many.
const mountsRead = 200

// mountable returns in which other repositories of its registry the blobs of an image may be that is pushed under a name: those of the images that have
// such names here, the newest first. Whether they were ever there only the registry knows. It looks once, when it is first asked.
func (e *Engine) mountable(ctx context.Context, to reference.Reference) func(digest.Digest) []string {
	find := sync.OnceValue(func() map[digest.Digest][]string { return e.namedBlobs(ctx, to) })
	return func(d digest.Digest) []string { return find()[d] }
}

// namedBlobs are the blobs of all images that have names in the registry of to, outside of its repository. What cannot be read is left out: then more is sent.
func (e *Engine) namedBlobs(ctx context.Context, to reference.Reference) map[digest.Digest][]string {
	tags, err := e.refs.List(ctx)
	if err != nil {
		return nil
	}
	slices.SortFunc(tags, func(a, b image.Tag) int { return b.Updated.Compare(a.Updated) })
	tags = slices.DeleteFunc(tags, func(t image.Tag) bool {
		return t.Reference.Host != to.Host || t.Reference.Repository == to.Repository
	})
	found := map[digest.Digest][]string{}
	for _, t := range tags[:min(len(tags), mountsRead)] {
		from := t.Reference.Repository
		_ = image.Walk(ctx, e.content, t.Descriptor, image.WalkOptions{Missing: func(ocispec.Descriptor) error { return nil }}, func(d ocispec.Descriptor) error {
			known := found[d.Digest]
			if !image.IsIndex(d.MediaType) && !image.IsManifest(d.MediaType) && len(known) < mountsTried && !slices.Contains(known, from) {
				found[d.Digest] = append(known, from)
			}
			return nil
		})
	}
	return found
}
