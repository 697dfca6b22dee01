package remote

import (
	"context"
	"io"
	"time"

	"github.com/camada/camada/errdefs"
)

// tuning says when and how one blob is fetched by several requests at once, and how big the pieces of an upload are when it is we who choose.
type tuning struct {
	piece int64
	// least is how big a blob is of which parts are fetched, first how much of it is asked for to see how fast it comes, part how much each
	// request gets after that; in bytes.
	least, first, part int64
	// below is at how many bytes a second one request is enough: more of them do not help what the disk, the processor or the next hop bounds.
	below float64
	// width is how many requests there are at most for a blob, and slots for all of a Client: their parts wait in memory.
	width, slots int
}

// usual takes 48 MiB of memory at most for what is under way, and a part for each blob.
func usual() tuning {
	return tuning{piece: 16 << 20, least: 32 << 20, first: 8 << 20, part: 4 << 20, below: 50e6, width: 4, slots: 12}
}

// wide reads a blob by several requests at once, each for a part, and gives out the bytes in their order.
type wide struct {
	ctx    context.Context // of the requests
	cancel context.CancelFunc
	b      *blobReader
	// next is where the next part begins, width how many are under way.
	next  int64
	width int
	parts []*wing
	// cur is what is left of the part that is being given out, last its buffer, which is used again, and err what comes after it.
	cur, last, used []byte
	err             error
	// given, since and best measure whether more requests bring more.
	given   int64
	since   time.Time
	best    float64
	settled bool
}

// wing is a part on its way.
type wing struct {
	buf  []byte
	n    int
	err  error
	done chan struct{}
}

// newWide begins at an offset.
func newWide(b *blobReader, offset int64) *wide {
	ctx, cancel := context.WithCancel(b.ctx)
	return &wide{ctx: ctx, cancel: cancel, b: b, next: offset, width: 2, since: time.Now()}
}

// fill begins requests until there are enough.
func (w *wide) fill() {
	c := w.b.r.c
	for len(w.parts) < w.width && w.next < w.b.stop {
		select {
		case c.slots <- struct{}{}:
		default:
			return // others have them
		}
		var buf []byte
		if buf, w.used = w.used, nil; buf == nil {
			buf = make([]byte, c.tuning.part)
		}
		p := &wing{buf: buf[:min(c.tuning.part, w.b.stop-w.next)], done: make(chan struct{})}
		part := &blobReader{ctx: w.ctx, r: w.b.r, digest: w.b.digest, size: w.b.size, offset: w.next, stop: w.next + int64(len(p.buf)), narrow: true, strict: true, away: w.b.away}
		w.next = part.stop
		w.parts = append(w.parts, p)
		go func() {
			defer close(p.done)
			defer part.Close()
			p.n, p.err = io.ReadFull(part, p.buf)
		}()
	}
}

// Read gives out bytes. After an error the reader goes on with one request from where this one is.
func (w *wide) Read(p []byte) (int, error) {
	for len(w.cur) == 0 {
		if w.err != nil {
			return 0, w.err
		}
		w.fill()
		if len(w.parts) == 0 {
			return 0, errdefs.Unavailable("there is no room for parts")
		}
		head := w.parts[0]
		select {
		case <-head.done:
		case <-w.ctx.Done():
			return 0, context.Cause(w.ctx)
		}
		w.parts = w.parts[1:]
		<-w.b.r.c.slots
		w.cur, w.err = head.buf[:head.n], head.err
		w.adapt(int64(head.n))
		w.last = head.buf[:cap(head.buf)]
	}
	n := copy(p, w.cur)
	if w.cur = w.cur[n:]; len(w.cur) == 0 {
		w.used, w.last = w.last, nil
		if w.err == nil {
			w.fill()
		}
	}
	return n, nil
}

// adapt makes one request more as long as that makes it faster.
func (w *wide) adapt(n int64) {
	w.given += n
	t := w.b.r.c.tuning
	if w.settled || w.given < 2*int64(w.width)*t.part {
		return
	}
	rate := float64(w.given) / max(time.Since(w.since).Seconds(), 1e-9)
	switch {
	case rate < 1.1*w.best:
		w.width, w.settled = max(2, w.width-1), true
	case w.width < t.width:
		w.width++
	default:
		w.settled = true
	}
	w.best, w.given, w.since = max(rate, w.best), 0, time.Now()
}

// close ends the requests and waits for them.
func (w *wide) close() {
	w.cancel()
	for _, p := range w.parts {
		<-p.done
		<-w.b.r.c.slots
	}
	w.parts = nil
}
