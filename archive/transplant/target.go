package transplant

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/fsid"
	"golang.org/x/sys/unix"
)

// Target is where something is copied to.
type Target struct {
	tree *Tree
	spot *spot
	name string
}

// Target finds name, or the directory in which it would be made: ErrNotFound when that is not there. Links are followed, one at its end too. The
// caller closes it.
func (t *Tree) Target(name string) (*Target, error) {
	s, err := t.find(name, true)
	if err != nil {
		return nil, err
	}
	if s.exists && wantsDirectory(name) && !s.is(unix.S_IFDIR) {
		s.close()
		return nil, errdefs.Invalid("not a directory: %s", name)
	}
	return &Target{tree: t, spot: s, name: name}, nil
}

// Close closes the target.
func (t *Target) Close() { t.spot.close() }

// IsDir reports whether it is a directory that is there.
func (t *Target) IsDir() bool { return t.spot.is(unix.S_IFDIR) }

// Options shape an extraction.
type Options struct {
	// Mine gives all files to the caller; otherwise they have the owners that the tar says.
	Mine bool
}

// Extract reads a tar to its end and makes its files: in the target when that is a directory, else beside where it would be. A directory is
// not replaced by something else, nor something else by a directory: ErrConflict.
func (t *Target) Extract(ctx context.Context, r io.Reader, opts Options) error {
	base := t.spot.base
	if !t.IsDir() {
		base = "."
	}
	fd, err := unix.Openat(t.spot.dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return failed(t.name, err)
	}
	dir := os.NewFile(uintptr(fd), t.name)
	defer dir.Close() //nolint:errcheck // a directory
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return fmt.Errorf("copy to %s: %w", t.name, err)
	}
	defer root.Close() //nolint:errcheck // a directory
	owners := t.tree.owners
	err = fsid.As(owners.UID, owners.GID, func() error {
		_, err := archive.Apply(ctx, root, r, archive.ApplyOptions{Files: true, Export: opts.Mine, Owners: owners.Outside})
		return err
	})
	if err != nil {
		return fmt.Errorf("copy to %s: %w", t.name, err)
	}
	return nil
}
