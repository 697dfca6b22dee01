// Package lease protects what running verbs work on from garbage collection.
//
// A verb acquires one lease, pins each resource before it relies on it, and
// releases the lease when a ref, a container or nothing points to its work:
//
//	l, err := manager.Acquire(ctx, "build")
//	defer l.Release()
//	if err := l.Pin(ctx, lease.Blob(dgst)); err != nil { ... }
//
// A lease is alive as long as the process that acquired it: it is a file under
// an flock, so a killed process leaves nothing that must time out. A verb that
// pins nothing touches no file.
//
// Whoever deletes resources is a Collector. It deletes inside Collector.Sweep,
// which excludes Pin for a short time: what was pinned before is live, and who pins
// after sees the deletion. A lease that was alive when the Collector began
// counts as live until the Collector ends, also when it was released
// meanwhile: so work that got its ref after the collector had read the refs is
// safe.
//
// # On disk
//
//	leases/pin.lock        shared by Pin, exclusive in Sweep; for moments
//	leases/collector.lock  exclusive while a Collector lives; shared by Release, for a moment
//	leases/<id>            one resource a line; under an exclusive flock of the
//	                       process that holds the lease
package lease

import (
	"context"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Resource names something that can be collected: "blob/<digest>" or
// "snapshot/<id>".
type Resource string

// Blob is the resource of a blob.
func Blob(dgst digest.Digest) Resource { return Resource("blob/" + dgst.String()) }

// Snapshot is the resource of a snapshot by its ID.
func Snapshot(id string) Resource { return Resource("snapshot/" + id) }

// Blob returns the digest when r is a blob.
func (r Resource) Blob() (digest.Digest, bool) {
	s, ok := strings.CutPrefix(string(r), "blob/")
	return digest.Digest(s), ok
}

// Snapshot returns the ID when r is a snapshot.
func (r Resource) Snapshot() (string, bool) { return strings.CutPrefix(string(r), "snapshot/") }

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
