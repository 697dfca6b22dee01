package usernet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects to an address of the container's network. from is the address that the container shall see; where it cannot be had, as one of this
// machine's loopback, the container sees the bridge's.
func (s *Server) Dial(ctx context.Context, protocol string, from, to netip.AddrPort) (net.Conn, error) {
	kind := unix.SOCK_STREAM
	if protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	from = netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
	if reachable(from.Addr()) && from.Addr().Is4() == to.Addr().Is4() {
		// Two published ports can lead to one of the container: then the same client's address may be taken already.
		if c, err := s.connect(ctx, kind, from, to); !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return c, err
		}
	}
	return s.connect(ctx, kind, netip.AddrPort{}, to)
}

// connect makes a socket in the network namespace of the containers, with whatever address.
func (s *Server) connect(ctx context.Context, kind int, from, to netip.AddrPort) (net.Conn, error) {
	f, err := s.socket(kind, from, to.Addr().Is6())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	defer f.Close()
	end := time.Now().Add(dialTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	_ = f.SetWriteDeadline(end)
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Now()) })
	defer stop()
	if err := await(f, sockaddr(to)); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	return net.FileConn(f)
}

// await connects, and waits until that is done.
func await(f *os.File, to unix.Sockaddr) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	begun := false
	var cerr error
	err = raw.Write(func(fd uintptr) bool {
		if !begun {
			begun = true
			cerr = unix.Connect(int(fd), to)
			return cerr != unix.EINPROGRESS && cerr != unix.EINTR
		}
		var n int
		if n, cerr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); cerr == nil && n != 0 {
			cerr = unix.Errno(n)
		}
		if cerr == nil {
			if _, perr := unix.Getpeername(int(fd)); perr == unix.ENOTCONN {
				return false // it was woken too early
			}
		}
		return true
	})
	return errors.Join(err, cerr)
}

// socket makes one that has an address of somebody else, unless from is the zero value.
func (s *Server) socket(kind int, from netip.AddrPort, six bool) (*os.File, error) {
	const ipv6Transparent = 75 // linux/in6.h
	family, level, transparent := unix.AF_INET, unix.SOL_IP, unix.IP_TRANSPARENT
	if six {
		family, level, transparent = unix.AF_INET6, unix.SOL_IPV6, ipv6Transparent
	}
	fd := -1
	err := s.cfg.Inside(func() (err error) {
		fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "socket inside")
	if !from.IsValid() {
		return f, nil
	}
	err = unix.SetsockoptInt(fd, level, transparent, 1)
	if err == nil {
		// Other flows have the same address: the two ends together are unique.
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(from))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
