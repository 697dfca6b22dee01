package delta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

const (
	blockSize = 512
	// maxMeta bounds the extended headers that are looked into.
	maxMeta = 1 << 20
)

// member is a content in a tar.
type member struct {
	name string
	size int64
}

// sink takes the parts of a tar in order.
type sink interface {
	// rest takes what is no content of a file.
	rest(p []byte) error
	// content takes, or gives, the next content.
	content(m member) error
}

// walk reads the headers of a tar from r, which has all of the tar or its rest alone, and tells s of both. It knows no more of tar
// than how long what follows a header is; when it is wrong about that, taking apart and putting together are wrong alike.
func walk(r io.Reader, s sink) error {
	var (
		block [blockSize]byte
		next  member // what extended headers say of the next one
		sized bool
	)
	for {
		if n, err := io.ReadFull(r, block[:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return s.rest(block[:n])
			}
			return err
		}
		if err := s.rest(block[:]); err != nil {
			return err
		}
		if block == [blockSize]byte{} { // the end, and whatever follows
			_, err := io.Copy(restWriter{s}, r)
			return err
		}
		size, err := number(block[124:136])
		if err != nil {
			return err
		}
		switch flag := block[156]; flag {
		case 'x', 'L':
			data, err := meta(r, s, size)
			if err != nil {
				return err
			}
			if flag == 'L' {
				next.name = text(data)
				continue
			}
			if err := extended(data, &next, &sized); err != nil {
				return err
			}
		case 0, '0', '7':
			if sized {
				size = next.size
			}
			if next.name == "" {
				next.name = name(block[:])
			}
			next.size = size
			if size > 0 {
				if err := s.content(next); err != nil {
					return err
				}
			}
			if err := skip(r, s, -size&(blockSize-1)); err != nil {
				return err
			}
			next, sized = member{}, false
		case '1', '2', '3', '4', '5', '6':
			next, sized = member{}, false
		case 'S':
			return errdefs.Unsupported("a tar with GNU's old form of sparse files")
		default: // 'g', 'K' and what nobody knows
			if err := skip(r, s, size+(-size&(blockSize-1))); err != nil {
				return err
			}
		}
	}
}

// restWriter gives what is written to a sink.
type restWriter struct{ s sink }

func (w restWriter) Write(p []byte) (int, error) {
	if err := w.s.rest(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// skip passes n bytes on to the rest.
func skip(r io.Reader, s sink, n int64) error {
	if n == 0 {
		return nil
	}
	if _, err := io.CopyN(restWriter{s}, r, n); err != nil {
		if errors.Is(err, io.EOF) {
			err = errdefs.Corrupt("a tar that ends too early")
		}
		return err
	}
	return nil
}

// meta reads an extended header.
func meta(r io.Reader, s sink, size int64) ([]byte, error) {
	if size > maxMeta {
		return nil, errdefs.Limit("a tar with an extended header of %d bytes", size)
	}
	var b bytes.Buffer
	if err := skip(io.TeeReader(r, &b), s, size+(-size&(blockSize-1))); err != nil {
		return nil, err
	}
	return b.Bytes()[:size], nil
}

// extended reads the records of a PAX header (pax, "pax Extended Header"): "LENGTH KEY=VALUE\n".
func extended(data []byte, m *member, sized *bool) error {
	for len(data) > 0 {
		length, _, ok := bytes.Cut(data, []byte(" "))
		n, err := strconv.Atoi(string(length))
		if !ok || err != nil || n <= len(length)+1 || n > len(data) {
			return errdefs.Corrupt("a tar with a malformed extended header")
		}
		key, value, _ := strings.Cut(strings.TrimSuffix(string(data[len(length)+1:n]), "\n"), "=")
		switch key {
		case "path":
			m.name = value
		case "size":
			if m.size, err = strconv.ParseInt(value, 10, 64); err != nil || m.size < 0 || m.size > maxTar {
				return errdefs.Corrupt("a tar with a file of %.30q bytes", value)
			}
			*sized = true
		}
		data = data[n:]
	}
	return nil
}

// number reads a size: octal digits, or a big-endian number after a byte of 0x80.
func number(b []byte) (int64, error) {
	if b[0]&0x80 != 0 {
		n := int64(binary.BigEndian.Uint64(b[4:12]))
		if b[0] != 0x80 || bytes.Count(b[1:4], []byte{0}) != 3 || n < 0 || n > maxTar {
			return 0, errdefs.Corrupt("a tar with an impossible size")
		}
		return n, nil
	}
	digits := strings.Trim(string(b), " \x00")
	if digits == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(digits, 8, 40)
	if err != nil || n > maxTar {
		return 0, errdefs.Corrupt("a tar with a size of %q", digits)
	}
	return int64(n), nil
}

// name is the name in a header: ustar has two fields for it.
func name(block []byte) string {
	s := text(block[:100])
	if string(block[257:263]) == "ustar\x00" && block[345] != 0 {
		s = text(block[345:500]) + "/" + s
	}
	return s
}

func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// cut takes a tar apart: its rest goes to rest, and content is called for each content, with a reader of it.
func cut(r io.Reader, rest io.Writer, content func(m member, r io.Reader) error) error {
	return walk(r, &cutter{r: r, w: rest, f: content})
}

type cutter struct {
	r io.Reader
	w io.Writer
	f func(member, io.Reader) error
}

func (c *cutter) rest(p []byte) error {
	_, err := c.w.Write(p)
	return err
}

func (c *cutter) content(m member) error {
	part := &io.LimitedReader{R: c.r, N: m.size}
	if err := c.f(m, part); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, part); err != nil {
		return err
	}
	if part.N > 0 {
		return errdefs.Corrupt("a tar that ends in %q", m.name)
	}
	return nil
}

// join puts a tar together into w: rest is what is no content, and content is called for each content to write it.
func join(w io.Writer, rest io.Reader, content func(m member, w io.Writer) error) error {
	return walk(rest, &joiner{w: w, f: content})
}

type joiner struct {
	w io.Writer
	f func(member, io.Writer) error
}

func (j *joiner) rest(p []byte) error {
	_, err := j.w.Write(p)
	return err
}

func (j *joiner) content(m member) error {
	counted := &counter{w: j.w}
	if err := j.f(m, counted); err != nil {
		return err
	}
	if counted.n != m.size {
		return fmt.Errorf("%q: %w", m.name, errdefs.Corrupt("%d bytes instead of %d", counted.n, m.size))
	}
	return nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
