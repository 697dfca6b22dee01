package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// reserve binds sockets to the host port of p, one for each family of addresses, and chooses the port where p leaves that open. Binding without
// listening is enough to keep others off; what comes in never reaches the socket, because the rules translate it before. A port whose socket is
// served counts as free when its last connections are still being forgotten (TIME_WAIT), because those ended on the host.
func reserve(p PortMapping, served func(PortMapping) bool, taken func(PortMapping) (bool, error)) ([]Reserved, error) {
	const choices = 16 // of the system's, which looks at one family
	last := max(p.HostPort, p.HostPortEnd)
	tries := 1
	if last == 0 {
		tries = choices
	}
	for port := int(p.HostPort); port <= int(last); port++ {
		for range tries {
			m := p
			m.HostPort, m.HostPortEnd = uint16(port), 0
			rs, err := reserveOne(m, served, taken)
			if err == nil {
				return rs, nil
			}
			if !errors.Is(err, unix.EADDRINUSE) {
				return nil, bindError(m, err)
			}
		}
	}
	if last != p.HostPort {
		return nil, errdefs.Conflict("publish %s: all host ports from %d to %d are in use", p, p.HostPort, last)
	}
	return nil, bindError(p, unix.EADDRINUSE)
}

// reserveOne takes one port, on all addresses that p means.
func reserveOne(p PortMapping, served func(PortMapping) bool, taken func(PortMapping) (bool, error)) (rs []Reserved, err error) {
	defer func() {
		if err != nil {
			closeAll(rs)
			rs = nil
		}
	}()
	all := []netip.Addr{p.HostIP}
	if !p.HostIP.IsValid() {
		all = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	for i, address := range all {
		m := p
		m.HostIP = address
		f, bound, err := bind(m, served(m))
		if i > 0 && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
			break // a machine without IPv6
		}
		if err != nil {
			return rs, err
		}
		m.HostPort, p.HostPort = bound, bound
		rs = append(rs, Reserved{File: f, Port: m, Relayed: served(m)})
		switch used, err := taken(m); {
		case err != nil:
			return rs, err
		case used:
			return rs, unix.EADDRINUSE
		}
	}
	return rs, nil
}

func bindError(p PortMapping, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return errdefs.Conflict("publish %s: host port %d/%s is in use", p, p.HostPort, p.Protocol)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return errdefs.Invalid("publish %s: the host has no address %s", p, p.HostIP)
	case errors.Is(err, unix.EACCES):
		return errdefs.Permission("publish %s: this user may not use host port %d", p, p.HostPort)
	}
	return fmt.Errorf("publish %s: %w", p, err)
}

func bind(p PortMapping, reuse bool) (*os.File, uint16, error) {
	kind := unix.SOCK_STREAM
	if p.Protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	ip := p.ip()
	family := unix.AF_INET
	var addr unix.Sockaddr = &unix.SockaddrInet4{Port: int(p.HostPort), Addr: ip4(ip)}
	if ip.Is6() {
		family = unix.AF_INET6
		addr = &unix.SockaddrInet6{Port: int(p.HostPort), Addr: ip.As16()}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	if reuse && kind == unix.SOCK_STREAM { // for datagrams it would mean to share the port
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			unix.Close(fd)
			return nil, 0, err
		}
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			unix.Close(fd)
			return nil, 0, err
		}
	}
	if err := unix.Bind(fd, addr); err != nil {
		unix.Close(fd)
		return nil, 0, err
	}
	port := p.HostPort
	if port == 0 {
		name, err := unix.Getsockname(fd)
		if err != nil {
			unix.Close(fd)
			return nil, 0, err
		}
		switch a := name.(type) {
		case *unix.SockaddrInet4:
			port = uint16(a.Port)
		case *unix.SockaddrInet6:
			port = uint16(a.Port)
		}
	}
	return os.NewFile(uintptr(fd), "reserved port"), port, nil
}

func ip4(a netip.Addr) [4]byte {
	if !a.Is4() {
		return [4]byte{}
	}
	return a.As4()
}
