package shelf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/camada/camada/internal/flock"
	"github.com/opencontainers/go-digest"
)

// Reserve waits until no other process has the chain reserved.
func (s *Shelf) Reserve(ctx context.Context, chain digest.Digest) (release func(), err error) {
	link, err := s.link(chain)
	if err != nil {
		return nil, err
	}
	path := s.path(busyDir, filepath.Base(link))
	for {
		f, err := s.openBusy(path)
		if err != nil {
			return nil, class(err, "reserve chain %s", chain)
		}
		if err := flock.Exclusive(ctx, f); err != nil {
			f.Close()
			return nil, fmt.Errorf("reserve chain %s: %w", chain, err)
		}
		if same(f, path) {
			return func() {
				os.Remove(path) //nolint:errcheck // an empty file does no harm
				f.Close()
			}, nil
		}
		f.Close() // whoever had it has removed the file: begin again with a new one
	}
}

func (s *Shelf) openBusy(path string) (*os.File, error) {
	const flags = os.O_RDONLY | os.O_CREATE
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.make(); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(path, flags, 0o600)
	}
	return f, err
}

// same tells whether path still names the open file.
func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}
