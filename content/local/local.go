// Package local keeps blobs in a directory, as an OCI image layout does.
//
//	store := local.Open(root, local.Options{Pinner: l})
//	w, err := store.Writer(ctx, content.WriterOptions{Ref: "layer-1"})
//
// Below the root lie
//
//	blobs/<algorithm>/<hex>   committed blobs, mode 0444 once they are durable, 0440 before
//	ingest/<id>/data          the bytes of a named ingest so far
//	ingest/<id>/state         its name, and the state of its hash
//
// Any number of processes may use one directory at once. A named ingest is under an
// flock of its directory while a Writer lives; an unnamed one has no name in
// the file system before Commit (O_TMPFILE), so that a killed process leaves
// nothing of it.
//
// A blob that was committed with NoSync can be lost or torn when the machine fails.
// Its mode tells: Sync makes it 0444 only after its bytes are on disk. A blob
// that is not durable and was written before the machine started is verified
// before it is used, and removed when it is torn.
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/lease"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// The modes of blob files.
const (
	durable   fs.FileMode = 0o444
	unsettled fs.FileMode = 0o440
)

// copyBuffer is the size of the pieces in which streams are hashed and
// written, in bytes.
const copyBuffer = 256 << 10

// Options shape a Store.
type Options struct {
	// Pinner pins each blob before it is looked at, so that what was found stays.
	// Nil pins nothing: for collectors, and stores that none visits.
	Pinner lease.Pinner
}

// Store is a content.Store in a directory.
type Store struct {
	root    string
	pinner  lease.Pinner
	buffers sync.Pool
	started func() time.Time
}

var _ content.Store = (*Store)(nil)

// Open returns the store at root. Nothing is read or made before it is needed.
func Open(root string, opts Options) *Store {
	if opts.Pinner == nil {
		opts.Pinner = lease.None{}
	}
	s := &Store{root: root, pinner: opts.Pinner, started: sync.OnceValue(machineStart)}
	s.buffers.New = func() any { b := make([]byte, copyBuffer); return &b }
	return s
}

// path returns the file of a blob.
func (s *Store) path(d digest.Digest) (string, error) {
	if err := content.CheckDigest(d); err != nil {
		return "", err
	}
	return s.root + "/blobs/" + string(d.Algorithm()) + "/" + d.Encoded(), nil
}

// find pins a blob and returns its path and what lstat tells.
func (s *Store) find(ctx context.Context, d digest.Digest) (string, fs.FileInfo, error) {
	path, err := s.path(d)
	if err != nil {
		return "", nil, err
	}
	if err := s.pinner.Pin(ctx, lease.Blob(d)); err != nil {
		return "", nil, err
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return "", nil, notFound(d, err)
	}
	if fi.Mode() != durable {
		err = s.settle(d, path, fi)
	}
	return path, fi, err
}

// Stat tells of a blob.
func (s *Store) Stat(ctx context.Context, d digest.Digest) (content.Info, error) {
	_, fi, err := s.find(ctx, d)
	if err != nil {
		return content.Info{}, err
	}
	return content.Info{Digest: d, Size: fi.Size(), ModTime: fi.ModTime()}, nil
}

// reader is an open blob. The file is embedded so that io.Copy to a socket or
// a file can leave the copying to the kernel.
type reader struct {
	*os.File
	size int64
}

// Size is the blob's size in bytes.
func (r *reader) Size() int64 { return r.size }

// Open opens a blob. What it returns also has Seek and SyscallConn of its *os.File.
func (s *Store) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path, err := s.path(desc.Digest)
	if err != nil {
		return nil, err
	}
	if err := s.pinner.Pin(ctx, lease.Blob(desc.Digest)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, notFound(desc.Digest, err)
	}
	fi, err := f.Stat()
	if err == nil && fi.Mode() != durable {
		err = s.settle(desc.Digest, path, fi)
	}
	if err == nil && desc.Size > 0 && fi.Size() != desc.Size {
		err = errdefs.Corrupt("blob %s has %d bytes instead of %d", desc.Digest, fi.Size(), desc.Size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &reader{File: f, size: fi.Size()}, nil
}

// Delete removes a blob, pinned or not: collectors ask leases themselves.
func (s *Store) Delete(ctx context.Context, d digest.Digest) error {
	path, err := s.path(d)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return notFound(d, err)
	}
	return nil
}

// Walk calls fn for each blob. Files with other names are passed over.
func (s *Store) Walk(ctx context.Context, fn func(content.Info) error) error {
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		dir, err := os.Open(filepath.Join(s.root, "blobs", string(alg)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return class("walk blobs", err)
		}
		err = walkDir(ctx, dir, alg, fn)
		dir.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func walkDir(ctx context.Context, dir *os.File, alg digest.Algorithm, fn func(content.Info) error) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return class("walk blobs", err)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		d := digest.NewDigestFromEncoded(alg, name)
		if content.CheckDigest(d) != nil {
			continue
		}
		fi, err := os.Lstat(filepath.Join(dir.Name(), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return class("walk blobs", err)
		}
		if !fi.Mode().IsRegular() {
			continue
		}
		if err := fn(content.Info{Digest: d, Size: fi.Size(), ModTime: fi.ModTime()}); err != nil {
			return err
		}
	}
	return nil
}

func notFound(d digest.Digest, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errdefs.NotFound("blob %s is not in the store", d)
	}
	return class("blob "+d.String(), err)
}

// class gives an error of the file system the class that says what can be done.
func class(doing string, err error) error {
	err = fmt.Errorf("%s: %w", doing, err)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return errdefs.With(errdefs.ErrPermission, err)
	default:
		return errdefs.With(errdefs.ErrUnavailable, err)
	}
}
