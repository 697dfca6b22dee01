package transfer

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Flow opens blobs while a Copy brings them: a reader gives what was written so far, waits for the
// rest, and ends with io.EOF only after the blob was found to have its digest. The bytes wait in the destination's files, not in memory.
//
//	flow := transfer.NewFlow(store)
//	go unpack.Image(ctx, flow, ...)
//	err := transfer.Copy(ctx, repository, store, desc, transfer.Options{Flow: flow})
//	flow.End(err)
//
// The destination of the Copy is store, and its writers are io.ReaderAt; of others the blobs can be read when they are whole.
type Flow struct {
	store content.Provider

	mu      sync.Mutex
	streams map[digest.Digest]*stream
	ended   bool
}

var _ content.Provider = (*Flow)(nil)

// NewFlow returns a Flow over the store that a Copy writes to.
func NewFlow(store content.Provider) *Flow {
	return &Flow{store: store, streams: make(map[digest.Digest]*stream)}
}

// Open implements content.Provider. A blob that the Copy has not come to yet is waited for by the first Read.
func (f *Flow) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	r, err := f.store.Open(ctx, desc)
	if !errdefs.IsNotFound(err) {
		return r, err
	}
	if desc.Size <= 0 {
		return nil, errdefs.Invalid("blob %s cannot be read while it comes: its size is not known", desc.Digest)
	}
	return &follower{ctx: ctx, f: f, s: f.stream(desc.Digest), desc: desc}, nil
}

// End says that nothing more will come. What is still being waited for fails with err.
func (f *Flow) End(err error) {
	if err == nil {
		err = errdefs.NotFound("the blob did not come")
	}
	f.mu.Lock()
	f.ended = true
	streams := slices.Collect(maps.Values(f.streams)) // more may be asked for meanwhile: those end as they begin
	f.mu.Unlock()
	for _, s := range streams {
		s.end(err)
	}
}

// stream returns what is known of a blob; f may be nil, and then nobody reads it.
func (f *Flow) stream(d digest.Digest) *stream {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.streams[d]
	if s == nil {
		s = &stream{}
		f.streams[d] = s
		if f.ended {
			s.end(errdefs.NotFound("the blob did not come"))
		}
	}
	return s
}

// stream is a blob on its way. Its methods for the writer may be called on nil.
type stream struct {
	mu sync.Mutex
	// at reads the bytes before off; nil while there is no writer that can.
	at    io.ReaderAt
	off   int64
	ended bool
	err   error
	// wake is closed when something changed; nil while nobody waits.
	wake chan struct{}
}

func (s *stream) change(fn func()) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

// begin tells of a writer; its bytes can be read when it is an io.ReaderAt.
func (s *stream) begin(w content.Writer) {
	if at, ok := w.(io.ReaderAt); ok {
		s.change(func() { s.at, s.off = at, w.Offset() })
	}
}

// advance tells how many bytes were written.
func (s *stream) advance(off int64) { s.change(func() { s.off = off }) }

// end says that the blob is in the store, or that it will not come.
func (s *stream) end(err error) {
	s.change(func() {
		if !s.ended {
			s.at, s.ended, s.err = nil, true, err
		}
	})
}

// state returns from where the bytes up to off can be read, or else whether the blob has ended, or else what to wait for.
func (s *stream) state(pos int64) (at io.ReaderAt, off int64, ended bool, wake <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return nil, 0, true, nil, s.err
	case s.at != nil && pos < s.off:
		return s.at, s.off, false, nil, nil
	}
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return nil, 0, false, s.wake, nil
}

// follower reads a blob on its way.
type follower struct {
	ctx  context.Context // that of Open: io.Reader has no room for one
	f    *Flow
	s    *stream
	desc ocispec.Descriptor
	pos  int64
	// whole is the blob in the store, once it is there.
	whole content.Reader
}

// Size implements content.Reader.
func (r *follower) Size() int64 { return r.desc.Size }

// Read implements io.Reader.
func (r *follower) Read(p []byte) (int, error) {
	n, err := r.ReadAt(p, r.pos)
	r.pos += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil // it comes again
	}
	return n, err
}

// ReadAt implements io.ReaderAt, except that it may return less than was asked for while the blob is on its way.
func (r *follower) ReadAt(p []byte, pos int64) (int, error) {
	for len(p) > 0 {
		if r.whole != nil {
			return r.whole.ReadAt(p, pos)
		}
		at, off, ended, wake, err := r.s.state(pos)
		switch {
		case at != nil:
			n, err := at.ReadAt(p[:min(int64(len(p)), off-pos)], pos)
			if n > 0 || !errors.Is(err, os.ErrClosed) && !errors.Is(err, io.EOF) {
				return n, err
			}
			// The writer was closed a moment ago: its end is about to be told.
			wake = r.s.changed(at)
		case ended && err != nil:
			return 0, err
		case ended:
			if r.whole, err = r.f.store.Open(r.ctx, r.desc); err != nil {
				return 0, err
			}
			continue
		}
		select {
		case <-wake:
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		}
	}
	return 0, nil
}

// changed is closed when at is no longer what can be read.
func (s *stream) changed(at io.ReaderAt) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at != at {
		now := make(chan struct{})
		close(now)
		return now
	}
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}

// Close implements io.Closer.
func (r *follower) Close() error {
	if r.whole != nil {
		return r.whole.Close()
	}
	return nil
}

// following tells a stream how far its writer is, each time when more is about to be read for it.
type following struct {
	io.Reader
	w content.Writer
	s *stream
}

func (f following) Read(p []byte) (int, error) {
	f.s.advance(f.w.Offset())
	return f.Reader.Read(p)
}
