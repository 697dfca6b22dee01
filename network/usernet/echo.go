package usernet

import (
	"errors"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// echoKey is who asks whom.
type echoKey struct {
	src, dst netip.Addr
	id       uint16
}

// echo passes an echo request on, by a socket that users may open when their group is in net.ipv4.ping_group_range. It is called by one goroutine.
func (s *Server) echo(p packet) {
	e, ok := p.asked()
	if !ok {
		return
	}
	k := echoKey{p.src, p.dst, e.id}
	s.mu.Lock()
	f := s.echoes[k]
	full := len(s.echoes) >= maxEchoes
	s.mu.Unlock()
	if f == nil {
		if full {
			return
		}
		var err error
		if f, err = ping(p.dst); err != nil {
			why := forbidden
			if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
				why = noRoute
			}
			s.give(unreachable(p.dst, p.src, why, p.whole))
			return
		}
		s.mu.Lock()
		s.echoes[k] = f
		s.mu.Unlock()
		s.work.Go(func() { s.echoed(k, f) })
	}
	_ = f.SetReadDeadline(time.Now().Add(idleEcho))
	// The kernel sets number and checksum.
	_, _ = f.Write(append([]byte{p.payload[0], 0, 0, 0, 0, 0}, e.data...))
}

// ping opens a socket for echo requests to an address.
func ping(to netip.Addr) (*os.File, error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if to.Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, sockaddr(netip.AddrPortFrom(to, 0))); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "echo requests"), nil
}

// echoed passes the answers on until nobody has asked for a while.
func (s *Server) echoed(k echoKey, f *os.File) {
	defer func() {
		f.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.echoes[k] == f {
			delete(s.echoes, k)
		}
	}()
	b := make([]byte, 4096)
	for {
		n, err := f.Read(b)
		if err != nil {
			return
		}
		const reply4, reply6 = 0, 129
		if n < icmpSize || b[0] != reply4 && b[0] != reply6 {
			continue
		}
		e := echo{id: k.id, data: b[6:n]}
		s.give(e.answer(k.dst, k.src))
	}
}
