package unpack

import (
	"io"
	"os"
)

const (
	// aheadBlock is how much is read at once, and aheadBlocks how many blocks wait: 4 MiB
	// a layer.
	aheadBlock  = 512 << 10
	aheadBlocks = 8
)

// ahead reads from a stream in a goroutine of its own, so that the verification, which is done
// in the reader, and the extraction have a processor each.
type ahead struct {
	full  chan block
	empty chan []byte
	stop  chan struct{}
	ended chan struct{}
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

func readAhead(r io.ReadCloser) *ahead {
	a := &ahead{
		full: make(chan block, aheadBlocks), empty: make(chan []byte, aheadBlocks),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	go a.run(r)
	return a
}

func (a *ahead) run(r io.ReadCloser) {
	defer close(a.ended)
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
	<-a.ended
	return nil
}
