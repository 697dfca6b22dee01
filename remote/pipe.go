package remote

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
)

// Pipes opens connections to registries that no address of a network leads to.
type Pipes interface {
	// Pipe connects to the registry of a host that begins with reference.SSH. HTTP/2 without TLS is spoken over it, since what is at its other
	// end was found and let us in already. When it breaks, its errors have a class and say why. The caller closes it; ctx is that of the first request.
	Pipe(ctx context.Context, host string) (net.Conn, error)
}

const (
	// pipeFrame is the size of frames, pipeStream how many bytes may come of one stream before they are read.
	pipeFrame  = 256 << 10
	pipeStream = 4 << 20
)

// piped makes requests over one pipe, side by side.
type piped struct {
	pipes Pipes
	// name is the host of references, api that of addresses.
	name, api string

	mu   sync.Mutex
	conn *http.ClientConn
	end  *pipeEnd // of conn
}

// pipeEnd remembers why a pipe broke: of the requests over it, only those that wait just then are told.
type pipeEnd struct {
	net.Conn
	why atomic.Pointer[error]
}

// Read implements net.Conn.
func (e *pipeEnd) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	if err != nil {
		e.why.CompareAndSwap(nil, &err)
	}
	return n, err
}

// explain says why the pipe broke, when that is what made a request fail.
func (e *pipeEnd) explain(conn *http.ClientConn, err error) error {
	why := e.why.Load()
	if err == nil || why == nil || conn != nil && conn.Err() == nil || errors.Is(err, *why) || !final(*why) && !errdefs.IsUnavailable(*why) {
		return err
	}
	return *why
}

// usePipe makes a host one at the end of a pipe.
func (h *host) usePipe() {
	api := strings.TrimPrefix(h.name, reference.SSH)
	if _, after, ok := strings.Cut(api, "@"); ok {
		api = after
	}
	// Nobody is told credentials: whoever is at the other end has let us in.
	h.api, h.scheme, h.cred = api, "http", &Credential{}
	h.pipe = &piped{pipes: h.c.opts.Pipes, name: h.name, api: api}
	h.client = &http.Client{Transport: h.pipe, CheckRedirect: h.redirect}
}

// RoundTrip implements http.RoundTripper.
func (p *piped) RoundTrip(req *http.Request) (*http.Response, error) {
	conn, end, err := p.connect(req.Context())
	if err == nil && req.URL.Host != p.api {
		err = errdefs.Unsupported("the registry sends to %s, and leads there by another way", req.URL.Host)
	}
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	res, err := conn.RoundTrip(req)
	return res, end.explain(conn, err)
}

// connect opens the pipe, unless one is open.
func (p *piped) connect(ctx context.Context) (*http.ClientConn, *pipeEnd, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		if p.conn.Err() == nil {
			return p.conn, p.end, nil
		}
		_ = p.conn.Close()
		p.conn = nil
	}
	if p.pipes == nil {
		return nil, nil, errdefs.Unsupported("registries over ssh are not known here")
	}
	pipe, err := p.pipes.Pipe(ctx, p.name)
	if err != nil {
		return nil, nil, err
	}
	end := &pipeEnd{Conn: pipe}
	t := &http.Transport{
		Protocols:          new(http.Protocols),
		DialContext:        func(context.Context, string, string) (net.Conn, error) { return end, nil },
		DisableCompression: true,
		HTTP2:              &http.HTTP2Config{MaxReadFrameSize: pipeFrame, MaxReceiveBufferPerStream: pipeStream},
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	conn, err := t.NewClientConn(ctx, "http", "pipe:80")
	if err != nil {
		pipe.Close()
		return nil, nil, end.explain(nil, err)
	}
	p.conn, p.end = conn, end
	return conn, end, nil
}

// CloseIdleConnections closes the pipe.
func (p *piped) CloseIdleConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}
