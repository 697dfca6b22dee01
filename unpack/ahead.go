package unpack

import (
	"context"
	"io"
	"os"
)

const (
	// aheadBlock is how much is read at once, and aheadBlocks how many blocks wait: 4 MiB
	// a layer.
	aheadBlock  = 512 << 10
	aheadBlocks = 8
)

// ahead opens a stream and reads it in a goroutine of its own, so that the verification, which is done
// in the reader, and the extraction have a processor each. To open may take long: a layer may be on its way.
type ahead struct {
	full  chan block
	empty chan []byte
	stop  chan struct{}
	ended chan struct{}
	// cancel ends an open or a read that waits.
	cancel context.CancelFunc
	// cur is what is being given out.
	cur  block
	rest []byte
	err  error
}

type block struct {
	buf []byte
	n   int
	err error
}

func readAhead(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) *ahead {
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{
		full: make(chan block, aheadBlocks), empty: make(chan []byte, aheadBlocks),
		stop: make(chan struct{}), ended: make(chan struct{}), cancel: cancel,
	}
	go a.run(ctx, open)
	return a
}

func (a *ahead) run(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) {
	defer close(a.ended)
	r, err := open(ctx)
	if err != nil {
		a.full <- block{err: err}
		return
	}
	defer r.Close()
	for made := 0; ; {
		if made < aheadBlocks && len(a.empty) == 0 {
			made++
			a.empty <- make([]byte, aheadBlock)
		}
		var buf []byte
		select {
		case <-a.stop:
			return
		case buf = <-a.empty:
		}
		n, err := fill(r, buf)
		a.full <- block{buf, n, err} // never waits: there are as many places as blocks
		if err != nil {
			return
		}
	}
}

// fill reads until buf is full or the stream has ended, and returns the stream's own error.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// Read gives out the blocks; the error of the stream comes after its bytes.
func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.cur.buf != nil {
			a.empty <- a.cur.buf
			a.cur.buf = nil
		}
		select {
		case a.cur = <-a.full:
		case <-a.stop:
			return 0, os.ErrClosed
		}
		a.rest, a.err = a.cur.buf[:a.cur.n], a.cur.err
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close ends the reading and waits for it.
func (a *ahead) Close() error {
	select {
	case <-a.stop:
	default:
		close(a.stop)
	}
	a.cancel()
	<-a.ended
	return nil
}
