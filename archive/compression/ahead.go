package compression

import (
	"io"
	"os"
	"sync"
)

const (
	aheadBuffers = 4
	aheadSize    = 256 << 10
)

// ahead reads in a goroutine of its own into a ring of buffers, so that
// decompressing and what is done with the bytes take a core each.
type ahead struct {
	full    chan chunk
	free    chan []byte
	stop    chan struct{}
	stopped chan struct{}
	once    sync.Once

	cur  []byte // unread part of buf
	buf  []byte
	last error
}

type chunk struct {
	buf []byte
	n   int
	err error
}

func newAhead(r io.Reader, done func()) *ahead {
	a := &ahead{
		full:    make(chan chunk, aheadBuffers),
		free:    make(chan []byte, aheadBuffers),
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	for range aheadBuffers {
		a.free <- nil
	}
	go a.run(r, done)
	return a
}

func (a *ahead) run(r io.Reader, done func()) {
	defer close(a.stopped)
	defer done()
	for {
		var buf []byte
		select {
		case <-a.stop:
			return
		case buf = <-a.free:
		}
		if buf == nil {
			buf = make([]byte, aheadSize)
		}
		n, err := fill(r, buf)
		a.full <- chunk{buf, n, err} // never blocks: there are no more buffers than places
		if err != nil {
			return
		}
	}
}

// fill is io.ReadFull that returns the reader's error as it is.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var c int
		c, err = r.Read(buf[n:])
		n += c
	}
	return n, err
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	for len(a.cur) == 0 {
		if a.last != nil {
			return 0, a.last
		}
		if a.buf != nil {
			a.free <- a.buf
			a.buf = nil
		}
		select {
		case c := <-a.full:
			a.buf, a.cur, a.last = c.buf, c.buf[:c.n], c.err
		case <-a.stop:
			return 0, os.ErrClosed
		}
	}
	n := copy(p, a.cur)
	a.cur = a.cur[n:]
	return n, nil
}

// Close stops the goroutine and waits for it. A Read under way returns os.ErrClosed.
func (a *ahead) Close() error {
	a.once.Do(func() { close(a.stop) })
	<-a.stopped
	return nil
}
