package network

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// A thin piece of rtnetlink(7): several requests go to the kernel in one
// datagram, which carries them out in turn.

// request is one message: a header, a fixed part, attributes.
type request struct {
	kind, flags uint16
	body        []byte
	what        string // for errors
	optional    bool   // its failure is no error
}

// attr appends an attribute. Attributes are aligned to four bytes.
func (r *request) attr(kind uint16, data []byte) *request {
	r.body = binary.NativeEndian.AppendUint16(r.body, uint16(4+len(data)))
	r.body = binary.NativeEndian.AppendUint16(r.body, kind)
	r.body = append(r.body, data...)
	return r.align()
}

func (r *request) align() *request {
	for len(r.body)%4 != 0 {
		r.body = append(r.body, 0)
	}
	return r
}

func (r *request) text(kind uint16, s string) *request { return r.attr(kind, append([]byte(s), 0)) }

func (r *request) number(kind uint16, n uint32) *request {
	return r.attr(kind, binary.NativeEndian.AppendUint32(nil, n))
}

// nest appends an attribute whose data are what fill appends.
func (r *request) nest(kind uint16, fill func()) *request {
	start := len(r.body)
	r.attr(kind, nil)
	fill()
	binary.NativeEndian.PutUint16(r.body[start:], uint16(len(r.body)-start))
	return r
}

// ifinfo is struct ifinfomsg: a link, with the flags that change.
func ifinfo(index int, flags, change uint32) []byte {
	b := make([]byte, 4, unix.SizeofIfInfomsg)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, change)
}

// rtnl is a socket to the kernel, for one goroutine.
type rtnl struct {
	fd  int
	seq uint32
	buf []byte
}

// dialRtnl opens the socket in the calling thread's network namespace.
func dialRtnl() (*rtnl, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	// The kernel makes its answers as large as this at the most.
	return &rtnl{fd: fd, buf: make([]byte, 16<<10)}, nil
}

func (c *rtnl) close() { unix.Close(c.fd) }

// do sends requests together and waits until all are answered. The error is the
// first request's that failed; those behind it were carried out all the same.
func (c *rtnl) do(reqs ...*request) error {
	var out []byte
	first := c.seq + 1
	for _, r := range reqs {
		out = c.encode(out, r, r.flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	}
	if err := unix.Sendto(c.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to netlink: %w", err)
	}
	var failed error
	for answered := 0; answered < len(reqs); {
		err := c.receive(func(kind uint16, seq uint32, body []byte) error {
			if kind != unix.NLMSG_ERROR || len(body) < 4 || seq < first {
				return nil
			}
			answered++
			if errno := -int32(binary.NativeEndian.Uint32(body)); errno != 0 && failed == nil && !reqs[seq-first].optional {
				failed = fmt.Errorf("%s: %w", reqs[seq-first].what, unix.Errno(errno))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return failed
}

func (c *rtnl) encode(out []byte, r *request, flags uint16) []byte {
	c.seq++
	out = binary.NativeEndian.AppendUint32(out, uint32(unix.SizeofNlMsghdr+len(r.body)))
	out = binary.NativeEndian.AppendUint16(out, r.kind)
	out = binary.NativeEndian.AppendUint16(out, flags)
	out = binary.NativeEndian.AppendUint32(out, c.seq)
	out = binary.NativeEndian.AppendUint32(out, 0)
	return append(out, r.body...)
}

// receive takes one datagram apart.
func (c *rtnl) receive(each func(kind uint16, seq uint32, body []byte) error) error {
	n, _, err := unix.Recvfrom(c.fd, c.buf, 0)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("receive from netlink: %w", err)
	}
	for b := c.buf[:n]; len(b) >= unix.SizeofNlMsghdr; {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return errdefs.Corrupt("netlink message of %d bytes in %d", size, len(b))
		}
		if err := each(binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]), b[unix.SizeofNlMsghdr:size]); err != nil {
			return err
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}

// query sends one request and gives each answer's body. With NLM_F_DUMP in its
// flags those are many.
func (c *rtnl) query(r *request, each func(body []byte)) error {
	out := c.encode(nil, r, r.flags|unix.NLM_F_REQUEST)
	if err := unix.Sendto(c.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to netlink: %w", err)
	}
	for done := false; !done; {
		err := c.receive(func(kind uint16, seq uint32, body []byte) error {
			switch {
			case seq != c.seq:
			case kind == unix.NLMSG_DONE:
				done = true
			case kind == unix.NLMSG_ERROR:
				done = true
				if len(body) >= 4 {
					if errno := -int32(binary.NativeEndian.Uint32(body)); errno != 0 {
						return fmt.Errorf("%s: %w", r.what, unix.Errno(errno))
					}
				}
			default:
				each(body)
				done = done || r.flags&unix.NLM_F_DUMP == 0
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// attrs goes over the attributes behind a fixed part of n bytes.
func attrs(body []byte, n int, each func(kind uint16, data []byte)) {
	if len(body) < n {
		return
	}
	for b := body[n:]; len(b) >= 4; {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return
		}
		each(binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED, b[4:size])
		b = b[min((size+3)&^3, len(b)):]
	}
}
