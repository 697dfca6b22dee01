package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/camada/camada/internal/tracing"
	"github.com/camada/camada/registry/access"
	"github.com/camada/camada/registry/api"
	"github.com/camada/camada/registry/ledger"
)

const (
	// serveGrace is how long requests have that are under way when the registry stops.
	serveGrace = 30 * time.Second
	// The time for a request's head, and for a connection that nothing is asked on. Bodies have deadlines of their own, that move on while bytes come.
	headTime = 20 * time.Second
	bodyTime = time.Minute
	idleTime = 3 * time.Minute
	// maxHead bounds the head of a request; tokens are what is long in it.
	maxHead = 64 << 10
	// pipeFrame is the size of frames in a pipe, pipeStream how many bytes of a request come before they are read.
	pipeFrame  = 256 << 10
	pipeStream = 4 << 20
	// readyTime is how long the storage may take to say that it is there.
	readyTime = 5 * time.Second
)

// httpServer is an http.Server with the limits of a registry.
func (s *server) httpServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headTime, ReadTimeout: bodyTime, WriteTimeout: bodyTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHead,
		// What net/http would log is of clients that do not speak HTTP.
		ErrorLog: stdlog.New(io.Discard, "", 0)} //nolint:forbidigo // a logger that drops all
}

// pipeServer is such a server for who is in already and comes by a pipe: several requests go over it at once.
func (s *server) pipeServer(h http.Handler) *http.Server {
	p := s.httpServer(h)
	p.Protocols = new(http.Protocols)
	p.Protocols.SetHTTP1(true)
	p.Protocols.SetUnencryptedHTTP2(true)
	p.HTTP2 = &http.HTTP2Config{MaxReadFrameSize: pipeFrame, MaxReceiveBufferPerStream: pipeStream, MaxReceiveBufferPerConnection: 4 * pipeStream}
	return p
}

// listen serves at the address, and for users of this machine at a socket in the directory of the data.
func (s *server) listen(ctx context.Context, g *ground) error {
	book := ledger.New(ledger.Options{File: s.config.Audit, Fault: s.opts.Fault})
	done := func(e api.Event) {
		annotate(e)
		book.Note(e)
	}
	now, err := s.newFace(g.now.Load(), done, nil)
	if err != nil {
		return err
	}
	defer func() { now.rules.close() }()
	front := &front{ground: g, ledger: book, traces: s.traces}
	front.now.Store(now)
	front.good.Store(true)
	public := s.httpServer(s.traced(front))
	if now.certs != nil {
		public.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: front.certificate}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("serve the registry: %w", err)
	}
	inner := s.pipeServer(s.traced(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { front.now.Load().inner.ServeHTTP(w, r) })))
	socket, err := s.socket(ctx)
	if err != nil {
		l.Close()
		return err
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 2)
	go func() {
		if public.TLSConfig != nil {
			ended <- public.ServeTLS(l, "", "")
		} else {
			ended <- public.Serve(l)
		}
	}()
	go func() { ended <- inner.Serve(greeter{socket, func(net.Conn) bool { return true }}) }()
	var working sync.WaitGroup
	working.Go(func() { s.sweeps(work, g) })
	working.Go(func() { s.reloads(work, func() { s.reload(work, front, done) }) })
	working.Go(func() { g.deliveries.run(work) })
	if s.opts.Ready != nil {
		s.opts.Ready(Serving{URL: s.urlOf(l.Addr()), Data: s.where(), Open: !s.config.Protected() && !isLoopback(l.Addr())})
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-ended:
		err = fmt.Errorf("serve the registry: %w", err)
	}
	stop()
	front.stopping.Store(true)
	err = errors.Join(err, s.shutdown(public), s.shutdown(inner))
	working.Wait()
	now = front.now.Load()
	return err
}

// shutdown ends a server; what is under way has some time.
func (s *server) shutdown(h *http.Server) error {
	grace, cancel := context.WithTimeout(context.Background(), serveGrace)
	defer cancel()
	if err := h.Shutdown(grace); err != nil {
		s.opts.Fault(errors.New("requests were cut off: they took too long to end"))
		return h.Close()
	}
	return nil
}

// socketName is the socket for this machine's users who may read the directory of the data.
const socketName = "socket"

// socket listens there. Who calls it owns the directory, so what is there is of somebody who died.
func (s *server) socket(ctx context.Context) (net.Listener, error) {
	path, done, err := s.socketPath()
	if err != nil {
		return nil, err
	}
	defer done()
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("make the registry's socket: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("make the registry's socket: %w", err)
	}
	// The directory is its owner's alone, too.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("make the registry's socket: %w", err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // its path may be good no longer; whoever comes next removes it
	}
	return l, nil
}

// socketPath is a path of the socket that is short enough for the kernel, which knows 107 characters; done ends its use.
func (s *server) socketPath() (path string, done func(), err error) {
	dir, err := os.Open(s.data)
	if err != nil {
		return "", nil, fmt.Errorf("open the registry's directory: %w", err)
	}
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), socketName), func() { dir.Close() }, nil
}

// front answers what is no part of the registry's protocol, and hands on the rest.
type front struct {
	faces

	ground   *ground
	ledger   *ledger.Ledger
	traces   *tracing.Tracer
	stopping atomic.Bool
}

// certificate is that of the moment.
func (f *front) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.now.Load().certs.get(hello)
}

// ServeHTTP answers a request.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(r.Header["Content-Length"]) > 1 { // HTTP/1.1 lets none through, and HTTP/2 takes the first
		http.Error(w, "more than one Content-Length", http.StatusBadRequest)
		return
	}
	now := f.now.Load()
	if strings.HasPrefix(r.URL.Path, "/v2/") {
		now.public.ServeHTTP(w, r)
		return
	}
	switch r.URL.Path {
	case "/token":
		now.gate.ServeHTTP(w, r)
	case "/livez":
		_, _ = io.WriteString(w, "ok\n")
	case "/metrics":
		f.metrics(w, r)
	case "/readyz":
		f.ready(w, r)
	default:
		now.public.ServeHTTP(w, r)
	}
}

// ready says whether the storage answers, and whether the registry stays.
func (f *front) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	if f.stopping.Load() {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
		return
	}
	if _, err := f.ground.now.Load().ListRepositories(ctx, "", 1); err != nil {
		http.Error(w, "the storage does not answer", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// metrics shows the counts to whoever looks after the registry.
func (f *front) metrics(w http.ResponseWriter, r *http.Request) {
	who, err := f.now.Load().gate.Enter(r)
	if err != nil || who.May("", access.Admin) != access.Yes {
		w.Header().Set("WWW-Authenticate", `Basic realm="metrics"`)
		http.Error(w, "want an admin's name and password", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_ = f.ledger.WriteMetrics(w) // a client that went away is told nothing
	good := 0
	if f.good.Load() {
		good = 1
	}
	fmt.Fprintf(w, "# HELP camada_registry_configuration_good Whether the configuration is what its file says.\n# TYPE camada_registry_configuration_good gauge\ncamada_registry_configuration_good %d\n", good)
	fmt.Fprintf(w, "# HELP camada_registry_spans_dropped_total Spans of traces that no collector took.\n# TYPE camada_registry_spans_dropped_total counter\ncamada_registry_spans_dropped_total %d\n", f.traces.Dropped())
	f.ground.deliveries.metrics(w)
	_ = f.ground.now.Load().writeMetrics(r.Context(), w)
}
