package index

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"strings"
	"sync"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
)

// paxXattr is the prefix under which PAX archives carry extended attributes.
const paxXattr = "SCHILY.xattr."

// Read lists an uncompressed layer tar and reads r to its end. A tar that is malformed, or names that leave
// the root, are ErrCorrupt and ErrInvalid; one with more than two million entries is ErrLimit.
// Errors of r keep their class.
func Read(r io.Reader) (*Index, error) {
	return read(r, nil)
}

// read takes sums that are known from known, which may be nil.
func read(r io.Reader, known func(name string) ([32]byte, bool)) (*Index, error) {
	src := &source{r: r}
	tr := tar.NewReader(src)
	h, buf := sha256.New(), make([]byte, 32<<10)
	var entries []Entry
	var text int
	var total int64
	for {
		hdr, err := tr.Next()
		if err == io.EOF { //nolint:errorlint // the end is the bare value
			break
		}
		if err != nil && !(errors.Is(err, tar.ErrInsecurePath) && hdr != nil) {
			return nil, src.classify(err)
		}
		e, ok, err := entryOf(hdr)
		if err != nil {
			return nil, fmt.Errorf("entry %.200q: %w", hdr.Name, err)
		}
		if !ok {
			continue
		}
		if len(entries) >= maxEntries {
			return nil, errdefs.Limit("more than %d entries", maxEntries)
		}
		if text += len(e.Path) + len(e.Link) + sizeOf(e.Xattrs); text > maxText/2 {
			return nil, errdefs.Limit("more than %d bytes of names", maxText/2)
		}
		// A sparse file can say that it is bigger than what it takes up in the tar.
		if total += e.Size; e.Size < 0 || total > maxBytes {
			return nil, errdefs.Limit("the files have more than %d bytes", int64(maxBytes))
		}
		if e.Kind == Reg {
			if known != nil {
				if sum, ok := known(e.Path); ok {
					e.Sum, e.HasSum = sum, true
				}
			}
			if !e.HasSum {
				h.Reset()
				if _, err := io.CopyBuffer(h, onlyReader{tr}, buf); err != nil {
					return nil, src.classify(fmt.Errorf("entry %.200q: %w", hdr.Name, err))
				}
				h.Sum(e.Sum[:0])
				e.HasSum = true
			}
		}
		entries = append(entries, e)
	}
	// Who verifies the stream sees all of it.
	if _, err := io.CopyBuffer(onlyWriter{io.Discard}, src, buf); err != nil {
		return nil, err
	}
	return &Index{Entries: arrange(entries)}, nil
}

// onlyReader and onlyWriter hide shortcuts that would not use our buffer.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

// source remembers the reader's own error, so that it is not taken for a malformed tar.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // the end is the bare value
		s.err = err
	}
	return n, err
}

func (s *source) classify(err error) error {
	if s.err != nil {
		return s.err
	}
	return errdefs.Corrupt("malformed or truncated tar: %w", err)
}

func sizeOf(m map[string]string) (n int) {
	for k, v := range m {
		n += len(k) + len(v)
	}
	return n
}

// entryOf makes an entry of a header; not ok means that the header is of no file.
func entryOf(hdr *tar.Header) (e Entry, ok bool, err error) {
	switch hdr.Typeflag {
	case tar.TypeXGlobalHeader, 'V':
		return e, false, nil
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		e.Kind, e.Size = Reg, hdr.Size
	case tar.TypeLink:
		e.Kind, e.Link = Link, strings.TrimPrefix(path.Clean("/"+hdr.Linkname), "/")
	case tar.TypeSymlink:
		e.Kind, e.Link = Symlink, hdr.Linkname
	case tar.TypeChar, tar.TypeBlock:
		e.Kind, e.Major, e.Minor = Kind(hdr.Typeflag), uint32(hdr.Devmajor), uint32(hdr.Devminor)
	case tar.TypeDir, tar.TypeFifo:
		e.Kind = Kind(hdr.Typeflag)
	default:
		return e, false, errdefs.Invalid("unknown type %q", hdr.Typeflag)
	}
	name := path.Clean(strings.TrimLeft(hdr.Name, "/"))
	if !cleanPath(name) || len(e.Link) > maxPath {
		return e, false, errdefs.Invalid("a name that leaves the root or is too long")
	}
	if hdr.Uid < 0 || hdr.Gid < 0 || hdr.Uid > math.MaxUint32 || hdr.Gid > math.MaxUint32 {
		return e, false, errdefs.Invalid("owner %d:%d is out of range", hdr.Uid, hdr.Gid)
	}
	e.Path, e.Mode = strings.Clone(name), uint32(hdr.Mode&0o7777)
	e.UID, e.GID = uint32(hdr.Uid), uint32(hdr.Gid)
	e.Sec, e.Nsec = hdr.ModTime.Unix(), uint32(hdr.ModTime.Nanosecond())
	for k, v := range hdr.PAXRecords {
		if attr, ok := strings.CutPrefix(k, paxXattr); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[attr] = v
		}
	}
	return mark(e)
}

// mark makes what a whiteout says of its entry (OCI image-spec, layer.md, "Whiteouts").
func mark(e Entry) (Entry, bool, error) {
	dir, base := path.Split(e.Path)
	rest, ok := strings.CutPrefix(base, archive.WhiteoutPrefix)
	switch {
	case !ok:
		return e, true, nil
	case base == archive.OpaqueMarker:
		return Entry{Path: path.Clean(dir), Kind: Opaque}, true, nil
	case strings.HasPrefix(rest, archive.WhiteoutPrefix): // of AUFS
		return e, false, nil
	case rest == "" || rest == "." || rest == "..":
		return e, false, errdefs.Invalid("a whiteout of %q", rest)
	}
	return Entry{Path: dir + rest, Kind: Whiteout}, true, nil
}

// Recorder makes an index of a tar that is written to it. It is an io.Writer that never fails and never holds up its
// writer for long: what cannot be listed has no index. It is used by one goroutine, but for Known.
type Recorder struct {
	pw   *io.PipeWriter
	done chan struct{}
	idx  *Index
	err  error

	mu    sync.Mutex
	known map[string][32]byte
}

// NewRecorder returns a Recorder. Finish or Abort end it.
func NewRecorder() *Recorder {
	pr, pw := io.Pipe()
	r := &Recorder{pw: pw, done: make(chan struct{}), known: map[string][32]byte{}}
	go func() {
		defer close(r.done)
		r.idx, r.err = read(pr, r.take)
		pr.CloseWithError(io.ErrClosedPipe)
	}()
	return r
}

// Known tells the SHA-256 of a file before the file is written, which is then not computed again.
func (r *Recorder) Known(name string, sum [32]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[name] = sum
}

func (r *Recorder) take(name string) ([32]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum, ok := r.known[name]
	delete(r.known, name)
	return sum, ok
}

// Write takes in the next bytes of the tar.
func (r *Recorder) Write(p []byte) (int, error) {
	_, _ = r.pw.Write(p) // fails when the reader gave up, which Finish tells
	return len(p), nil
}

// Finish ends the tar and returns its index.
func (r *Recorder) Finish() (*Index, error) {
	r.pw.Close()
	<-r.done
	return r.idx, r.err
}

// Abort ends the recording without a result.
func (r *Recorder) Abort() {
	r.pw.CloseWithError(io.ErrUnexpectedEOF)
	<-r.done
}

// Equal reports whether two entries say the same, apart from the time.
func (e *Entry) Equal(o *Entry) bool {
	return e.Path == o.Path && e.Kind == o.Kind && e.Link == o.Link && e.Size == o.Size && e.Mode == o.Mode && e.UID == o.UID && e.GID == o.GID &&
		e.Major == o.Major && e.Minor == o.Minor && e.HasSum == o.HasSum && e.Sum == o.Sum && maps.Equal(e.Xattrs, o.Xattrs)
}
