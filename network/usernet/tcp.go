package usernet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// syn makes the connection that a packet asks for. It is called by one goroutine.
func (s *Server) syn(ctx context.Context, p packet) {
	seg, ok := p.beginning()
	if !ok {
		return
	}
	s.mu.Lock()
	_, known := s.pending[seg.pair] // it asks once more
	full := len(s.pending) >= maxPending || s.streams >= maxStreams
	if !known && !full {
		s.pending[seg.pair] = nil
	}
	s.mu.Unlock()
	if known || full { // who asks will ask again
		return
	}
	whole := slices.Clone(p.whole)
	s.work.Go(func() {
		d := net.Dialer{Timeout: dialTimeout}
		conn, err := d.DialContext(ctx, "tcp", seg.dst.String())
		s.mu.Lock()
		ended := ctx.Err() != nil
		if err == nil && !ended {
			s.pending[seg.pair] = conn
		} else {
			delete(s.pending, seg.pair)
		}
		s.mu.Unlock()
		switch {
		case err == nil && ended:
			conn.Close()
		case err == nil:
			s.give(whole) // the kernel takes it up
			s.expire(seg.pair, conn)
		case !ended:
			s.give(refuse(seg, whole, err))
		}
	})
}

// refuse is the answer to a SYN that says why there is no connection.
func refuse(seg segment, whole []byte, err error) []byte {
	switch {
	case errors.Is(err, unix.ENETUNREACH):
		return unreachable(seg.dst.Addr(), seg.src.Addr(), noRoute, whole)
	case errors.Is(err, unix.EHOSTUNREACH), os.IsTimeout(err):
		return unreachable(seg.dst.Addr(), seg.src.Addr(), noHost, whole)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return unreachable(seg.dst.Addr(), seg.src.Addr(), forbidden, whole)
	}
	return seg.refusal()
}

// expire gives a connection up that the container does not go on with.
func (s *Server) expire(k pair, conn net.Conn) {
	time.AfterFunc(takeTimeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.pending[k] == conn {
			delete(s.pending, k)
			conn.Close()
		}
	})
}

// accept takes the connections that the kernel has made with the container.
func (s *Server) accept(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	if err := raw.Control(func(fd uintptr) { lerr = unix.Listen(int(fd), backlog) }); err != nil || lerr != nil {
		return errors.Join(err, lerr)
	}
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	s.ends = append(s.ends, func() {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) }) // the caller has the socket open, too
		l.Close()
	})
	s.work.Go(func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
				return
			}
			if err != nil { // such as no descriptors left
				if !pause(ctx) {
					return
				}
				continue
			}
			s.take(ctx, conn.(*net.TCPConn))
		}
	})
	return nil
}

// take puts a connection of the container together with the one that was made for it.
func (s *Server) take(ctx context.Context, conn *net.TCPConn) {
	k := pair{addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr())} // it is addressed to the other end, and so has its address here
	s.mu.Lock()
	out := s.pending[k]
	if out != nil {
		delete(s.pending, k)
		s.streams++
	}
	s.mu.Unlock()
	if out == nil { // nobody asked for it: it came too late, or around the tun
		_ = conn.SetLinger(0)
		conn.Close()
		return
	}
	s.work.Go(func() {
		join(ctx, conn, out.(*net.TCPConn))
		s.mu.Lock()
		s.streams--
		s.mu.Unlock()
	})
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// join copies both ways until both ends are done, and passes on how each ends.
func join(ctx context.Context, a, b *net.TCPConn) {
	defer a.Close()
	defer b.Close()
	stop := context.AfterFunc(ctx, func() {
		a.Close()
		b.Close()
	})
	defer stop()
	var both sync.WaitGroup
	copyTo := func(dst, src *net.TCPConn) {
		_, err := io.Copy(dst, src) // by splice(2)
		if err == nil {
			_ = dst.CloseWrite()
			return
		}
		for _, c := range []*net.TCPConn{dst, src} { // broken off, and not ended in order
			_ = c.SetLinger(0)
			c.Close()
		}
	}
	both.Go(func() { copyTo(a, b) })
	both.Go(func() { copyTo(b, a) })
	both.Wait()
}
