package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// tunDevice makes tun and tap devices.
const tunDevice = "/dev/net/tun"

// Outlet is where what a container of the driver Embedded sends to the outside arrives. Whoever looks after the container passes it on
// (package usernet), and closes it at the end.
type Outlet struct {
	// Tun has the packets that begin something, without any header before that of IP: SYN of TCP, echo requests. A SYN that is written back is
	// accepted by a TCP socket; what else is written goes to the container.
	Tun *os.File
	// TCP and UDP are bound sockets, one for each family, which take connections and datagrams to whatever address. TCP does not listen yet.
	TCP, UDP []*os.File

	netns *os.File
}

// Inside runs f in the network namespace where the container can be reached, and where a socket may have any address (IP_TRANSPARENT).
func (o *Outlet) Inside(f func() error) error { return inNamespace(o.netns, f) }

// Close closes all of it.
func (o *Outlet) Close() error {
	var errs []error
	for _, f := range append(append([]*os.File{o.Tun, o.netns}, o.TCP...), o.UDP...) {
		if f == nil {
			continue
		}
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// outlet is what a container's file says of it.
type outlet struct {
	// Router is the descriptor of the network namespace in the keeper; Tun the index of its device, Port that of its sockets.
	Router int    `json:"router"`
	Tun    int    `json:"tun"`
	Port   uint16 `json:"port"`
	// Six says that IPv6 is served.
	Six bool `json:"six,omitempty"`
}

// openOutlet runs in the router.
func openOutlet(c *rtnl, router *os.File) (_ *Outlet, _ outlet, err error) {
	o, made := &Outlet{netns: router}, outlet{Router: int(router.Fd())}
	defer func() {
		if err != nil {
			o.netns = nil // the caller's
			o.Close()
		}
	}()
	var name string
	if o.Tun, name, err = openTun(); err != nil {
		return nil, made, err
	}
	if err = c.do(noIPv6(name), setUp(name)); err != nil {
		return nil, made, err
	}
	l, err := c.linkByName(name)
	if err != nil {
		return nil, made, err
	}
	made.Tun = l.index
	if err = o.bind(&made); err != nil {
		return nil, made, err
	}
	return o, made, nil
}

// openTun makes the device. It goes with the descriptor.
func openTun() (*os.File, string, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", fmt.Errorf("open %s: %w", tunDevice, err)
	}
	req, err := unix.NewIfreq(tunPrefix + "%d")
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, "", fmt.Errorf("make a tun device: %w", err)
	}
	return os.NewFile(uintptr(fd), tunDevice), req.Name(), nil
}

// bind makes the sockets, all at one port.
func (o *Outlet) bind(made *outlet) error {
	const tries = 16
	for range tries {
		err := o.bindAll(made)
		if !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
		for _, f := range append(o.TCP, o.UDP...) {
			f.Close()
		}
		o.TCP, o.UDP = nil, nil
	}
	return errdefs.Unavailable("no port is free for the sockets of the way to the outside")
}

func (o *Outlet) bindAll(made *outlet) error {
	*made = outlet{Router: made.Router, Tun: made.Tun}
	for _, six := range []bool{false, true} {
		tcp, port, err := bindOutward(unix.SOCK_STREAM, six, made.Port)
		if six && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
			return nil // a kernel or a machine without IPv6
		}
		if err != nil {
			return err
		}
		made.Port, made.Six = port, six
		o.TCP = append(o.TCP, tcp)
		udp, _, err := bindOutward(unix.SOCK_DGRAM, six, port)
		if err != nil {
			return err
		}
		o.UDP = append(o.UDP, udp)
	}
	return nil
}

// bindOutward makes a socket that TPROXY may give packets for others to; it tells for whom a datagram was.
func bindOutward(kind int, six bool, port uint16) (*os.File, uint16, error) {
	const ipv6Transparent, ipv6RecvOrigDst = 75, 74 // linux/in6.h
	family, level, transparent, original := unix.AF_INET, unix.SOL_IP, unix.IP_TRANSPARENT, unix.IP_RECVORIGDSTADDR
	var at unix.Sockaddr = &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}
	if six {
		family, level, transparent, original = unix.AF_INET6, unix.SOL_IPV6, ipv6Transparent, ipv6RecvOrigDst
		at = &unix.SockaddrInet6{Port: int(port), Addr: netip.IPv6Loopback().As16()}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("make a socket for the way to the outside: %w", err)
	}
	err = unix.SetsockoptInt(fd, level, transparent, 1)
	if err == nil && kind == unix.SOCK_DGRAM {
		err = unix.SetsockoptInt(fd, level, original, 1)
	}
	if err == nil {
		err = unix.Bind(fd, at)
	}
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, 0, fmt.Errorf("make a socket for the way to the outside: %w", err)
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		port = uint16(a.Port)
	case *unix.SockaddrInet6:
		port = uint16(a.Port)
	}
	return os.NewFile(uintptr(fd), "way to the outside"), port, nil
}
