// Package transfer copies images from one place to another, whatever the
// places are: every push, pull, save, load and copy of a whole image is one
// graph copy.
//
//	err := transfer.Copy(ctx, src, dst, desc, transfer.Options{})
//
// Children are copied before their parents, so that what is at the destination
// is whole at every moment. What is there already is not copied again.
//
// A Destination is a store; a registry, which has to know what it is given, is a Putter:
//
//	err := transfer.Push(ctx, src, repository, desc, transfer.Options{})
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

// Putter is a place that has to know what it is given: registries keep manifests and blobs apart.
type Putter interface {
	// Have reports whether desc is there, or could be put there without its bytes.
	Have(ctx context.Context, desc ocispec.Descriptor) (bool, error)
	// Put copies desc from src, which it may open as often as it needs.
	Put(ctx context.Context, src content.Provider, desc ocispec.Descriptor) error
}

// Options shape a Copy. The zero value has the defaults.
type Options struct {
	// Concurrency is how many blobs are copied at once; 0 means 3.
	Concurrency int
	// Partial leaves out manifests of an index that are not at the source: who
	// pulled for one platform has one manifest of it. At least one must be there.
	Partial bool
	// Resume gives ingests names that are made of digests: a copy that was interrupted goes on where it stopped, and when
	// several processes copy the same blob one does and the others wait. For sources that are slow.
	Resume bool
	// Flow lets the blobs of a Copy be read while they come; may be nil.
	Flow *Flow
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
	nodes, err := newCopier(src, &store{dst: dst, resume: opts.Resume, flow: opts.Flow}, opts).copy(ctx, desc)
	if err != nil {
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

// Push is Copy to a Putter. Layers that may not be distributed and have URLs are left out.
func Push(ctx context.Context, src Source, dst Putter, desc ocispec.Descriptor, opts Options) error {
	_, err := newCopier(src, &putter{Putter: dst}, opts).copy(ctx, desc)
	return err
}

// Blob is Copy for one blob, whatever it leads to. It is not synced.
func Blob(ctx context.Context, src Source, dst Destination, desc ocispec.Descriptor, opts Options) error {
	return newCopier(src, &store{dst: dst, resume: opts.Resume, flow: opts.Flow}, opts).node(ctx, &node{desc: desc, done: make(chan struct{})})
}

func newCopier(src Source, dst sink, opts Options) *copier {
	if opts.Concurrency <= 0 {
		opts.Concurrency = 3
	}
	return &copier{src: src, dst: dst, opts: opts, sink: progress.Or(opts.Progress)}
}

// copy copies the graph and returns its nodes.
func (c *copier) copy(ctx context.Context, desc ocispec.Descriptor) ([]*node, error) {
	nodes, err := c.plan(ctx, desc)
	if err != nil {
		return nil, fail(AtSource, desc.Digest, err)
	}
	if p, ok := c.dst.(*putter); ok && c.opts.Concurrency > 1 {
		p.ask(ctx, nodes)
	}
	return nodes, c.run(ctx, nodes)
}
