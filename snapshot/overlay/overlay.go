// Package overlay keeps snapshots as the directories of overlayfs: a layer is
// unpacked once, into a directory of its own, and mounted below any number of
// others.
//
//	sup := overlay.Probe(ctx, dir)
//	if sup.OK {
//		s := overlay.Open(dir, overlay.Options{Pins: l, UserXattr: sup.UserXattr, RecordOwner: sup.RecordOwner})
//	}
//
// # On disk
//
// The snapshots of different options do not understand each other and have
// different places below dir: "overlay", "overlay-user" (opaque directories are marked
// in user.* attributes) and "overlay-squash" (as before, and owners recorded in attributes).
// What is there beside the following is told in docs/store.md:
//
//	<id>/fs/     the layer in overlayfs' form: the lower directory for others, the
//	             upper one while the snapshot is active
//	<id>/work/   overlayfs' work directory, while it is active
//
// A snapshot without a parent is a plain directory and is bound, not mounted as overlay. So
// is a tree of one layer.
package overlay

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/mount"
	"github.com/camada/camada/snapshot"
	"github.com/camada/camada/snapshot/internal/shelf"
	"github.com/opencontainers/go-digest"
)

// Options choose how snapshots are kept.
type Options struct {
	// Pins protects each snapshot that is used from garbage collection; nil for none.
	Pins lease.Pinner
	// UserXattr is for user namespaces, where trusted.* attributes cannot be had.
	UserXattr bool
	// RecordOwner is for user namespaces with one id: owners are kept in
	// attributes. It implies UserXattr.
	RecordOwner bool
}

// Snapshotter implements snapshot.Snapshotter, snapshot.Reclaimer and
// snapshot.Reserver.
type Snapshotter struct {
	shelf *shelf.Shelf
	opts  Options
}

var (
	_ snapshot.Snapshotter = (*Snapshotter)(nil)
	_ snapshot.Reclaimer   = (*Snapshotter)(nil)
	_ snapshot.Reserver    = (*Snapshotter)(nil)
)

// Open returns the snapshots below dir, which is absolute and shared by all drivers. Nothing is
// read or made before it is needed.
func Open(dir string, opts Options) *Snapshotter {
	place := "overlay"
	switch {
	case opts.RecordOwner:
		opts.UserXattr = true
		place = "overlay-squash"
	case opts.UserXattr:
		place = "overlay-user"
	}
	return &Snapshotter{shelf: shelf.Open(filepath.Join(dir, place), opts.Pins), opts: opts}
}

// Driver is "overlay".
func (*Snapshotter) Driver() string { return "overlay" }

// Lookup implements snapshot.Resolver.
func (s *Snapshotter) Lookup(ctx context.Context, chainID digest.Digest) (snapshot.Info, error) {
	rec, err := s.shelf.Lookup(ctx, chainID)
	return rec.Info, err
}

// draft begins a snapshot that can be mounted in the end.
func (s *Snapshotter) draft(ctx context.Context, parent string) (*shelf.Draft, shelf.Record, error) {
	d, rec, err := s.shelf.Draft(ctx, parent)
	if err == nil && len(rec.Below) >= mount.MaxLower {
		d.Discard()
		return nil, rec, errdefs.Limit("snapshot on %s: %d layers are below, and more cannot be mounted", parent, len(rec.Below))
	}
	return d, rec, err
}

// Apply implements snapshot.Applier.
func (s *Snapshotter) Apply(ctx context.Context, parent string, layer io.Reader) (snapshot.Info, error) {
	d, rec, err := s.draft(ctx, parent)
	if err != nil {
		return snapshot.Info{}, err
	}
	defer d.Discard()
	root, err := os.OpenRoot(d.Files())
	if err != nil {
		return snapshot.Info{}, errdefs.Unavailable("apply layer: %w", err)
	}
	defer root.Close()
	opts := archive.ApplyOptions{RecordOwner: s.opts.RecordOwner}
	if len(rec.Below) > 0 {
		opts.Whiteouts = archive.WhiteoutOverlay
		if s.opts.UserXattr {
			opts.Whiteouts = archive.WhiteoutOverlayUser
		}
		opts.Lower = s.dirs(rec.Below)
	}
	if _, err := archive.Apply(ctx, root, layer, opts); err != nil {
		return snapshot.Info{}, fmt.Errorf("apply layer: %w", err)
	}
	rec.State = snapshot.Frozen
	rec, err = d.Publish(rec)
	return rec.Info, err
}

// Name implements snapshot.Applier.
func (s *Snapshotter) Name(ctx context.Context, id string, chainID digest.Digest) (snapshot.Info, error) {
	rec, err := s.shelf.Name(ctx, id, chainID)
	return rec.Info, err
}

// Prepare implements snapshot.Preparer.
func (s *Snapshotter) Prepare(ctx context.Context, parent string) (snapshot.Info, error) {
	d, rec, err := s.draft(ctx, parent)
	if err != nil {
		return snapshot.Info{}, err
	}
	defer d.Discard()
	if parent != "" {
		if err := os.Mkdir(d.Dir()+"/work", 0o700); err != nil {
			return snapshot.Info{}, errdefs.Unavailable("prepare snapshot: %w", err)
		}
	}
	rec.State = snapshot.Active
	rec, err = d.Publish(rec)
	return rec.Info, err
}

// Freeze implements snapshot.Preparer.
func (s *Snapshotter) Freeze(ctx context.Context, id string) (snapshot.Info, error) {
	rec, err := s.shelf.Freeze(ctx, id)
	return rec.Info, err
}

// Diff implements snapshot.Preparer.
func (s *Snapshotter) Diff(ctx context.Context, id string, w io.Writer, opts snapshot.DiffOptions) error {
	rec, err := s.shelf.Get(ctx, id)
	if err != nil {
		return err
	}
	o := archive.DiffOptions{
		Clamp: opts.Clamp, Exclude: opts.Exclude, Lower: s.dirs(rec.Below), RecordedOwner: s.opts.RecordOwner, Shared: opts.Shared, Owners: opts.Owners,
	}
	if rec.Parent == "" {
		err = archive.Pack(ctx, s.shelf.Files(id), w, o)
	} else {
		err = archive.Diff(ctx, s.shelf.Files(id), w, o)
	}
	if err != nil {
		return fmt.Errorf("diff of snapshot %s: %w", id, err)
	}
	return nil
}

// dirs are the directories with the files of snapshots.
func (s *Snapshotter) dirs(ids []string) []string {
	if len(ids) == 0 {
		return nil
	}
	dirs := make([]string, len(ids))
	for i, id := range ids {
		dirs[i] = s.shelf.Files(id)
	}
	return dirs
}

// Stat implements snapshot.Keeper.
func (s *Snapshotter) Stat(ctx context.Context, id string) (snapshot.Info, error) {
	rec, err := s.shelf.Get(ctx, id)
	return rec.Info, err
}

// Usage implements snapshot.Keeper.
func (s *Snapshotter) Usage(ctx context.Context, id string) (snapshot.Usage, error) {
	return s.shelf.Usage(ctx, id)
}

// Walk implements snapshot.Keeper.
func (s *Snapshotter) Walk(ctx context.Context, fn func(snapshot.Info) error) error {
	return s.shelf.Walk(ctx, fn)
}

// Remove implements snapshot.Keeper.
func (s *Snapshotter) Remove(ctx context.Context, id string) error { return s.shelf.Remove(ctx, id) }

// Discard implements snapshot.Reclaimer.
func (s *Snapshotter) Discard(ctx context.Context, id string) (finish func(context.Context) error, err error) {
	return s.shelf.Discard(ctx, id)
}

// Reserve implements snapshot.Reserver.
func (s *Snapshotter) Reserve(ctx context.Context, chainID digest.Digest) (release func(), err error) {
	return s.shelf.Reserve(ctx, chainID)
}

// Recover implements snapshot.Reclaimer.
func (s *Snapshotter) Recover(ctx context.Context) error { return s.shelf.Recover(ctx) }

// MarkDurable implements snapshot.Reclaimer.
func (s *Snapshotter) MarkDurable(ctx context.Context) error { return s.shelf.MarkDurable(ctx) }
