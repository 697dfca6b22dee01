// Package native keeps snapshots as whole copies of their trees, for machines where overlayfs
// is not to be had.
//
//	s := native.Open(dir, native.Options{Pins: l})
//
// A snapshot begins as a copy of its parent. Where the file system shares blocks between
// files (XFS, Btrfs, bcachefs, ZFS) the copy costs metadata only; elsewhere it
// costs the size of the tree. Whiteouts delete. What changed is found by comparing with
// the parent, but only among files that were touched after the copy.
//
// # On disk
//
// Snapshots live below "native" in the directory of all drivers, or below "native-squash" when owners
// are recorded in attributes. <id>/fs is the tree; docs/store.md tells the rest.
package native

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
	// RecordOwner is for user namespaces with one id: owners are kept in attributes.
	RecordOwner bool
}

// Snapshotter implements snapshot.Snapshotter, snapshot.Reclaimer and
// snapshot.Reserver.
type Snapshotter struct {
	shelf  *shelf.Shelf
	squash bool
}

var (
	_ snapshot.Snapshotter = (*Snapshotter)(nil)
	_ snapshot.Reclaimer   = (*Snapshotter)(nil)
	_ snapshot.Reserver    = (*Snapshotter)(nil)
)

// Open returns the snapshots below dir, which is absolute and shared by all drivers. Nothing is
// read or made before it is needed.
func Open(dir string, opts Options) *Snapshotter {
	place := "native"
	if opts.RecordOwner {
		place = "native-squash"
	}
	return &Snapshotter{shelf: shelf.Open(filepath.Join(dir, place), opts.Pins), squash: opts.RecordOwner}
}

// Driver is "native".
func (*Snapshotter) Driver() string { return "native" }

// Lookup implements snapshot.Resolver.
func (s *Snapshotter) Lookup(ctx context.Context, chainID digest.Digest) (snapshot.Info, error) {
	rec, err := s.shelf.Lookup(ctx, chainID)
	return rec.Info, err
}

// draft begins a snapshot as a copy of its parent.
func (s *Snapshotter) draft(ctx context.Context, parent string) (*shelf.Draft, shelf.Record, error) {
	d, rec, err := s.shelf.Draft(ctx, parent)
	if err != nil || parent == "" {
		return d, rec, err
	}
	err = copyTree(ctx, s.shelf.Files(parent), d.Files(), s.squash)
	if err == nil {
		rec.Copied, err = copied(d)
	}
	if err != nil {
		d.Discard()
		return nil, rec, errdefs.Unavailable("copy snapshot %s: %w", parent, err)
	}
	return d, rec, nil
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
	if _, err := archive.Apply(ctx, root, layer, archive.ApplyOptions{RecordOwner: s.squash}); err != nil {
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
	o := archive.DiffOptions{Clamp: opts.Clamp, Exclude: opts.Exclude, RecordedOwner: s.squash, Shared: opts.Shared, Owners: opts.Owners}
	if rec.Parent == "" {
		err = archive.Pack(ctx, s.shelf.Files(id), w, o)
	} else {
		o.Since = since(rec.Copied)
		err = archive.DiffTrees(ctx, s.shelf.Files(rec.Parent), s.shelf.Files(id), w, o)
	}
	if err != nil {
		return fmt.Errorf("diff of snapshot %s: %w", id, err)
	}
	return nil
}

// Mount implements snapshot.Mounter.
func (s *Snapshotter) Mount(ctx context.Context, id string) (mount.Mount, error) {
	rec, err := s.shelf.Get(ctx, id)
	if err != nil {
		return mount.Mount{}, err
	}
	return mount.Mount{Kind: mount.Bind, Source: s.shelf.Files(id), ReadOnly: rec.State != snapshot.Active}, nil
}

// View implements snapshot.Mounter. The directory is the snapshot itself:
// whoever holds the View must not write.
func (s *Snapshotter) View(ctx context.Context, id string) (snapshot.View, error) {
	if _, err := s.shelf.Get(ctx, id); err != nil {
		return nil, err
	}
	return view(s.shelf.Files(id)), nil
}

type view string

func (v view) Dir() string { return string(v) }
func (view) Close() error  { return nil }

// Stat implements snapshot.Keeper.
func (s *Snapshotter) Stat(ctx context.Context, id string) (snapshot.Info, error) {
	rec, err := s.shelf.Get(ctx, id)
	return rec.Info, err
}

// Usage implements snapshot.Keeper. Blocks that are shared with the parent count.
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
