package referrers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"golang.org/x/sys/unix"
)

// lock waits for the only right to write.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	if err := makeDir(s.dir); err != nil {
		return nil, errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("write referrers: %w", err))
	}
	f, err := os.OpenFile(filepath.Join(s.dir, ".lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("write referrers: %w", err))
	}
	if err := flock.Exclusive(ctx, f); err != nil {
		f.Close()
		return nil, fmt.Errorf("write referrers: %w", err)
	}
	return func() { f.Close() }, nil
}

// write makes a file in a directory, whole and durable, or not at all.
func (s *Store) write(dir, name string, data []byte) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	tmp := filepath.Join(s.dir, ".tmp")
	if err := writeSync(tmp, data); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func writeSync(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// makeDir makes a directory durably, with its parents.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir:
		if err := makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		return makeDir(dir)
	case err != nil:
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
	// Some file systems cannot sync directories, and need not.
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}
