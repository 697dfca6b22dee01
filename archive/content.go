package archive

import (
	"errors"
	"io"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// sparseUnit is the size of the blocks that st_blocks counts.
const sparseUnit = 512

// addFD adds a regular file whose content is read from the start of fd.
func (w *Writer) addFD(e Entry, fd int) error {
	if err := w.header(&e); err != nil {
		return err
	}
	if e.Size == 0 {
		return nil
	}
	if err := w.copyFD(fd, e.Size); err != nil {
		return w.fail(errdefs.Conflict("tar entry %q: read content: %w", e.Name, err))
	}
	return w.pad(e.Size)
}

// copyFD writes size bytes of fd. Holes of a sparse file are written as
// zeros without being read.
func (w *Writer) copyFD(fd int, size int64) error {
	var st unix.Stat_t
	if size >= int64(len(zeroBlocks)) {
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if st.Blocks*sparseUnit < size {
			return w.copySparse(fd, size)
		}
	}
	return w.copyRange(fd, 0, size)
}

// copySparse goes from data to data.
func (w *Writer) copySparse(fd int, size int64) error {
	for off := int64(0); off < size; {
		data, err := unix.Seek(fd, off, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // nothing but a hole up to the end
			data = size
		case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP):
			return w.copyRange(fd, off, size)
		case err != nil:
			return err
		}
		data = min(data, size)
		if err := w.zeros(data - off); err != nil {
			return err
		}
		if data == size {
			return nil
		}
		hole, err := unix.Seek(fd, data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		hole = min(hole, size)
		if err := w.copyRange(fd, data, hole); err != nil {
			return err
		}
		off = hole
	}
	return nil
}

func (w *Writer) zeros(n int64) error {
	for n > 0 {
		c := min(n, int64(len(zeroBlocks)))
		if _, err := w.w.Write(zeroBlocks[:c]); err != nil {
			return err
		}
		n -= c
	}
	return nil
}

// copyRange writes the bytes of fd from off up to end.
func (w *Writer) copyRange(fd int, off, end int64) error {
	buf := w.buffer(end - off)
	for off < end {
		n, err := unix.Pread(fd, buf[:min(int64(len(buf)), end-off)], off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		if _, err := w.w.Write(buf[:n]); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
