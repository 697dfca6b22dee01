package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// touched is how old a file's time may be before a use renews it.
const touched = time.Hour

// Store keeps indexes in a directory. It may be used by many goroutines and processes. A nil *Store keeps nothing.
type Store struct {
	dir string
}

// Open returns the indexes in dir, which need not be there.
func Open(dir string) *Store { return &Store{dir: dir} }

func (s *Store) path(diffID digest.Digest) (string, error) {
	if err := content.CheckDigest(diffID); err != nil {
		return "", fmt.Errorf("diffID: %w", err)
	}
	return filepath.Join(s.dir, diffID.Algorithm().String()+"-"+diffID.Encoded()), nil
}

// Get returns the index of a layer; ErrNotFound when there is none or it is damaged.
func (s *Store) Get(diffID digest.Digest) (*Index, error) {
	if s == nil {
		return nil, errdefs.NotFound("layer index %s: none are kept", diffID)
	}
	path, err := s.path(diffID)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, errdefs.NotFound("layer index %s: there is none", diffID)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, errdefs.NotFound("layer index %s: %w", diffID, err)
	}
	x, err := Parse(data, diffID)
	if err != nil {
		return nil, errdefs.NotFound("layer index %s: %w", diffID, err)
	}
	// The time of the file is when it was last used, for Expire.
	if now := time.Now(); now.Sub(info.ModTime()) > touched {
		_ = os.Chtimes(path, now, now)
	}
	return x, nil
}

// Put keeps the index of a layer.
func (s *Store) Put(diffID digest.Digest, x *Index) error {
	if s == nil {
		return nil
	}
	path, err := s.path(diffID)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("keep layer index: %w", err)
	}
	// Written aside under a name of this process alone, and not synced: damage is noticed by the checksum.
	tmp, err := os.CreateTemp(s.dir, temporary+"*")
	if err != nil {
		return fmt.Errorf("keep layer index: %w", err)
	}
	_, err = tmp.Write(x.Marshal(diffID))
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("keep layer index: %w", err)
	}
	return nil
}

// temporary begins the names of files that are being written.
const temporary = "tmp-"

// Of returns the index of a layer. When none is kept, the layer's blob is read and verified, and its index kept.
func (s *Store) Of(ctx context.Context, p content.Provider, desc ocispec.Descriptor, diffID digest.Digest) (*Index, error) {
	x, err := s.Get(diffID)
	if err == nil || !errdefs.IsNotFound(err) {
		return x, err
	}
	tar, err := layer.Open(ctx, p, desc, diffID, layer.OpenOptions{})
	if err != nil {
		return nil, err
	}
	defer tar.Close()
	if x, err = Read(tar); err != nil {
		return nil, fmt.Errorf("list layer %s: %w", desc.Digest, err)
	}
	_ = s.Put(diffID, x) // what cannot be kept is made again
	return x, nil
}

// Known tells the SHA-256 of the content of a file that is about to be written.
type Known func(name string, sum [32]byte)

// Write is layer.Write, and keeps the index of the layer that it makes. What produce tells to known is
// not computed again. Without a Store nothing is listed.
func (s *Store) Write(ctx context.Context, ing content.Ingester, opts layer.WriteOptions, produce func(w io.Writer, known Known) error, tee ...io.Writer) (layer.Layer, error) {
	if s == nil {
		return layer.Write(ctx, ing, opts, func(w io.Writer) error { return produce(w, func(string, [32]byte) {}) }, tee...)
	}
	rec := NewRecorder()
	l, err := layer.Write(ctx, ing, opts, func(w io.Writer) error { return produce(w, rec.Known) }, append(tee[:len(tee):len(tee)], rec)...)
	if err != nil {
		rec.Abort()
		return l, err
	}
	// The layer is what was asked for; its index is made on first need when it could not be made now.
	if x, err := rec.Finish(); err == nil {
		_ = s.Put(l.DiffID, x)
	}
	return l, nil
}

// Expire removes the indexes that were not used since before, and what killed processes left. It returns how
// many it removed, or would.
func (s *Store) Expire(before time.Time, dryRun bool) (int, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("expire layer indexes: %w", err)
	}
	n := 0
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.ModTime().After(before) && !stale(info) {
			continue
		}
		n++
		if dryRun {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return n, fmt.Errorf("expire layer indexes: %w", err)
		}
	}
	return n, nil
}

// stale reports whether a file was being written so long ago that its process is dead.
func stale(info fs.FileInfo) bool {
	return len(info.Name()) > len(temporary) && info.Name()[:len(temporary)] == temporary && time.Since(info.ModTime()) > touched
}
