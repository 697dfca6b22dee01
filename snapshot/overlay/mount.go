package overlay

import (
	"context"
	"fmt"
	"os"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
	"github.com/camada/camada/snapshot"
	"github.com/camada/camada/snapshot/internal/shelf"
	"golang.org/x/sys/unix"
)

// Mount implements snapshot.Mounter.
func (s *Snapshotter) Mount(ctx context.Context, id string) (mount.Mount, error) {
	rec, err := s.shelf.Get(ctx, id)
	if err != nil {
		return mount.Mount{}, err
	}
	if rec.State != snapshot.Active {
		return s.merged(rec), nil
	}
	if rec.Parent == "" {
		return mount.Mount{Kind: mount.Bind, Source: s.shelf.Files(id)}, nil
	}
	work := s.shelf.Path(id, "work")
	// A volatile mount, which a caller may make of this, leaves a mark that keeps the
	// kernel from mounting it again. In the same boot nothing was lost.
	unix.Rmdir(work + "/work/incompat/volatile") //nolint:errcheck // seldom there
	return mount.Mount{
		Kind: mount.Overlay, Lower: s.dirs(rec.Below),
		Upper: s.shelf.Files(id), Work: work, UserXattr: s.opts.UserXattr,
	}, nil
}

// merged is the read-only mount of a snapshot's tree.
func (s *Snapshotter) merged(rec shelf.Record) mount.Mount {
	if len(rec.Below) == 0 {
		return mount.Mount{Kind: mount.Bind, Source: s.shelf.Files(rec.ID), ReadOnly: true}
	}
	return mount.Mount{Kind: mount.Overlay, Lower: s.dirs(rec.On()), UserXattr: s.opts.UserXattr}
}

// View implements snapshot.Mounter with a detached mount. An active snapshot is shown as it is
// now; what is written meanwhile may show or not. ErrUnsupported without the right to mount.
func (s *Snapshotter) View(ctx context.Context, id string) (snapshot.View, error) {
	rec, err := s.shelf.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	m := s.merged(rec)
	f, err := mount.View(m)
	switch {
	case err == nil:
		return view{f}, nil
	case m.Kind == mount.Bind && !errdefs.IsNotFound(err):
		return dirView(m.Source), nil // less protected, but the same tree
	case errdefs.IsPermission(err):
		return nil, errdefs.Unsupported("view of snapshot %s: mounting overlays is not permitted here: %w", id, err)
	}
	return nil, fmt.Errorf("view of snapshot %s: %w", id, err)
}

// view is a detached mount. The dot makes that programs which do not follow a
// link at the root of their walk see a directory.
type view struct{ f *os.File }

func (v view) Dir() string  { return fmt.Sprintf("/proc/self/fd/%d/.", v.f.Fd()) }
func (v view) Close() error { return v.f.Close() }

// dirView is a tree that is in one directory.
type dirView string

func (v dirView) Dir() string { return string(v) }
func (dirView) Close() error  { return nil }
