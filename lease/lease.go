// Package lease protects what running verbs work on from garbage collection.
//
// A verb acquires one lease, pins each resource before it relies on it, and
// releases the lease when a ref, a container or nothing points to its work:
//
//	l, err := manager.Acquire(ctx, "build")
//	defer l.Release()
//	if err := l.Pin(ctx, lease.Blob(dgst)); err != nil { ... }
//
// A lease is alive as long as the process that acquired it (or a process that
// inherited its descriptor): it is a file under an flock, so a killed process
// leaves nothing that must time out. Whoever deletes resources does so inside
// Sweep, which excludes Pin for a short time: what was pinned before is in
// the set, and what is pinned after sees the deletion.
package lease

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// Resource names something that can be collected: "blob/<digest>" or
// "snapshot/<id>".
type Resource string

// Blob is the resource of a blob.
func Blob(dgst digest.Digest) Resource { return Resource("blob/" + dgst.String()) }

// Snapshot is the resource of a snapshot by its ID.
func Snapshot(id string) Resource { return Resource("snapshot/" + id) }

// Pinner protects resources until its lease ends. Pin is idempotent and
// cheap; after Pin returns the caller must look (again) whether the
// resource is there, and can then rely on it.
type Pinner interface {
	Pin(ctx context.Context, rs ...Resource) error
}

// None is a Pinner for stores that no collector visits (tests, archives).
type None struct{}

// Pin does nothing.
func (None) Pin(context.Context, ...Resource) error { return nil }
