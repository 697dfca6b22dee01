package s3

import (
	"context"
	"errors"
	"io"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/s3/internal/object"
)

// reader reads bytes that never change.
type reader struct {
	ctx  context.Context //nolint:containedctx // io.Reader has none; it is that of OpenBlob
	o    *object.Client
	key  string
	size int64
	// at is where the next Read begins, body what comes from there; nil when nothing was asked for.
	at    int64
	body  io.ReadCloser
	fails int
}

// Size is the blob's size.
func (r *reader) Size() int64 { return r.size }

// Read reads the next bytes. When the connection breaks, the rest is asked for again.
func (r *reader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if r.body == nil {
			if err := r.open(); err != nil {
				return 0, err
			}
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.size-r.at)])
		r.at += int64(n)
		if n > 0 {
			r.fails = 0
		}
		if err != nil {
			r.body.Close()
			r.body = nil
			if r.fails++; r.fails > 3 || r.ctx.Err() != nil {
				return n, unexpected(err)
			}
		}
		if n > 0 {
			return n, nil
		}
	}
}

// unexpected says that an end is none.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return errdefs.Corrupt("the object store gave fewer bytes than there were: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func (r *reader) open() error {
	o, err := r.o.Get(r.ctx, r.key, object.GetOptions{Offset: r.at})
	if err != nil {
		return err
	}
	if o.Size != r.size {
		o.Body.Close()
		return errdefs.Corrupt("%s has %d bytes instead of %d", r.key, o.Size, r.size)
	}
	r.body = o.Body
	return nil
}

// Seek chooses where the next Read begins.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return r.at, errdefs.Invalid("a seek to %d", offset)
	}
	if offset != r.at && r.body != nil {
		r.body.Close()
		r.body = nil
	}
	r.at = offset
	return offset, nil
}

// ReadAt reads a range with a request of its own.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errdefs.Invalid("a read at %d", off)
	}
	if off >= r.size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), r.size-off)
	if want == 0 {
		return 0, nil
	}
	part := &reader{ctx: r.ctx, o: r.o, key: r.key, size: r.size, at: off}
	defer part.Close()
	o, err := r.o.Get(r.ctx, r.key, object.GetOptions{Offset: off, Length: want})
	if err != nil {
		return 0, err
	}
	part.body = o.Body
	n, err := io.ReadFull(part, p[:want])
	if err == nil && want < int64(len(p)) {
		err = io.EOF
	}
	return n, err
}

// Close ends the reading.
func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	err := r.body.Close()
	r.body = nil
	return err
}
