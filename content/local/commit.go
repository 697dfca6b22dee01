package local

import (
	"context"
	"errors"
	"fmt"
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
