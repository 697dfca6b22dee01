package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/ledger"
)

// stdioPatience is how long to wait for a process that owns the directory and does not serve yet, or any more.
const stdioPatience = 10 * time.Second

// stdio serves one connection: by itself, or through the process that owns the directory already. Who serves by himself serves others as
// well that come meanwhile, and stays until they are gone.
func (s *server) stdio(ctx context.Context) error {
	for began := time.Now(); ; {
		g, err := s.open(ctx)
		if err == nil {
			return errors.Join(s.stdioAlone(ctx, g), g.Close())
		}
		if !errdefs.IsUnavailable(err) {
			return err
		}
		if conn, dialErr := s.dial(ctx); dialErr == nil {
			return s.relay(ctx, conn)
		}
		if time.Since(began) > stdioPatience {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// dial connects to the process that owns the directory.
func (s *server) dial(ctx context.Context) (net.Conn, error) {
	path, done, err := s.socketPath()
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil || b[0] != greeting {
		conn.Close()
		return nil, errdefs.Unavailable("the process that owns the directory ends")
	}
	return conn, nil
}

// greeting is what a connection to the socket begins with. A process that is about to end does not greet; so whoever was greeted is
// answered, and whoever was not has sent nothing yet.
const greeting = '+'

// greeter is a listener that greets.
type greeter struct {
	net.Listener
	// admit counts a connection, unless it came too late.
	admit func(net.Conn) bool
}

// Accept returns the next connection.
func (g greeter) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if g.admit(conn) {
			if _, err := conn.Write([]byte{greeting}); err == nil {
				return conn, nil
			}
		}
		conn.Close()
	}
}

// relay copies between the connection and the other process.
func (s *server) relay(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	go func() {
		_, _ = io.Copy(conn, s.opts.In)
		if u, ok := conn.(*net.UnixConn); ok {
			_ = u.CloseWrite()
		}
	}()
	if _, err := io.Copy(s.opts.Out, conn); err != nil && ctx.Err() == nil {
		return errdefs.Unavailable("the connection was cut off: %w", err)
	}
	return nil
}

// stdioAlone serves the connection, and others at the socket until the last one is gone.
func (s *server) stdioAlone(ctx context.Context, g *ground) error {
	rules, err := s.rules(nil)
	if err != nil {
		return err
	}
	defer rules.close()
	socket, err := s.socket(ctx)
	if err != nil {
		return err
	}
	h := s.pipeServer(s.handler(g.now.Load(), nil, rules, ledger.New(ledger.Options{File: s.config.Audit, Fault: s.opts.Fault}).Note))
	users := &users{left: make(chan struct{})}
	h.ConnState = users.note
	one := &oneConn{conn: &stdioConn{in: s.opts.In, out: s.opts.Out}, closed: make(chan struct{})}
	users.admit(one.conn) // it counts before it is taken, so that nobody else is the last one
	// What the connection does not last for is sent by the next process.
	work, stop := context.WithCancel(ctx)
	var sending sync.WaitGroup
	sending.Go(func() { g.deliveries.run(work) })
	defer sending.Wait()
	defer stop()
	ended := make(chan error, 2)
	go func() { ended <- h.Serve(one) }()
	go func() { ended <- h.Serve(greeter{socket, users.admit}) }()
	select {
	case <-ctx.Done():
	case <-users.left:
	}
	return s.shutdown(h)
}

// users counts connections, until there are none.
type users struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
	gone  bool
	left  chan struct{}
}

// admit counts a connection; false when the last one is gone.
func (u *users) admit(c net.Conn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conns == nil {
		u.conns = map[net.Conn]bool{}
	}
	if !u.gone {
		u.conns[c] = true
	}
	return !u.gone
}

// note notes that a connection ended.
func (u *users) note(c net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if delete(u.conns, c); len(u.conns) == 0 && !u.gone {
		u.gone = true
		close(u.left)
	}
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   net.Conn
	mu     sync.Mutex
	taken  bool
	closed chan struct{}
	once   sync.Once
}

// Accept returns the connection, and then waits for the end.
func (l *oneConn) Accept() (net.Conn, error) {
	l.mu.Lock()
	taken := l.taken
	l.taken = true
	l.mu.Unlock()
	if taken {
		<-l.closed
		return nil, net.ErrClosed
	}
	return l.conn, nil
}

// Close ends Accept.
func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is none.
func (l *oneConn) Addr() net.Addr { return stdioAddr{} }

type stdioAddr struct{}

// Network names it.
func (stdioAddr) Network() string { return "stdio" }

// String names it.
func (stdioAddr) String() string { return "stdio" }

// stdioConn is a connection of two files. Who is at its other end is looked after by ssh: there are no deadlines.
type stdioConn struct {
	in  io.ReadCloser
	out io.WriteCloser
}

// Read reads what the client sends.
func (c *stdioConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// Write writes to the client.
func (c *stdioConn) Write(p []byte) (int, error) { return c.out.Write(p) }

// Close ends both.
func (c *stdioConn) Close() error { return errors.Join(c.out.Close(), c.in.Close()) }

// LocalAddr is none.
func (c *stdioConn) LocalAddr() net.Addr { return stdioAddr{} }

// RemoteAddr is none.
func (c *stdioConn) RemoteAddr() net.Addr { return stdioAddr{} }

// SetDeadline does nothing.
func (c *stdioConn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline does nothing.
func (c *stdioConn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline does nothing.
func (c *stdioConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
