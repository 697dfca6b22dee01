package local

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Writer begins or resumes an ingest. It also has ReadFrom, so that io.Copy
// needs no buffer of its own, and ReadAt, so that the bytes can be read while more of them come.
func (s *Store) Writer(ctx context.Context, opts content.WriterOptions) (content.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch opts.Algorithm {
	case "":
		opts.Algorithm = digest.SHA256
	case digest.SHA256, digest.SHA512:
	default:
		return nil, errdefs.Unsupported("write blob: algorithm %q is neither sha256 nor sha512", opts.Algorithm)
	}
	dir := filepath.Join(s.root, "blobs", string(opts.Algorithm))
	w := &writer{store: s, opts: opts, dir: dir, hash: opts.Algorithm.Hash()}
	var err error
	if opts.Ref == "" {
		if w.file, err = openUnnamed(dir); err != nil {
			return nil, err
		}
		if w.file != nil {
			return w, nil
		}
	}
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	if w.ingest, err = s.openIngest(ctx, opts.Ref); err != nil {
		return nil, err
	}
	if w.file, err = w.ingest.openData(); err == nil {
		err = w.resume(ctx)
	}
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("ingest %q: %w", opts.Ref, err)
	}
	return w, nil
}

// openUnnamed opens a file without a name in the directory dir; nil when the
// file system has no such files.
func openUnnamed(dir string) (*os.File, error) {
	open := func() (*os.File, error) { return os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600) }
	f, err := open()
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(dir); err != nil {
			return nil, err
		}
		f, err = open()
	}
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EINVAL):
		return nil, nil
	}
	return nil, class("write blob", err)
}

// writer is an ingest under way.
type writer struct {
	store  *Store
	opts   content.WriterOptions
	dir    string  // where the blob goes
	ingest *ingest // nil for a file without a name
	file   *os.File
	hash   hash.Hash
	offset int64
	done   bool
}

var (
	_ io.ReaderFrom = (*writer)(nil)
	_ io.ReaderAt   = (*writer)(nil)
)

// resume brings the hash to the end of the bytes that are there.
func (w *writer) resume(ctx context.Context) error {
	fi, err := w.file.Stat()
	if err != nil {
		return class("resume", err)
	}
	w.offset = w.ingest.loadHash(w.hash, w.opts.Algorithm, fi.Size())
	if _, err := w.file.Seek(w.offset, io.SeekStart); err != nil {
		return class("resume", err)
	}
	buf := w.store.buffers.Get().(*[]byte)
	defer w.store.buffers.Put(buf)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := w.file.Read(*buf)
		w.hash.Write((*buf)[:n])
		w.offset += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return class("resume", err)
		}
	}
	return w.ingest.saveState(state{Algorithm: w.opts.Algorithm})
}

// Offset is how many bytes are in the ingest.
func (w *writer) Offset() int64 { return w.offset }

// Digest is the digest of the bytes so far.
func (w *writer) Digest() digest.Digest { return digest.NewDigest(w.opts.Algorithm, w.hash) }

// Write appends bytes.
func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, errdefs.Conflict("write blob: the writer is closed")
	}
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.offset += int64(n)
	if err != nil {
		return n, class("write blob", err)
	}
	return n, nil
}

// ReadFrom appends all bytes of r.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	buf := w.store.buffers.Get().(*[]byte)
	defer w.store.buffers.Put(buf)
	var total int64
	for {
		n, err := r.Read(*buf)
		if n > 0 {
			n, werr := w.Write((*buf)[:n])
			total += int64(n)
			if werr != nil {
				return total, werr
			}
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// ReadAt reads bytes of the ingest. Unlike the rest it may be called by other goroutines, and after the end, when it
// returns os.ErrClosed.
func (w *writer) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.file.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		err = class("read ingest", err)
	}
	return n, err
}

// Truncate drops all bytes.
func (w *writer) Truncate() error {
	if w.done {
		return errdefs.Conflict("truncate ingest: the writer is closed")
	}
	if err := w.file.Truncate(0); err != nil {
		return class("truncate ingest", err)
	}
	if _, err := w.file.Seek(0, io.SeekStart); err != nil {
		return class("truncate ingest", err)
	}
	w.hash.Reset()
	w.offset = 0
	return nil
}

// Close ends the use of the writer and keeps a named ingest.
func (w *writer) Close() error {
	if w.done {
		return nil
	}
	if w.opts.Ref == "" {
		return w.Abort()
	}
	w.done = true
	var err error
	if w.file != nil {
		err = w.ingest.saveHash(w.hash, w.opts.Algorithm, w.offset)
		w.file.Close()
	}
	w.ingest.close()
	return err
}

// Abort ends the use of the writer and removes the ingest.
func (w *writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	if w.file != nil {
		w.file.Close()
	}
	if w.ingest != nil {
		return w.ingest.remove()
	}
	return nil
}
