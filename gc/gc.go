// Package gc removes what nothing refers to any more, and counts what is there.
//
//	res, err := gc.Collect(ctx, gc.Store{
//		Blobs: local.Open(root, local.Options{}), // no Pinner: a collector must pin nothing
//		Snapshots: snapshotter, Ingests: blobs, Leases: lease.Open(root),
//		Roots: []gc.Source{gc.Refs(refs), gc.Reflog(refs, gc.DefaultKeep(), time.Now()), containers},
//	}, gc.Options{})
//
// A collection first marks what the roots reach and then sweeps the rest. Other
// processes go on meanwhile: what they work on is in leases (package lease),
// and is never removed. The order keeps this safe: the collection begins, then it reads
// the leases, then the roots, and what was leased at any time since it began
// stays.
//
// Whoever moves a ref to something therefore pins all parts of it before it
// looks whether they are there, and until the ref is set.
package gc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/snapshot"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// DefaultIngestKeep is how long an ingest that nobody writes is kept, so that
// an interrupted download can go on.
const DefaultIngestKeep = 7 * 24 * time.Hour

// Blobs are the blobs to be collected.
type Blobs interface {
	content.Provider
	content.Walker
	content.Deleter
}

// Snapshots are the snapshots to be collected.
type Snapshots interface {
	Walk(ctx context.Context, fn func(snapshot.Info) error) error
	// Remove is refused with ErrConflict while another snapshot lies on it.
	Remove(ctx context.Context, id string) error
	Usage(ctx context.Context, id string) (snapshot.Usage, error)
}

// Discarder is an optional capability of Snapshots: Discard makes a snapshot
// vanish at once, while nobody can pin, and is refused as Remove is; finish,
// which may be nil, frees its disk space, which can take long. Without it Remove does both.
type Discarder interface {
	Discard(ctx context.Context, id string) (finish func(context.Context) error, err error)
}

// Ingests are partial writes to be collected.
type Ingests interface {
	// RemoveIngests removes the ones that nobody writes and that were last written
	// before a time, or only counts them.
	RemoveIngests(ctx context.Context, before time.Time, dryRun bool) (n int, size int64, err error)
}

// Referrers tell which manifests refer to which. What refers to something that stays, stays.
type Referrers interface {
	Of(ctx context.Context, subject digest.Digest) ([]ocispec.Descriptor, error)
	Walk(ctx context.Context, fn func(subject digest.Digest) error) error
	Forget(ctx context.Context, subject digest.Digest) error
}

// Root is something that must stay, and all that it leads to.
type Root struct {
	// Kind says what holds it, for reports: "ref", "reflog", "lease", "container", "cache".
	Kind string
	// Name of the holder.
	Name string
	// Descriptor is a blob, when its Digest is set: an index, manifest or config leads
	// on, any other is a blob alone. Without a MediaType the blob is looked into.
	Descriptor ocispec.Descriptor
	// Snapshot is the ID of a snapshot; its parents stay too.
	Snapshot string
	// ChainID is that of a committed snapshot.
	ChainID digest.Digest
}

// Source yields roots. An error ends the collection before anything is removed.
type Source func(ctx context.Context, yield func(Root) error) error

// Store is what is collected.
type Store struct {
	Blobs Blobs
	// Snapshots, Ingests and Referrers may be nil.
	Snapshots Snapshots
	Ingests   Ingests
	Referrers Referrers
	Leases    *lease.Manager
	Roots     []Source
}

// Options shape a collection.
type Options struct {
	// DryRun counts what would be removed.
	DryRun bool
	// IngestKeep is how long ingests that nobody writes are kept; 0 is DefaultIngestKeep,
	// less than 0 keeps none.
	IngestKeep time.Duration
}

// Count is a number of things and the bytes that they take on disk.
type Count struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
}

func (c *Count) add(bytes int64) {
	c.Count++
	c.Bytes += bytes
}

// Result is what a collection removed and kept.
type Result struct {
	// Removed, or what would be in a dry run.
	Blobs     Count `json:"blobs"`
	Snapshots Count `json:"snapshots"`
	Ingests   Count `json:"ingests"`
	// Kept blobs and snapshots; the snapshots that roots name are not measured.
	KeptBlobs     Count `json:"keptBlobs"`
	KeptSnapshots Count `json:"keptSnapshots"`
	// Damaged are manifests, indexes and configs that roots reach and that cannot be
	// read; see package fsck.
	Damaged []digest.Digest `json:"damaged,omitempty"`
}

// Freed is the sum of all that was removed, in bytes.
func (r Result) Freed() int64 { return r.Blobs.Bytes + r.Snapshots.Bytes + r.Ingests.Bytes }

// Collect removes what no root reaches. Only one collection runs at a time; another
// one waits for it. When it ends early nothing that is referred to is gone, and the Result
// says what was removed until then.
func Collect(ctx context.Context, s Store, opts Options) (Result, error) {
	return collect(ctx, s, opts, false)
}

func collect(ctx context.Context, s Store, opts Options, measure bool) (res Result, err error) {
	c, err := s.Leases.Collect(ctx)
	if err != nil {
		return res, fmt.Errorf("collect garbage: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	m, err := mark(ctx, s, c)
	if err != nil {
		return res, fmt.Errorf("collect garbage: %w", err)
	}
	res.Damaged = m.damaged
	w := &sweeper{leases: c, marks: m, opts: opts, res: &res, measure: measure}
	if s.Snapshots != nil {
		if err := w.snapshots(ctx, s.Snapshots); err != nil {
			return res, fmt.Errorf("collect snapshots: %w", err)
		}
	}
	if s.Referrers != nil && !opts.DryRun {
		if err := w.forget(ctx, s.Referrers); err != nil {
			return res, fmt.Errorf("collect referrers: %w", err)
		}
	}
	if err := w.blobs(ctx, s.Blobs); err != nil {
		return res, fmt.Errorf("collect blobs: %w", err)
	}
	if s.Ingests != nil {
		keep := opts.IngestKeep
		if keep == 0 {
			keep = DefaultIngestKeep
		}
		before := time.Now().Add(-max(keep, 0))
		res.Ingests.Count, res.Ingests.Bytes, err = s.Ingests.RemoveIngests(ctx, before, opts.DryRun)
		if err != nil {
			return res, fmt.Errorf("collect ingests: %w", err)
		}
	}
	return res, nil
}
