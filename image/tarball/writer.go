package tarball

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/camada/camada/errdefs"
)

const (
	// block is the size of tar's blocks in bytes.
	block = 512
	// copyBuffer is the size of the pieces in which bytes pass through this program.
	copyBuffer = 256 << 10
)

// writer writes a tar. It does not use tar.Writer for contents, so that
// the kernel can copy them from file to file.
type writer struct {
	w    io.Writer
	file *os.File // w, when it is a file
	buf  []byte
}

func newWriter(w io.Writer) *writer {
	f, _ := w.(*os.File)
	return &writer{w: w, file: f}
}

// header writes the header of an entry. Owner, mode and time are the same for all.
func (w *writer) header(h tar.Header) error {
	h.ModTime = time.Unix(0, 0)
	h.Mode = 0o644
	if h.Typeflag == tar.TypeDir {
		h.Mode = 0o755
	}
	var buf bytes.Buffer
	if err := tar.NewWriter(&buf).WriteHeader(&h); err != nil {
		return fmt.Errorf("write entry %s: %w", h.Name, err)
	}
	return w.write(h.Name, buf.Bytes())
}

func (w *writer) write(name string, data []byte) error {
	if _, err := w.w.Write(data); err != nil {
		return fmt.Errorf("write entry %s: %w", name, err)
	}
	return nil
}

func (w *writer) dir(name string) error {
	return w.header(tar.Header{Typeflag: tar.TypeDir, Name: name + "/"})
}

func (w *writer) bytes(name string, data []byte) error {
	if err := w.header(tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data))}); err != nil {
		return err
	}
	if err := w.write(name, data); err != nil {
		return err
	}
	return w.pad(name, int64(len(data)))
}

// stream writes an entry of size bytes from r, which must have exactly as many.
func (w *writer) stream(ctx context.Context, name string, r io.Reader, size int64) error {
	if err := w.header(tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size}); err != nil {
		return err
	}
	n, err := kernelCopy(ctx, w.file, r, size)
	if err == nil && n < size {
		if s, ok := r.(io.Seeker); ok && n > 0 {
			_, err = s.Seek(n, io.SeekStart)
		}
		if err == nil {
			err = w.plainCopy(ctx, r, size-n)
		}
	}
	if err != nil {
		return fmt.Errorf("write entry %s: %w", name, err)
	}
	return w.pad(name, size)
}

func (w *writer) plainCopy(ctx context.Context, r io.Reader, size int64) error {
	if w.buf == nil {
		w.buf = make([]byte, copyBuffer)
	}
	for size > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(w.buf[:min(int64(len(w.buf)), size)])
		if _, werr := w.w.Write(w.buf[:n]); werr != nil {
			return werr
		}
		size -= int64(n)
		if errors.Is(err, io.EOF) && size > 0 {
			return errdefs.Corrupt("%d bytes are missing at its end", size)
		}
		if err != nil && size > 0 {
			return err
		}
	}
	return nil
}

// pad fills the last block of an entry.
func (w *writer) pad(name string, size int64) error {
	if rest := size % block; rest != 0 {
		return w.write(name, make([]byte, block-rest))
	}
	return nil
}

// end writes the end of the archive: two empty blocks.
func (w *writer) end() error { return w.write("(end)", make([]byte, 2*block)) }
