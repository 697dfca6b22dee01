package s3_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands between a replica and the object store, and does to it what networks do.
type proxy struct {
	to string
	l  net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool
	// delay goes before each piece of bytes; cut ends a connection after about so many bytes, 0 never; off lets nothing pass, and nobody knows.
	delay time.Duration
	cut   int
	off   bool
}

// newProxy starts a proxy and returns it with its address.
func newProxy(t *testing.T, endpoint string) (*proxy, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{to: strings.TrimPrefix(endpoint, "http://"), l: l, conns: make(map[net.Conn]bool)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.heal()
		p.set(func() {
			for c := range p.conns {
				c.Close()
			}
		})
		wg.Wait()
	})
	return p, "http://" + l.Addr().String()
}

func (p *proxy) set(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

func (p *proxy) heal() { p.set(func() { p.delay, p.cut, p.off = 0, 0, false }) }

func (p *proxy) serve(c net.Conn) {
	s, err := net.Dial("tcp", p.to)
	if err != nil {
		c.Close()
		return
	}
	p.set(func() { p.conns[c], p.conns[s] = true, true })
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{c, s}, {s, c}} {
		wg.Go(func() {
			p.pass(pair[0], pair[1])
			c.Close()
			s.Close()
		})
	}
	wg.Wait()
	p.set(func() { delete(p.conns, c); delete(p.conns, s) })
}

// pass moves bytes in one direction.
func (p *proxy) pass(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	moved, limit := 0, -1
	for {
		n, err := from.Read(buf)
		for n > 0 {
			var delay time.Duration
			var off bool
			p.set(func() {
				delay, off = p.delay, p.off
				if p.cut > 0 && limit < 0 {
					limit = rand.IntN(2*p.cut) + 1
				} else if p.cut == 0 {
					limit = -1
				}
			})
			if !off {
				time.Sleep(delay)
				break
			}
			time.Sleep(10 * time.Millisecond)
			if _, err := to.Write(nil); err != nil {
				return
			}
		}
		moved += n
		if limit >= 0 && moved > limit {
			return
		}
		if _, e := to.Write(buf[:n]); e != nil || err != nil {
			return
		}
	}
}

// liar is a transport that loses some requests, and the answers of others.
type liar struct {
	http.RoundTripper

	mu   sync.Mutex
	rand *rand.Rand
	// percent are lost on the way there, and as many on the way back.
	percent int
}

var errLost = errors.New("lost")

func (l *liar) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	n := l.rand.IntN(100)
	l.mu.Unlock()
	if n < l.percent {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, errLost
	}
	res, err := l.RoundTripper.RoundTrip(r)
	if err == nil && n >= 100-l.percent {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return nil, errLost
	}
	return res, err
}
