// Package transfer copies images from one place to another, whatever the
// places are: every push, pull, save, load and copy of a whole image is one
// graph copy.
//
//	err := transfer.Copy(ctx, src, dst, desc, transfer.Options{})
//
// Children are copied before their parents, so that what is at the destination
// is whole at every moment. What is there already is not copied again.
package transfer

import (
	"context"

	"github.com/camada/camada/content"
	"github.com/camada/camada/progress"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source is where blobs come from.
type Source interface {
	content.Provider
}

// Destination is where blobs go. When it is a content.Syncer too, blobs are
// written without syncing each, and synced before Copy returns.
type Destination interface {
	content.Statter
	content.Ingester
}

// Options shape a Copy. The zero value has the defaults.
type Options struct {
	// Concurrency is how many blobs are copied at once; 0 means 3.
	Concurrency int
	// Progress gets an event for each blob; may be nil.
	Progress progress.Sink
}

// Copy copies desc and all that it leads to.
func Copy(ctx context.Context, src Source, dst Destination, desc ocispec.Descriptor, opts Options) error {
	panic("not yet")
}
