// Package relay passes on what comes to sockets of the host, connection by connection. It serves published ports where the host has rules for
// what comes in: traffic that ends at a socket of the host has to pass them, traffic that is translated and forwarded goes around.
//
//	stop, err := relay.Serve([]relay.Socket{{File: bound, Protocol: "tcp", To: func() []netip.AddrPort { ... }}})
//
// What is served sees the host's address and not that of who asks, unless Dial gives the connection another.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// Socket is one that is bound to a port, and where what comes to it goes.
type Socket struct {
	// File is bound, and does not listen yet. It stays the caller's.
	File *os.File
	// Protocol is "tcp" or "udp".
	Protocol string
	// To is asked for each connection; none refuses it. The second is tried when the first does not answer.
	To func() []netip.AddrPort
	// Dial connects to there for somebody who asks from an address; nil is an ordinary connection of this machine.
	Dial func(ctx context.Context, protocol string, from, to netip.AddrPort) (net.Conn, error)
}

// dial connects to where a connection goes.
func (s Socket) dial(ctx context.Context, protocol string, from netip.AddrPort) (c net.Conn, err error) {
	err = errdefs.NotFound("no container is there")
	for _, to := range s.To() {
		if s.Dial != nil {
			c, err = s.Dial(ctx, protocol, from, to)
		} else {
			d := net.Dialer{Timeout: dialTimeout}
			c, err = d.DialContext(ctx, protocol, to.String())
		}
		if err == nil {
			return c, nil
		}
	}
	return nil, err
}

const (
	backlog     = 4096
	maxAtOnce   = 4096             // connections, or correspondents by UDP, of one socket
	dialTimeout = 10 * time.Second // for the connection to the container
	idle        = 90 * time.Second // after which a correspondent by UDP is forgotten, as Docker does
	maxDatagram = 1 << 16
)

// Serve serves the sockets until stop is called, which ends all connections and waits for that.
func Serve(sockets []Socket) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	var ends []func()
	stop = func() {
		cancel()
		for _, end := range ends {
			end()
		}
		work.Wait()
	}
	for _, s := range sockets {
		serve := s.serveTCP
		if s.Protocol == "udp" {
			serve = s.serveUDP
		}
		end, err := serve(ctx, &work)
		if err != nil {
			stop()
			return nil, fmt.Errorf("serve a published port: %w", err)
		}
		ends = append(ends, end)
	}
	return stop, nil
}

func (s Socket) serveTCP(ctx context.Context, work *sync.WaitGroup) (end func(), err error) {
	raw, err := s.File.SyscallConn()
	if err != nil {
		return nil, err
	}
	var lerr error
	if err := raw.Control(func(fd uintptr) { lerr = unix.Listen(int(fd), backlog) }); err != nil || lerr != nil {
		return nil, errors.Join(err, lerr)
	}
	l, err := net.FileListener(s.File)
	if err != nil {
		return nil, err
	}
	slots := make(chan struct{}, maxAtOnce)
	work.Go(func() {
		for {
			slots <- struct{}{}
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // such as no descriptors left: those that are open go on
				<-slots
				if !pause(ctx) {
					return
				}
				continue
			}
			work.Go(func() {
				defer func() { <-slots }()
				s.pass(ctx, conn.(*net.TCPConn))
			})
		}
	})
	return func() {
		// The listener is a second descriptor of the socket. To close it does not end the listening while the caller has the first: a connection that waits
		// to be accepted would hang there.
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		l.Close()
	}, nil
}

// pause keeps an error that stays from taking a processor. False is the end of ctx.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

// pass copies both ways until both ends are done.
func (s Socket) pass(ctx context.Context, from *net.TCPConn) {
	defer from.Close()
	var asks netip.AddrPort
	if a, ok := from.RemoteAddr().(*net.TCPAddr); ok {
		asks = a.AddrPort()
	}
	c, err := s.dial(ctx, "tcp", asks)
	if err != nil {
		_ = from.SetLinger(0) // who asks sees a connection that breaks, not one that ends in order
		return
	}
	to := c.(*net.TCPConn)
	defer to.Close()
	stop := context.AfterFunc(ctx, func() {
		from.Close()
		to.Close()
	})
	defer stop()
	var both sync.WaitGroup
	copyTo := func(dst, src *net.TCPConn) {
		if _, err := io.Copy(dst, src); err != nil {
			_ = src.Close() // nobody reads what it still sends
		}
		_ = dst.CloseWrite()
	}
	both.Go(func() { copyTo(to, from) })
	both.Go(func() { copyTo(from, to) })
	both.Wait()
}

// correspondents are those that sent datagrams, each with a socket of its own towards the container.
type correspondents struct {
	Socket
	conn *net.UDPConn
	mu   sync.Mutex
	all  map[netip.AddrPort]*net.UDPConn
}

func (s Socket) serveUDP(ctx context.Context, work *sync.WaitGroup) (end func(), err error) {
	pc, err := net.FilePacketConn(s.File)
	if err != nil {
		return nil, err
	}
	c := &correspondents{Socket: s, conn: pc.(*net.UDPConn), all: map[netip.AddrPort]*net.UDPConn{}}
	work.Go(func() {
		defer c.close()
		b := make([]byte, maxDatagram)
		for {
			n, from, err := c.conn.ReadFromUDPAddrPort(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				if !pause(ctx) {
					return
				}
				continue
			}
			if to := c.find(ctx, from, work); to != nil {
				_, _ = to.Write(b[:n])
			}
		}
	})
	return func() { c.conn.Close() }, nil
}

// find gives the socket of a correspondent, nil when there can be none.
func (c *correspondents) find(ctx context.Context, from netip.AddrPort, work *sync.WaitGroup) *net.UDPConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if to := c.all[from]; to != nil {
		_ = to.SetReadDeadline(time.Now().Add(idle))
		return to
	}
	if len(c.all) >= maxAtOnce {
		return nil
	}
	conn, err := c.dial(ctx, "udp", from)
	if err != nil {
		return nil
	}
	to := conn.(*net.UDPConn)
	_ = to.SetReadDeadline(time.Now().Add(idle))
	c.all[from] = to
	work.Go(func() {
		defer to.Close()
		b := make([]byte, maxDatagram)
		for {
			n, err := to.Read(b)
			if err != nil && !errors.Is(err, unix.ECONNREFUSED) {
				break
			}
			if err == nil {
				_, _ = c.conn.WriteToUDPAddrPort(b[:n], from)
			}
		}
		c.mu.Lock()
		delete(c.all, from)
		c.mu.Unlock()
	})
	return to
}

func (c *correspondents) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, to := range c.all {
		to.Close()
	}
}
