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
	"errors"

	"github.com/camada/camada/content"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source is where blobs come from.
type Source interface {
	content.Provider
}

// Destination is where blobs go. When it is a content.Syncer too, blobs are
// written without syncing each, and synced together before Copy returns.
type Destination interface {
	content.Statter
	content.Ingester
}

// Options shape a Copy. The zero value has the defaults.
type Options struct {
	// Concurrency is how many blobs are copied at once; 0 means 3.
	Concurrency int
	// Partial leaves out manifests of an index that are not at the source: who
	// pulled for one platform has one manifest of it. At least one must be there.
	Partial bool
	// Progress gets events for each blob, with its digest as ID; may be nil.
	Progress progress.Sink
}

// Side is the end of a copy at which an error happened.
type Side string

// The sides.
const (
	AtSource      Side = "source"
	AtDestination Side = "destination"
)

// Error says at which side the copy of a blob failed. Its class is that of the cause.
type Error struct {
	Side   Side
	Digest digest.Digest
	Err    error
}

// Error returns the text.
func (e *Error) Error() string {
	return "copy " + e.Digest.String() + ": " + string(e.Side) + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// fail gives an error its side, unless it has one; a canceled context has none.
func fail(side Side, d digest.Digest, err error) error {
	if known := (*Error)(nil); err == nil || errors.Is(err, context.Canceled) || errors.As(err, &known) {
		return err
	}
	return &Error{Side: side, Digest: d, Err: err}
}

// Copy copies desc and all that it leads to. Indexes and manifests are read and
// verified from the source, blobs are verified while they are written. Layers that
// may not be distributed and are not at the source are left out: they have URLs.
// On an error everything under way is stopped, and what was copied stays.
func Copy(ctx context.Context, src Source, dst Destination, desc ocispec.Descriptor, opts Options) error {
	if opts.Concurrency <= 0 {
		opts.Concurrency = 3
	}
	c := &copier{src: src, dst: dst, opts: opts, sink: progress.Or(opts.Progress)}
	nodes, err := c.plan(ctx, desc)
	if err != nil {
		return fail(AtSource, desc.Digest, err)
	}
	if err := c.run(ctx, nodes); err != nil {
		return err
	}
	if s, ok := dst.(content.Syncer); ok {
		all := make([]digest.Digest, 0, len(nodes))
		for _, n := range nodes {
			if !n.absent {
				all = append(all, n.desc.Digest)
			}
		}
		if err := s.Sync(ctx, all...); err != nil {
			return fail(AtDestination, desc.Digest, err)
		}
	}
	return nil
}
