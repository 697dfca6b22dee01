// Package snapshot makes layers mountable.
//
// A snapshot is a set of mounts that is fed a layer stream. A committed
// snapshot never changes; it is known by its chainID (OCI image-spec, config.md,
// "Layer ChainID"). An active snapshot is a writable one on top of a
// committed or frozen one: a container's root, or a build step's.
//
//	Apply(parent, layer stream) ────────────────┐
//	                                            ▼
//	Prepare(parent) ──► active ──► Freeze ──► frozen ──► Name(chainID) ──► committed
//	                      │                     │
//	                      └──── Remove ◄────────┘
//
// A build freezes a step's snapshot as soon as the step ends, and prepares
// the next step on top of it while the layer is still being hashed; Name publishes
// it under its chainID once that is known. When two processes unpack or name
// the same chainID, the first one wins and the other's snapshot is dropped
// (Name then returns the ID of the winner; the loser stays usable by
// whoever holds its ID until it is removed).
//
// Callers never fill a snapshot's directory themselves.
package snapshot

import (
	"context"
	"io"
	"time"

	"github.com/camada/camada/mount"
	"github.com/opencontainers/go-digest"
)

// State is where a snapshot stands.
type State string

// The states.
const (
	Active    State = "active"
	Frozen    State = "frozen"
	Committed State = "committed"
)

// Info describes a snapshot.
type Info struct {
	// ID is short, made of [a-z0-9], and unique in the store.
	ID string `json:"id"`
	// Parent is the ID below, "" for the lowest.
	Parent string `json:"parent,omitempty"`
	// ChainID is set once the snapshot is Committed.
	ChainID digest.Digest `json:"chainID,omitempty"`
	State   State         `json:"state"`
	Created time.Time     `json:"created"`
}

// Usage is what a snapshot takes on disk by itself, parents not counted.
type Usage struct {
	Bytes  int64
	Inodes int64
}

// Resolver finds committed snapshots.
type Resolver interface {
	// Lookup returns the committed snapshot of a chain; ErrNotFound when this chain
	// is not unpacked. The snapshot is pinned by the store's lease.
	Lookup(ctx context.Context, chainID digest.Digest) (Info, error)
}

// Applier unpacks layers.
type Applier interface {
	// Apply makes a frozen snapshot of the snapshot parent ("" for none) and
	// the layer, an uncompressed tar stream, which is read to its end. Whiteouts
	// are obeyed. On an error nothing is left.
	Apply(ctx context.Context, parent string, layer io.Reader) (Info, error)
	// Name commits a frozen snapshot under its chainID. See the package
	// comment for what happens when the chain is there already.
	Name(ctx context.Context, id string, chainID digest.Digest) (Info, error)
}

// Preparer makes writable snapshots.
type Preparer interface {
	// Prepare makes an active snapshot on top of parent ("" for an empty one).
	Prepare(ctx context.Context, parent string) (Info, error)
	// Freeze ends the writing. The snapshot must not be mounted writable any more.
	Freeze(ctx context.Context, id string) (Info, error)
	// Diff writes what an active or frozen snapshot changed over its parent
	// as a layer: a deterministic, uncompressed tar. See archive.Diff.
	Diff(ctx context.Context, id string, w io.Writer, opts DiffOptions) error
}

// DiffOptions shape the layer that Diff writes.
type DiffOptions struct {
	// Clamp, when not zero, is the latest modification time in the layer:
	// later times become it (SOURCE_DATE_EPOCH).
	Clamp time.Time
	// Exclude are slash-separated paths relative to the root that never get into the layer:
	// mount points that the runtime made and were empty before.
	Exclude []string
	// Shared says that somebody may be writing to the snapshot, and may be hostile.
	Shared bool
	// Owners, when it is not nil, says what owner a file has in the layer in place of its own.
	Owners func(uid, gid int) (int, int)
}

// Mounter tells how to mount a snapshot.
type Mounter interface {
	// Mount returns the mount of a snapshot: writable for an active one, read-only
	// otherwise. Nothing is mounted by this call.
	Mount(ctx context.Context, id string) (mount.Mount, error)
	// View opens the snapshot's tree for reading without a mount that others
	// can see. Close the View when done.
	View(ctx context.Context, id string) (View, error)
}

// View is a snapshot's merged tree, open for reading.
type View interface {
	// Dir is a path to the root of the tree, valid in this process until
	// Close (it may be of the form /proc/self/fd/N). Names below it may be hostile
	// symbolic links: use os.OpenRoot(Dir()) or openat2 with RESOLVE_IN_ROOT.
	Dir() string
	io.Closer
}

// Keeper lists and removes snapshots.
type Keeper interface {
	Stat(ctx context.Context, id string) (Info, error)
	Usage(ctx context.Context, id string) (Usage, error)
	Walk(ctx context.Context, fn func(Info) error) error
	// Remove removes a snapshot; ErrConflict while another one has it as its parent.
	Remove(ctx context.Context, id string) error
}

// Reclaimer is what a Snapshotter that keeps directories can do beside: asked
// for with a type assertion by garbage collection and by builds.
type Reclaimer interface {
	// Discard is Remove in two steps: the snapshot is gone when it returns, which takes
	// microseconds whatever the size, and finish deletes its files. What is not
	// finished is left to Recover.
	Discard(ctx context.Context, id string) (finish func(context.Context) error, err error)
	// Recover deletes what discarded snapshots and processes that died have
	// left. It touches nothing that a live process works on.
	Recover(ctx context.Context) error
	// MarkDurable makes the committed snapshots that are some minutes old survive a power
	// cut. Others are forgotten at the next boot: their bytes may never have
	// reached the disk.
	MarkDurable(ctx context.Context) error
}

// Reserver is what a Snapshotter can do that several processes use: asked for with a
// type assertion by those who unpack.
type Reserver interface {
	// Reserve waits until no other process has the chain reserved. Look the chain up
	// after it, and release it when it is unpacked. It spares work and guards nothing.
	Reserve(ctx context.Context, chainID digest.Digest) (release func(), err error)
}

// Snapshotter is all roles.
type Snapshotter interface {
	Resolver
	Applier
	Preparer
	Mounter
	Keeper
	// Driver is the name of the implementation: "overlay", "native".
	Driver() string
}
