package transfer

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// run copies the nodes. Each worker takes the next one of the list; as children
// stand before their parents, whoever waits for a child waits for work that has begun.
func (c *copier) run(ctx context.Context, nodes []*node) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan *node)
	var wg sync.WaitGroup
	for range min(c.opts.Concurrency, len(nodes)) {
		wg.Go(func() {
			for n := range work {
				if err := c.node(ctx, n); err != nil {
					cancel(err)
				}
			}
		})
	}
feed:
	for _, n := range nodes {
		select {
		case work <- n:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}

// node copies one blob after its children.
func (c *copier) node(ctx context.Context, n *node) error {
	for _, child := range n.children {
		select {
		case <-child.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	e := progress.Event{ID: n.desc.Digest.String(), Name: name(n.desc), Total: n.desc.Size}
	state, err := c.blob(ctx, n, e)
	e.State, e.Current = state, n.desc.Size
	if err != nil {
		e.State, e.Current, e.Err = progress.Failed, 0, err
		if errors.Is(err, context.Canceled) {
			e.State = progress.Canceled
		}
	}
	c.sink.Emit(e)
	if err == nil {
		close(n.done)
	}
	return err
}

// blob copies the bytes, unless they are there.
func (c *copier) blob(ctx context.Context, n *node, e progress.Event) (progress.State, error) {
	d := n.desc
	if err := content.CheckDigest(d.Digest); err != nil {
		return progress.Failed, fail(AtSource, d.Digest, err)
	}
	there, err := content.Exists(ctx, c.dst, d.Digest)
	if err != nil {
		return progress.Failed, fail(AtDestination, d.Digest, err)
	}
	if there {
		return progress.Cached, nil
	}
	r, err := c.src.Open(ctx, d)
	if errdefs.IsNotFound(err) && len(d.URLs) > 0 {
		n.absent = true
		return progress.Cached, nil
	}
	if err != nil {
		return progress.Failed, fail(AtSource, d.Digest, err)
	}
	defer r.Close()
	if err := c.write(ctx, d, r, e); err != nil {
		return progress.Failed, err
	}
	return progress.Done, nil
}

// write copies the bytes into the destination.
func (c *copier) write(ctx context.Context, d ocispec.Descriptor, r content.Reader, e progress.Event) error {
	opts := content.WriterOptions{Algorithm: d.Digest.Algorithm()}
	_, opts.NoSync = c.dst.(content.Syncer)
	w, err := c.dst.Writer(ctx, opts)
	if err != nil {
		return fail(AtDestination, d.Digest, err)
	}
	defer func() { _ = w.Close() }()
	src := &reader{alive: ctx.Err, r: r, e: e, sink: c.sink}
	if _, err := io.Copy(w, io.LimitReader(src, d.Size+1)); err != nil {
		if src.err != nil {
			return fail(AtSource, d.Digest, src.err)
		}
		return fail(AtDestination, d.Digest, err)
	}
	// Bytes that are not what the digest names are the source's fault.
	if _, err := w.Commit(ctx, d.Size, d.Digest); errdefs.IsCorrupt(err) {
		return fail(AtSource, d.Digest, err)
	} else if err != nil {
		return fail(AtDestination, d.Digest, err)
	}
	return nil
}

// reader reads the source's bytes, tells how far it is, and keeps the source's error.
type reader struct {
	alive func() error
	r     io.Reader
	e     progress.Event
	told  int64
	sink  progress.Sink
	err   error
}

func (r *reader) Read(p []byte) (int, error) {
	const step = 4 << 20
	if r.err = r.alive(); r.err != nil {
		return 0, r.err
	}
	n, err := r.r.Read(p)
	if r.e.Current += int64(n); r.e.Current-r.told >= step {
		r.told = r.e.Current
		r.sink.Emit(r.e)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
