// Package local keeps a registry in a directory. It is the driver for one machine: one process owns the directory.
//
//	store, err := local.Open(ctx, "/var/lib/camada/registry", local.Options{})
//	defer store.Close()
//
// Small things (tags, manifests, lists, small blobs) go to an ordered map that is written as a journal (package kv), so that many writers
// share one fdatasync; big blobs are files. docs/registry-store.md has the format and its rules.
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

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local/kv"
)

// Options of a store.
type Options struct {
	// Now tells the time; nil is time.Now.
	Now func() time.Time
}

// Store is a registry in a directory.
type Store struct {
	root  string
	lock  *os.File
	db    *kv.DB
	clock func() time.Time

	// Who adds something that relies on something else holds mutex shared from the look to the write; who removes holds it alone. Nobody
	// waits for the disk under it.
	mutex sync.RWMutex
	tags  stripes // tags that are being moved
	named stripes // digests whose files get their entries

	uploads    uploads
	publishing names // files of blobs that have their name and not yet their entry
	sweeping   sync.Mutex
	changes    changes
	hot        hot
	buffers    sync.Pool
}

var _ registry.Storage = (*Store)(nil)

// Open opens the registry in a directory, which is made when it is not there. It is ErrUnavailable while another process has it open.
func Open(ctx context.Context, root string, opts Options) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Store{root: root, clock: opts.Now}
	if s.clock == nil {
		s.clock = time.Now
	}
	s.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	s.uploads.open = map[string]*upload{}
	if err := s.own(); err != nil {
		return nil, err
	}
	if err := s.openFiles(); err != nil {
		s.Close()
		return nil, fmt.Errorf("open the registry %s: %w", root, err)
	}
	return s, nil
}

func (s *Store) openFiles() error {
	for _, dir := range []string{"blobs", "uploads"} {
		if err := makeDir(filepath.Join(s.root, dir)); err != nil {
			return class("make a directory", err)
		}
	}
	var err error
	if s.db, err = kv.Open(filepath.Join(s.root, "db"), kv.Options{}); err != nil {
		return err
	}
	return s.dropStrayUploads()
}

// own takes the lock that says who owns the directory.
func (s *Store) own() error {
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		return class("make the registry's directory", err)
	}
	f, err := os.OpenFile(filepath.Join(s.root, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return class("lock the registry", err)
	}
	ok, err := flock.TryExclusive(f)
	if err == nil && !ok {
		owner := make([]byte, 20)
		n, _ := f.ReadAt(owner, 0)
		err = errdefs.Unavailable("the registry in %s is in use by process %s; one process owns a directory", s.root, owner[:n])
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), write(f, fmt.Sprint(os.Getpid())))
	}
	if err != nil {
		f.Close()
		return err
	}
	s.lock = f
	return nil
}

func write(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// Close ends the use of the store.
func (s *Store) Close() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	s.lock.Close()
	return err
}

// Root is the directory.
func (s *Store) Root() string { return s.root }

// now is the time, without what a value cannot keep.
func (s *Store) now() time.Time { return s.clock().UTC().Round(0) }

// has reports whether there is a key.
func (s *Store) has(k key) (bool, error) {
	_, ok, err := s.db.Get(k)
	return ok, err
}

// any reports whether there is a key with a prefix.
func (s *Store) any(prefix key) (bool, error) {
	found := false
	stop := errors.New("found")
	err := s.db.Scan(prefix, end(prefix), func(kv.Entry) error { found = true; return stop })
	if found {
		err = nil
	}
	return found, err
}

// each calls fn for the keys with a prefix.
func (s *Store) each(ctx context.Context, prefix key, fn func(rest []byte, e kv.Entry) error) error {
	return s.db.Scan(prefix, end(prefix), func(e kv.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return fn(e.Key[len(prefix):], e)
	})
}

// ListRepositories lists repositories.
func (s *Store) ListRepositories(ctx context.Context, after string, n int) ([]string, error) {
	return s.list(ctx, key{kindRepository}, after, n)
}

// list returns at most n of the names that follow a prefix, after one of them.
func (s *Store) list(ctx context.Context, prefix key, after string, n int) ([]string, error) {
	names := []string{}
	if n == 0 {
		return names, nil
	}
	from := prefix
	if after != "" {
		from = append(append(key{}, prefix...).text(after), 0)
	}
	enough := errors.New("enough")
	err := s.db.Scan(from, end(prefix), func(e kv.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		names = append(names, string(e.Key[len(prefix):]))
		if len(names) == n {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return names, err
}

// class gives an error of the file system its class.
func class(doing string, err error) error {
	err = fmt.Errorf("%s: %w", doing, err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errdefs.With(errdefs.ErrNotFound, err)
	case errors.Is(err, fs.ErrPermission):
		return errdefs.With(errdefs.ErrPermission, err)
	}
	return errdefs.With(errdefs.ErrUnavailable, err)
}

func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
