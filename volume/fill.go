package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"golang.org/x/sys/unix"
)

// Unfinished reports whether a process that filled the volume was killed, or is at it.
func (s *Store) Unfinished(name string) bool {
	_, err := os.Lstat(filepath.Join(s.dir, name, fillFile))
	return err == nil
}

// NeedsFill reports whether a volume has nothing in it, or is Unfinished.
func (s *Store) NeedsFill(name string) bool {
	if s.Unfinished(name) {
		return true
	}
	empty, err := isEmpty(filepath.Join(s.dir, name, dataDir))
	return err == nil && empty
}

// Fill gives an empty volume what is in the directory from, with its owner and mode, and does nothing to another one. A volume that a killed process was
// filling is emptied first. from is not followed below itself, so that it may be the work of strangers.
func (s *Store) Fill(ctx context.Context, name, from string) error {
	v, err := s.Get(name)
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(v.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("fill volume %s: %w", name, err)
	}
	defer lock.Close()
	if err := flock.Exclusive(ctx, lock); err != nil {
		return fmt.Errorf("fill volume %s: %w", name, err)
	}
	if !s.NeedsFill(name) {
		return nil
	}
	if err := v.fill(ctx, from); err != nil {
		return fmt.Errorf("fill volume %s: %w", name, err)
	}
	return nil
}

func (v *Volume) fill(ctx context.Context, from string) error {
	mark := filepath.Join(v.dir, fillFile)
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return err
	}
	if err := wipe(v.Dir()); err != nil {
		return err
	}
	copied, err := copyTree(ctx, v.Dir(), from)
	if err != nil {
		return err
	}
	if copied { // a machine that stops must not leave a part that looks like all
		if err := syncAll(v.Dir()); err != nil {
			return err
		}
	}
	return os.Remove(mark)
}

// copyTree copies what is in from, and the owner and mode of from itself.
func copyTree(ctx context.Context, to, from string) (copied bool, err error) {
	var st unix.Stat_t
	if err := unix.Stat(from, &st); err != nil {
		return false, &os.PathError{Op: "stat", Path: from, Err: err}
	}
	empty, err := isEmpty(from)
	if err != nil {
		return false, err
	}
	if !empty {
		root, err := os.OpenRoot(to)
		if err != nil {
			return false, err
		}
		defer root.Close()
		r, w := io.Pipe()
		go func() { w.CloseWithError(archive.Pack(ctx, from, w, archive.DiffOptions{})) }()
		_, err = archive.Apply(ctx, root, r, archive.ApplyOptions{})
		r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		if err != nil {
			return false, err
		}
	}
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return false, err
	}
	return !empty, unix.Fchmodat(unix.AT_FDCWD, to, st.Mode&0o7777, 0)
}

func syncAll(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return &os.PathError{Op: "sync", Path: dir, Err: err}
	}
	return nil
}

// wipe removes what is in a directory.
func wipe(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := root.RemoveAll(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func isEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// Remove removes a volume with all that is in it. ErrNotFound when there is none. Whether somebody uses it is for the caller to know.
func (s *Store) Remove(_ context.Context, name string) error {
	v, err := s.Get(name)
	if err != nil {
		return err
	}
	old, err := os.MkdirTemp(s.dir, oldPrefix)
	if err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	err = os.Rename(v.dir, filepath.Join(old, name))
	err = errors.Join(err, os.RemoveAll(old))
	if errors.Is(err, fs.ErrNotExist) {
		return errdefs.NotFound("no such volume: %s", name)
	}
	if err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return nil
}

// Recover deletes what killed processes left. It touches nothing that a live process works on.
func (s *Store) Recover(_ context.Context) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list volumes: %w", err)
	}
	var errs []error
	for _, e := range entries {
		dir := filepath.Join(s.dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), oldPrefix):
			errs = append(errs, os.RemoveAll(dir))
		case strings.HasPrefix(e.Name(), newPrefix) && isAbandoned(dir):
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

// isAbandoned reports whether the process that makes a volume is dead. One without a lock was made this very moment, or
// its maker was killed that early; the next time tells.
func isAbandoned(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if err != nil {
		return isOld(dir)
	}
	defer f.Close()
	ok, err := flock.TryExclusive(f)
	return err == nil && ok && isOld(dir)
}

// isOld reports whether a directory is there for longer than it takes to make a volume.
func isOld(dir string) bool {
	st, err := os.Stat(dir)
	return err == nil && time.Since(st.ModTime()) > time.Minute
}
