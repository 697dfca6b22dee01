package archive

import (
	"bytes"
	"io"
	"os"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

const (
	blockSize = 512
	// copyBuffer is the size of the buffers that file content goes through.
	copyBuffer = 256 << 10
)

// WriterOptions shape what a Writer writes.
type WriterOptions struct {
	// Clamp, when not zero, is the latest modification time: later ones
	// become it.
	Clamp time.Time
	// Owners, when it is not nil, says what owner an entry has in the tar in place of its own.
	Owners Owners
}

// Owners turns the owner of a file into another one.
type Owners func(uid, gid int) (int, int)

// Writer encodes entries as a deterministic tar: ustar headers, with PAX records
// in sorted order where a value does not fit. The bytes depend on the entries and
// their order alone. It does not sort: the caller adds entries in order, and a
// directory before what is in it. A Writer is used by one goroutine.
type Writer struct {
	w      io.Writer
	clamp  time.Time
	owners Owners
	buf    []byte // content on its way
	hdr    []byte // headers of one entry
	pax    []paxRecord
	body   []byte // the PAX records of one entry, encoded
	count  int64
	err    error
}

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer, opts WriterOptions) *Writer {
	return &Writer{w: w, clamp: opts.Clamp, owners: opts.Owners}
}

// Count is how many entries were added.
func (w *Writer) Count() int64 { return w.count }

// Add appends an entry. A TypeReg with a Size reads exactly so many bytes from r; r may be
// nil otherwise. An *os.File is read from its start, and its holes are not read.
// An entry that a tar cannot hold, or content shorter than Size, is
// ErrInvalid; after an error the Writer is of no more use.
func (w *Writer) Add(e Entry, r io.Reader) error {
	if f, ok := r.(*os.File); ok && e.Type == TypeReg {
		return w.addFD(e, int(f.Fd()))
	}
	if err := w.header(&e); err != nil {
		return err
	}
	if e.Type != TypeReg || e.Size == 0 {
		return nil
	}
	if r == nil {
		return w.fail(errdefs.Invalid("tar entry %q: %d bytes promised, no content given", e.Name, e.Size))
	}
	n, err := io.CopyBuffer(w.w, &exactReader{r: r, left: e.Size}, w.buffer(e.Size))
	if err != nil {
		return w.fail(errdefs.Invalid("tar entry %q: content after %d bytes: %w", e.Name, n, err))
	}
	return w.pad(e.Size)
}

// Whiteout says that the parents' entry of this name is gone.
func (w *Writer) Whiteout(name string) error {
	dir, base := split(name)
	return w.marker(join(dir, WhiteoutPrefix+base))
}

// Opaque says that nothing of the parents' directory of this name shows.
func (w *Writer) Opaque(dir string) error {
	return w.marker(join(dir, OpaqueMarker))
}

// marker adds an empty file that means something. Its time is the epoch: it has none.
func (w *Writer) marker(name string) error {
	return w.header(&Entry{Name: name, Type: TypeReg, Mode: 0o600, ModTime: time.Unix(0, 0)})
}

// Close ends the archive. It does not close the writer below.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.err = errdefs.Invalid("tar writer: closed")
	_, err := w.w.Write(make([]byte, 2*blockSize))
	return err
}

// header writes the header blocks of e.
func (w *Writer) header(e *Entry) error {
	if w.err != nil {
		return w.err
	}
	if !w.clamp.IsZero() && e.ModTime.After(w.clamp) {
		e.ModTime = w.clamp
	}
	if err := w.encode(e); err != nil {
		return w.fail(err)
	}
	w.count++
	if _, err := w.w.Write(w.hdr); err != nil {
		return w.fail(err)
	}
	return nil
}

func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return err
}

// pad fills the last block of a content of size bytes.
func (w *Writer) pad(size int64) error {
	n := int(-size & (blockSize - 1))
	if n == 0 {
		return nil
	}
	if _, err := w.w.Write(zeroBlocks[:n]); err != nil {
		return w.fail(err)
	}
	return nil
}

// buffer returns a buffer for n bytes of content: a small layer needs no large one.
func (w *Writer) buffer(n int64) []byte {
	if n = min(max(n, copyBuffer/16), copyBuffer); int64(len(w.buf)) < n {
		w.buf = make([]byte, n)
	}
	return w.buf
}

// zeroBlocks is what paddings and holes are written from, and compared with.
var zeroBlocks [64 << 10]byte

// isZero reports whether b holds zeros only.
func isZero(b []byte) bool {
	for len(b) > len(zeroBlocks) {
		if !bytes.Equal(b[:len(zeroBlocks)], zeroBlocks[:]) {
			return false
		}
		b = b[len(zeroBlocks):]
	}
	return bytes.Equal(b, zeroBlocks[:len(b)])
}

// exactReader reads left bytes and fails when there are fewer.
type exactReader struct {
	r    io.Reader
	left int64
}

func (x *exactReader) Read(p []byte) (int, error) {
	if x.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > x.left {
		p = p[:x.left]
	}
	n, err := x.r.Read(p)
	x.left -= int64(n)
	if err == io.EOF {
		if err = nil; x.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// split parts a clean name at its last slash; the directory of a name without
// one is ".".
func split(name string) (dir, base string) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return ".", name
}

// join puts a clean name below a clean directory.
func join(dir, name string) string {
	if dir == "." || dir == "" {
		return name
	}
	return dir + "/" + name
}
