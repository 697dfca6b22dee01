package delta

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// Source is a layer that earlier versions have.
type Source struct {
	DiffID digest.Digest
	// Open opens its uncompressed tar, verified when it is read to its end, as layer.Open does.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// file is the content of a file in a tar that was taken apart.
type file struct {
	at   Range // in the spool of contents
	sum  [sha256.Size]byte
	name string
}

// Sum is what a document has of the SHA-256 of a content: its first eight bytes.
func Sum(sum [sha256.Size]byte) uint64 { return binary.BigEndian.Uint64(sum[:]) }

// readBuffer makes the many small reads of headers few.
const readBuffer = 256 << 10

// scanned is a tar that was taken apart into spools.
type scanned struct {
	id       digest.Digest
	contents []file
	rest     Range // in the spool of rests
	size     int64 // of the tar
}

// scan takes a tar apart into two spools; whatever else wants the bytes of the tar gets them on the way.
func scan(ctx context.Context, src Source, contents, rests *spool, also io.Writer) (*scanned, error) {
	tar, err := src.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer tar.Close()
	s := &scanned{id: src.DiffID, rest: Range{Offset: rests.size}}
	counted := &counter{w: also}
	r := bufio.NewReaderSize(io.TeeReader(tar, counted), readBuffer)
	sum := sha256.New()
	buf := make([]byte, 128<<10)
	err = cut(r, rests, func(m member, r io.Reader) error {
		if len(s.contents) == maxMembers {
			return errdefs.Limit("more than %d files", maxMembers)
		}
		c := file{at: Range{contents.size, m.size}, name: clean(m.name)}
		if err := summed(sum, r, contents, buf, c.sum[:0]); err != nil {
			return err
		}
		s.contents = append(s.contents, c)
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	s.rest.Length = rests.size - s.rest.Offset
	s.size = counted.n
	return s, nil
}

// summed copies r into w and sets out, which has room for it, to the sum.
func summed(sum hash.Hash, r io.Reader, w io.Writer, buf, out []byte) error {
	sum.Reset()
	for {
		n, err := r.Read(buf)
		sum.Write(buf[:n]) //nolint:errcheck // a hash never fails
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if err == io.EOF { //nolint:errorlint // the end is the bare value
			sum.Sum(out)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// clean takes "./" and "/" off a name.
func clean(name string) string {
	for {
		switch {
		case len(name) > 0 && name[0] == '/':
			name = name[1:]
		case len(name) > 1 && name[:2] == "./":
			name = name[2:]
		default:
			return name
		}
	}
}

// undigited is a name without its digits: of two versions of a library mostly the same.
func undigited(name string) string {
	b := make([]byte, 0, len(name))
	for i := range len(name) {
		if c := name[i]; c < '0' || c > '9' {
			b = append(b, c)
		}
	}
	return string(b)
}
