package engine

import (
	"context"

	"github.com/camada/camada/content"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// carriedMount is a cache mount that a source of cache has.
type carriedMount struct{}

// mountsTag is the tag of the cache mounts that belong to the cache with the given tag.
func mountsTag(tag string) string { return tag + "-mounts" }

func readMounts(context.Context, content.Provider, place, func() (ocispec.Descriptor, error)) ([]carriedMount, error) {
	return nil, nil
}

func (w *cacheWriter) mounts(context.Context, *cacheSpec, *ocispec.Descriptor) error { return nil }
