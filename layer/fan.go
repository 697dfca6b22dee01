package layer

import (
	"context"
	"sync"
	"sync/atomic"
)

const (
	bufferSize  = 256 << 10
	bufferCount = 8
)

// fan gives the same bytes to several writers, each in a goroutine of its own. The
// buffers go round: one is free again when all writers are done with it.
type fan struct {
	done    <-chan struct{} // closed when a writer failed or the caller gave up
	cause   func() error    // why, nil before
	cancel  context.CancelCauseFunc
	cur     *buffer
	free    chan *buffer
	queues  []chan *buffer
	wg      sync.WaitGroup
	size    int64
	buffers int
	pool    *Pool
}

type buffer struct {
	b     []byte
	users atomic.Int32
}

type writer interface{ Write([]byte) (int, error) }

func newFan[W writer](ctx context.Context, pool *Pool, writers []W) *fan {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &fan{
		done:   ctx.Done(),
		cause:  func() error { return context.Cause(ctx) },
		cancel: cancel,
		free:   make(chan *buffer, bufferCount),
		pool:   pool,
	}
	for _, w := range writers {
		q := make(chan *buffer, bufferCount)
		f.queues = append(f.queues, q)
		f.wg.Add(1)
		go f.feed(w, q)
	}
	return f
}

// feed writes what comes through q to w. After a failure it goes on taking buffers, so
// that nobody waits for it.
func (f *fan) feed(w writer, q <-chan *buffer) {
	defer f.wg.Done()
	for buf := range q {
		if f.cause() == nil {
			if _, err := w.Write(buf.b); err != nil {
				f.cancel(err)
			}
		}
		if buf.users.Add(-1) == 0 {
			buf.b = buf.b[:0]
			f.free <- buf
		}
	}
}

// Write implements io.Writer for the producer. Its error is the first one of any writer.
func (f *fan) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if f.cur == nil {
			if f.cur, err = f.next(); err != nil {
				return n, err
			}
		}
		b := f.cur.b
		c := copy(b[len(b):cap(b)], p)
		f.cur.b = b[:len(b)+c]
		n += c
		p = p[c:]
		if len(f.cur.b) == cap(f.cur.b) {
			f.send()
		}
	}
	return n, nil
}

func (f *fan) next() (*buffer, error) {
	if err := f.cause(); err != nil {
		return nil, err
	}
	select {
	case buf := <-f.free:
		return buf, nil
	default:
	}
	if f.buffers < bufferCount {
		f.buffers++
		return f.pool.buffer(), nil
	}
	select {
	case buf := <-f.free:
		return buf, nil
	case <-f.done:
		return nil, f.cause()
	}
}

func (f *fan) send() {
	f.size += int64(len(f.cur.b))
	f.cur.users.Store(int32(len(f.queues)))
	for _, q := range f.queues {
		q <- f.cur // never blocks: there are no more buffers than places
	}
	f.cur = nil
}

// close hands out the rest, unless the producer failed with err, and waits for the
// writers. It returns how many bytes went past and the first error of a writer or the context.
func (f *fan) close(err error) (int64, error) {
	switch {
	case err != nil:
		f.cancel(err)
	case f.cur != nil:
		f.send()
	}
	for _, q := range f.queues {
		close(q)
	}
	f.wg.Wait()
	f.pool.keep(f.free)
	cause := f.cause()
	f.cancel(nil)
	return f.size, cause
}
