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
	"github.com/camada/camada/lease"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Writer begins or resumes an ingest. It also has ReadFrom, so that io.Copy
// needs no buffer of its own.
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

var _ io.ReaderFrom = (*writer)(nil)

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

// Commit publishes the bytes.
func (w *writer) Commit(ctx context.Context, size int64, expected digest.Digest) (ocispec.Descriptor, error) {
	if w.done {
		return ocispec.Descriptor{}, errdefs.Conflict("commit blob: the writer is closed")
	}
	if err := ctx.Err(); err != nil {
		return ocispec.Descriptor{}, err
	}
	if expected != "" {
		if err := content.CheckDigest(expected); err != nil {
			return ocispec.Descriptor{}, err
		}
		if expected.Algorithm() != w.opts.Algorithm {
			return ocispec.Descriptor{}, errdefs.Invalid("commit blob %s: the writer hashes with %s", expected, w.opts.Algorithm)
		}
	}
	got := w.Digest()
	if expected != "" && got != expected || size >= 0 && size != w.offset {
		err := errdefs.Corrupt("commit blob: %d bytes with digest %s came instead of %s", w.offset, got, wanted(size, expected))
		return ocispec.Descriptor{}, errors.Join(err, w.Abort())
	}
	if err := w.store.pinner.Pin(ctx, lease.Blob(got)); err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := w.publish(got); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("commit blob %s: %w", got, err)
	}
	// What is left, if anything, is the empty ingest.
	if err := w.Abort(); err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{Digest: got, Size: w.offset}, nil
}

func wanted(size int64, d digest.Digest) string {
	s := "a blob"
	if size >= 0 {
		s = fmt.Sprintf("%d bytes", size)
	}
	if d != "" {
		s += fmt.Sprintf(" with digest %s", d)
	}
	return s
}

// publish gives the bytes their name among the blobs.
func (w *writer) publish(d digest.Digest) error {
	path := filepath.Join(w.dir, d.Encoded())
	if there, err := w.present(d, path); there || err != nil {
		return err
	}
	// The mode promises durability, so that the last step is to say so.
	if err := w.file.Chmod(unsettled); err != nil {
		return class("set mode", err)
	}
	if !w.opts.NoSync {
		if err := w.file.Sync(); err != nil {
			return class("sync", err)
		}
	}
	if w.ingest != nil {
		if err := os.Rename(w.file.Name(), path); err != nil {
			return class("rename", err)
		}
	} else if err := w.link(d, path); err != nil {
		return err
	}
	if w.opts.NoSync {
		return nil
	}
	if err := syncDir(w.dir); err != nil {
		return err
	}
	if err := w.file.Chmod(durable); err != nil {
		return class("set mode", err)
	}
	return nil
}

// present reports whether the blob is there already, and makes it durable when
// this commit promises so. A file of another size is not the blob.
func (w *writer) present(d digest.Digest, path string) (bool, error) {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, class("look", err)
	}
	if !fi.Mode().IsRegular() || fi.Size() != w.offset {
		return false, nil
	}
	if fi.Mode() == durable {
		return true, nil
	}
	if err := w.store.settle(d, path, fi); err != nil {
		if errdefs.IsNotFound(err) {
			return false, nil
		}
		return false, err
	}
	if !w.opts.NoSync {
		return true, syncBlobs(path)
	}
	return true, nil
}

// link names a file that has no name yet.
func (w *writer) link(d digest.Digest, path string) error {
	err := linkFile(w.file, path)
	if !errors.Is(err, fs.ErrExist) {
		if err != nil {
			return class("link", err)
		}
		return nil
	}
	// Another writer was faster, or the file there is damaged.
	if there, err := w.present(d, path); there || err != nil {
		return err
	}
	in, err := w.store.openIngest(context.Background(), "")
	if err != nil {
		return err
	}
	defer in.remove()
	if err := linkFile(w.file, in.data()); err != nil {
		return class("link", err)
	}
	if err := os.Rename(in.data(), path); err != nil {
		return class("rename", err)
	}
	return nil
}

func linkFile(f *os.File, path string) error {
	err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if errors.Is(err, unix.ENOENT) {
		// No /proc; the kernel may allow the plain way.
		err = unix.Linkat(int(f.Fd()), "", unix.AT_FDCWD, path, unix.AT_EMPTY_PATH)
	}
	return err
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
