// Package cachemount keeps the directories of RUN --mount=type=cache.
//
//	s := cachemount.Open(dir)
//	h, err := s.Acquire(ctx, cachemount.Key{ID: "/root/.cache"}, cachemount.Options{Sharing: op.SharingLocked})
//	defer h.Release()
//	// mount h.Dir()
//
// A cache outlives the builds that use it, and builds of many processes use it side by side. What else than
// its name decides which one it is stands in Key.
//
// # On disk
//
//	<dir>/<hex digest of the key>/lock       held while somebody chooses a directory or removes one
//	<dir>/<hex digest of the key>/key.json   the Key, for people and for those who carry caches elsewhere
//	<dir>/<hex digest of the key>/<n>/       a directory; n counts from 0
//	<dir>/<hex digest of the key>/<n>.lock   locked by who uses the directory; its time is when it was used last, its text what
//	                                         the step that used it last started from (Handle.Age)
//	<dir>/.trash-*                           what is being removed, or what a killed process left of that
//
// There is more than one directory when one was needed while another used the first alone. A process that is
// killed leaves its locks to nobody, and a half-filled directory has no number yet.
package cachemount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// maxDirectories is how many directories one key can have.
const maxDirectories = 1000

// Key is what decides which cache a mount shows.
type Key struct {
	// ID is the mount's id, or its target.
	ID string `json:"id"`
	// From is the digest of what a new directory begins with; "" for nothing.
	From digest.Digest `json:"from,omitempty"`
	// Mode, UID and GID of a new directory; nil is 0755 and root.
	Mode *uint32 `json:"mode,omitempty"`
	UID  *uint32 `json:"uid,omitempty"`
	GID  *uint32 `json:"gid,omitempty"`
}

// Digest names the key on disk.
func (k Key) Digest() digest.Digest {
	data, err := json.Marshal(k)
	if err != nil {
		panic(err) // strings and numbers can always be marshalled
	}
	return digest.FromBytes(data)
}

// Options of Acquire.
type Options struct {
	// Sharing says who may use the directory at once; "" is op.SharingShared.
	Sharing op.Sharing
	// Fill writes what a new directory begins with, as an uncompressed tar; nil for nothing.
	Fill func(ctx context.Context, w io.Writer) error
}

// Store is a directory of caches. It may be used by many goroutines and processes.
type Store struct{ dir string }

// Open returns the caches in dir, which need not be there.
func Open(dir string) *Store { return &Store{dir: dir} }

// Handle is a cache directory in use.
type Handle struct {
	dir  string
	lock *os.File
}

// Dir is the absolute path of the directory.
func (h *Handle) Dir() string { return h.dir }

// Release ends the use.
func (h *Handle) Release() {
	touch(h.lock)
	h.lock.Close()
}

// Acquire returns the directory of a key, made when there is none, and waits when it is to be locked and others use it.
func (s *Store) Acquire(ctx context.Context, key Key, opts Options) (*Handle, error) {
	dir := filepath.Join(s.dir, key.Digest().Encoded())
	for {
		h, busy, err := s.choose(ctx, dir, key, opts)
		if h != nil || err != nil {
			return h, err
		}
		// Others have it: wait, then look again, because it may have been removed meanwhile.
		err = flock.Exclusive(ctx, busy)
		if err == nil && isCurrent(busy) && isFilled(busy) {
			touch(busy)
			return &Handle{dir: directoryOf(busy), lock: busy}, nil
		}
		busy.Close()
		if err != nil {
			return nil, err
		}
	}
}

// choose takes a directory that is free, or makes one; busy is the lock of one that is to be waited for.
func (s *Store) choose(ctx context.Context, dir string, key Key, opts Options) (h *Handle, busy *os.File, err error) {
	selection, err := s.lock(ctx, dir, key)
	if err != nil {
		return nil, nil, fmt.Errorf("cache mount %s: %w", key.ID, err)
	}
	defer selection.Close()
	for n := range maxDirectories {
		f, err := openLock(filepath.Join(dir, strconv.Itoa(n)+".lock"))
		if err != nil {
			return nil, nil, fmt.Errorf("cache mount %s: %w", key.ID, err)
		}
		ok, err := tryLock(f, opts.Sharing)
		if err == nil && ok {
			err = s.fill(ctx, directoryOf(f), key, opts.Fill)
		}
		switch {
		case err != nil:
			f.Close()
			return nil, nil, fmt.Errorf("cache mount %s: %w", key.ID, err)
		case ok:
			touch(f)
			return &Handle{dir: directoryOf(f), lock: f}, nil, nil
		case opts.Sharing == op.SharingLocked:
			return nil, f, nil
		}
		f.Close()
	}
	return nil, nil, errdefs.Limit("cache mount %s: more than %d directories are in use", key.ID, maxDirectories)
}

// lock makes the directory of a key and takes the lock on choosing in it.
func (s *Store) lock(ctx context.Context, dir string, key Key) (*os.File, error) {
	for {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		f, err := openLock(filepath.Join(dir, "lock"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed just now
		}
		if err != nil {
			return nil, err
		}
		if err := flock.Exclusive(ctx, f); err != nil {
			f.Close()
			return nil, err
		}
		if !isCurrent(f) {
			f.Close()
			continue
		}
		if err := noteKey(filepath.Join(dir, "key.json"), key); err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
}

// noteKey writes the key where it is not written yet. The caller holds the lock.
func noteKey(name string, key Key) error {
	data, err := json.Marshal(key)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(name); err == nil && string(have) == string(data) {
		return nil
	}
	return os.WriteFile(name, data, 0o600)
}

// fill makes a directory that is not there.
func (s *Store) fill(ctx context.Context, dir string, key Key, fill func(context.Context, io.Writer) error) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp, err := os.MkdirTemp(s.dir, trash+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	fresh := filepath.Join(tmp, op.TreeName)
	if fill != nil {
		err = unpack(ctx, tmp, fill)
	} else {
		err = os.Mkdir(fresh, 0o755)
	}
	if err != nil {
		return err
	}
	if st, err := os.Lstat(fresh); err != nil || !st.IsDir() {
		return errdefs.Invalid("what the cache begins with is no directory")
	}
	if err := own(fresh, key); err != nil {
		return err
	}
	return os.Rename(fresh, dir)
}

// own gives a new directory its owner and mode.
func own(dir string, key Key) error {
	uid, gid := -1, -1
	if key.UID != nil || key.GID != nil {
		uid, gid = 0, 0
	}
	if key.UID != nil {
		uid = int(*key.UID)
	}
	if key.GID != nil {
		gid = int(*key.GID)
	}
	if err := os.Lchown(dir, uid, gid); err != nil {
		return err
	}
	if key.Mode != nil {
		return unix.Fchmodat(unix.AT_FDCWD, dir, *key.Mode&0o7777, 0)
	}
	if key.From == "" {
		return os.Chmod(dir, 0o755) // whatever the umask is
	}
	return nil
}

func unpack(ctx context.Context, dir string, fill func(context.Context, io.Writer) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	r, w := io.Pipe()
	go func() { w.CloseWithError(fill(ctx, w)) }()
	_, err = archive.Apply(ctx, root, r, archive.ApplyOptions{})
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	return err
}

// tryLock takes the lock of a directory if that can be had now.
func tryLock(f *os.File, sharing op.Sharing) (bool, error) {
	if sharing != op.SharingShared && sharing != "" {
		return flock.TryExclusive(f)
	}
	return flock.TryShared(f)
}

func openLock(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
}

// isCurrent tells that a locked file is still the one that others find.
func isCurrent(f *os.File) bool {
	have, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(have, there)
}

// isFilled tells that the directory of a lock is there: one who was to make it may have been killed.
func isFilled(lock *os.File) bool {
	_, err := os.Lstat(directoryOf(lock))
	return err == nil
}

// directoryOf is the directory that a lock is for.
func directoryOf(lock *os.File) string {
	return lock.Name()[:len(lock.Name())-len(".lock")]
}

// touch notes that a directory is in use now.
func touch(lock *os.File) {
	now := time.Now()
	_ = os.Chtimes(lock.Name(), now, now)
}
