package systemd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// The little of the D-Bus specification that is needed: one call, and its answer.

// message is a method call while it is written. D-Bus aligns each value by its type, counted from the message's start; header
// and body are aligned by 8, so that each can be counted by itself.
type message struct{ b []byte }

func (m *message) align(n int) {
	for len(m.b)%n != 0 {
		m.b = append(m.b, 0)
	}
}

func (m *message) u32(v uint32) {
	m.align(4)
	m.b = binary.LittleEndian.AppendUint32(m.b, v)
}

func (m *message) u64(v uint64) {
	m.align(8)
	m.b = binary.LittleEndian.AppendUint64(m.b, v)
}

func (m *message) str(s string) {
	m.u32(uint32(len(s)))
	m.b = append(append(m.b, s...), 0)
}

func (m *message) sig(s string) { m.b = append(append(append(m.b, byte(len(s))), s...), 0) }

// array writes the elements that fill writes, whose type is aligned by n, behind their length.
func (m *message) array(n int, fill func()) {
	m.u32(0)
	at := len(m.b)
	m.align(n)
	start := len(m.b)
	fill()
	binary.LittleEndian.PutUint32(m.b[at-4:], uint32(len(m.b)-start))
}

// property writes a struct of a name and a variant.
func (m *message) property(name, sig string, value func()) {
	m.align(8)
	m.str(name)
	m.sig(sig)
	value()
}

// call is what a method call names.
type call struct{ destination, path, iface, member, signature string }

// Types of messages and fields of their headers (D-Bus specification, Message Protocol).
const (
	typeCall, typeReturn, typeError = 1, 2, 3

	fieldPath, fieldInterface, fieldMember, fieldReply, fieldDestination, fieldSignature = 1, 2, 3, 5, 6, 8
)

// encode puts header and body together.
func (c call) encode(serial uint32, body []byte) []byte {
	m := &message{b: []byte{'l', typeCall, 0, 1}}
	m.u32(uint32(len(body)))
	m.u32(serial)
	m.array(8, func() {
		field := func(code byte, sig, value string) {
			if value == "" {
				return
			}
			m.align(8)
			m.b = append(m.b, code)
			m.sig(sig)
			if sig == "g" {
				m.sig(value)
			} else {
				m.str(value)
			}
		}
		field(fieldPath, "o", c.path)
		field(fieldInterface, "s", c.iface)
		field(fieldMember, "s", c.member)
		field(fieldDestination, "s", c.destination)
		field(fieldSignature, "g", c.signature)
	})
	m.align(8)
	return append(m.b, body...)
}

// maxMessage bounds what is read of one message: answers are a few hundred bytes.
const maxMessage = 1 << 20

// reply is a message that came: its type, the serial that it answers, and for an error its text.
type reply struct {
	kind   byte
	serial uint32
	text   string
}

// readReply reads one message.
func readReply(r io.Reader) (reply, error) {
	var h [16]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return reply{}, fmt.Errorf("read an answer: %w", err)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if h[0] == 'B' {
		order = binary.BigEndian
	}
	body, fields := uint64(order.Uint32(h[4:])), uint64(order.Uint32(h[12:]))
	padded := (fields + 7) &^ 7
	if body > maxMessage || fields > maxMessage {
		return reply{}, errdefs.Limit("an answer of %d bytes", body+fields)
	}
	rest := make([]byte, padded+body)
	if _, err := io.ReadFull(r, rest); err != nil {
		return reply{}, fmt.Errorf("read an answer: %w", err)
	}
	out := reply{kind: h[1], serial: replySerial(rest[:fields], order)}
	if text := rest[padded:]; out.kind == typeError && len(text) >= 5 {
		if n := uint64(order.Uint32(text)); n <= uint64(len(text)-5) {
			out.text = string(text[4 : 4+n])
		}
	}
	return out, nil
}

// replySerial finds the field REPLY_SERIAL. All fields but that one and UNIX_FDS hold a string or a signature.
func replySerial(b []byte, order binary.ByteOrder) uint32 {
	at := 0
	for {
		at = (at + 7) &^ 7
		if at+4 > len(b) || b[at+1] != 1 {
			return 0
		}
		code, sig := b[at], b[at+2]
		at += 4
		switch sig {
		case 'u':
			if at+4 > len(b) {
				return 0
			}
			if code == fieldReply {
				return order.Uint32(b[at:])
			}
			at += 4
		case 's', 'o':
			if at+4 > len(b) {
				return 0
			}
			n := order.Uint32(b[at:])
			if uint64(n) > uint64(len(b)) {
				return 0
			}
			at += 4 + int(n) + 1
		case 'g':
			if at >= len(b) {
				return 0
			}
			at += 1 + int(b[at]) + 1
		default:
			return 0
		}
	}
}

// bus is a connection.
type bus struct {
	conn   net.Conn
	r      *bufio.Reader
	serial uint32
}

// dial connects to a socket and says who we are, by what the kernel tells of us.
func dial(ctx context.Context, socket string) (*bus, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, errdefs.Unavailable("%w", err)
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(timeout)
	}
	b := &bus{conn: conn, r: bufio.NewReader(conn)}
	err = conn.SetDeadline(deadline)
	if err == nil {
		err = b.authenticate()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return b, nil
}

func (b *bus) authenticate() error {
	for _, step := range [][2]string{{"\x00AUTH EXTERNAL\r\n", "DATA"}, {"DATA\r\n", "OK "}} {
		if _, err := io.WriteString(b.conn, step[0]); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
		line, err := b.r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
		if !strings.HasPrefix(string(line), step[1]) {
			return errdefs.Unavailable("authenticate: the answer is %q", line)
		}
	}
	if _, err := io.WriteString(b.conn, "BEGIN\r\n"); err != nil {
		return fmt.Errorf("authenticate: %w", err)
	}
	return nil
}

// call makes a call and waits for its answer.
func (b *bus) call(c call, body []byte) error {
	b.serial++
	if _, err := b.conn.Write(c.encode(b.serial, body)); err != nil {
		return fmt.Errorf("call %s: %w", c.member, err)
	}
	for range 1000 { // signals come in between
		r, err := readReply(b.r)
		switch {
		case err != nil:
			return fmt.Errorf("call %s: %w", c.member, err)
		case r.serial != b.serial:
		case r.kind == typeReturn:
			return nil
		case r.kind == typeError:
			return fmt.Errorf("call %s: %w", c.member, errors.New(r.text))
		}
	}
	return errdefs.Unavailable("call %s: no answer among a thousand messages", c.member)
}
