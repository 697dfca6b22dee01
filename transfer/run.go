package transfer

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
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
	c.tell(n, err)
	if err == nil {
		close(n.done)
	}
	return err
}

// tell tells those who read a blob while it comes that it is there, or will not be.
func (c *copier) tell(n *node, err error) {
	if err == nil && n.absent {
		err = errdefs.NotFound("layer %s may not be distributed, and is not here", n.desc.Digest)
	}
	c.opts.Flow.stream(n.desc.Digest).end(err)
}

// blob copies the bytes, unless they are there.
func (c *copier) blob(ctx context.Context, n *node, e progress.Event) (progress.State, error) {
	d := n.desc
	if err := content.CheckDigest(d.Digest); err != nil {
		return progress.Failed, fail(AtSource, d.Digest, err)
	}
	if _, far := c.dst.(*putter); far && len(d.URLs) > 0 && image.IsForeign(d.MediaType) {
		n.absent = true // as docker and skopeo do: whoever gets the manifest is told where it is
		return progress.Cached, nil
	}
	there, err := c.dst.have(ctx, d)
	if err != nil {
		return progress.Failed, fail(AtDestination, d.Digest, err)
	}
	if there {
		return progress.Cached, nil
	}
	src := &counting{src: c.src, e: e, sink: c.sink}
	err = c.dst.put(ctx, src, d)
	if missing, _ := src.state(); missing && len(d.URLs) > 0 {
		n.absent = true
		return progress.Cached, nil
	}
	if err != nil {
		return progress.Failed, err
	}
	return progress.Done, nil
}

// counting is the source as a sink sees it: its readers tell how far they are, and its errors are kept. A sink
// may open the source again while the last reader is still being read.
type counting struct {
	src  Source
	sink progress.Sink

	mu      sync.Mutex
	e       progress.Event
	err     error
	missing bool
}

func (c *counting) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.missing = err, errdefs.IsNotFound(err)
}

// from begins to count at an offset.
func (c *counting) from(off int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.missing, c.e.Current = nil, false, off
}

// advance counts n bytes more and returns an event for it.
func (c *counting) advance(n int) progress.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.e.Current += int64(n)
	return c.e
}

func (c *counting) state() (missing bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.missing, c.err
}

// Open implements content.Provider.
func (c *counting) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	r, err := c.src.Open(ctx, desc)
	if err != nil {
		c.failed(err)
		return nil, err
	}
	c.from(0)
	return &reader{Reader: r, alive: ctx.Err, c: c}, nil
}

// blame gives an error its side: that of the source when it came from there.
func (c *counting) blame(d digest.Digest, err error) error {
	if err == nil {
		return nil
	}
	if _, cause := c.state(); cause != nil {
		return fail(AtSource, d, cause)
	}
	return fail(AtDestination, d, err)
}

// reader reads the source's bytes, tells how far it is, and keeps the source's error.
type reader struct {
	content.Reader
	alive func() error
	told  int64
	c     *counting
}

func (r *reader) Read(p []byte) (int, error) {
	const step = 1 << 20
	if err := r.alive(); err != nil {
		r.c.failed(err)
		return 0, err
	}
	n, err := r.Reader.Read(p)
	if e := r.c.advance(n); e.Current-r.told >= step {
		r.told = e.Current
		r.c.sink.Emit(e)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.c.failed(err)
	}
	return n, err
}

// Seek implements io.Seeker when the source's reader does; otherwise it is errors.ErrUnsupported.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	s, ok := r.Reader.(io.Seeker)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	at, err := s.Seek(offset, whence)
	if err == nil {
		r.c.from(at)
		r.told = at
	}
	return at, err
}
