// Package content keeps blobs: immutable bytes that are named by their digest.
//
// The roles are small interfaces of one or two verbs; a function asks for the
// roles that it needs and no more. Store composes them all.
//
// # The life of a blob
//
// A blob begins as an ingest: a writer, named by a reference of the caller's
// choice, to which bytes are appended. The bytes are hashed while they are
// written. Commit checks size and digest, makes the bytes durable and
// publishes them under their digest in one step; before Commit nothing can be
// seen of them, after it they never change. Close without Commit keeps the
// ingest, so that an interrupted download goes on where it stopped: a later
// Writer with the same reference starts at the offset that was reached. Abort
// throws an ingest away. A blob that no ref, reflog entry, lease or container
// reaches is removed by garbage collection.
//
// Writing a blob that is already there is not an error: Commit then drops the
// new bytes and returns nil.
//
//	w, err := store.Writer(ctx, content.WriterOptions{Ref: "layer-" + dgst.String()})
//	defer w.Close()
//	// ... read from the source at w.Offset() on, write to w ...
//	desc, err := w.Commit(ctx, size, dgst)
//
// ReadAll, WriteBlob, WriteReader and Exists do the common things over the
// roles.
package content

import (
	"context"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Info is what is known of a blob.
type Info struct {
	Digest digest.Digest
	// Size in bytes.
	Size int64
	// ModTime is when the blob was committed.
	ModTime time.Time
}

// Reader reads one blob. It verifies nothing: use ReadAll or NewVerifyReader for
// bytes that are parsed. The caller closes it.
type Reader interface {
	io.Reader
	io.ReaderAt
	io.Closer
	// Size is the blob's size in bytes.
	Size() int64
}

// Provider opens blobs. Open returns an error of class ErrNotFound when the
// blob is not there, and ErrCorrupt when desc.Size is not -1 or 0 and differs from
// the blob's.
type Provider interface {
	Open(ctx context.Context, desc ocispec.Descriptor) (Reader, error)
}

// Statter tells of a blob without opening it; ErrNotFound when it is not there.
type Statter interface {
	Stat(ctx context.Context, dgst digest.Digest) (Info, error)
}

// WriterOptions choose an ingest.
type WriterOptions struct {
	// Ref names the ingest, so that it can be resumed; a Ref in use by another
	// live writer gives ErrUnavailable. An empty Ref makes an ingest of its own that is
	// thrown away by Close.
	Ref string
	// Algorithm of the digest that the blob will be stored under; the default
	// is digest.SHA256. sha512 is the other one.
	Algorithm digest.Algorithm
	// NoSync leaves out the fsync at Commit; the caller then calls
	// Syncer.Sync with the digest before anything durable points to the blob.
	NoSync bool
}

// Writer is one ingest under way. It is used by one goroutine.
type Writer interface {
	io.Writer
	// Offset is how many bytes are in the ingest.
	Offset() int64
	// Digest is the digest of the bytes so far.
	Digest() digest.Digest
	// Truncate drops all bytes, to start again from 0.
	Truncate() error
	// Commit publishes the bytes. size -1 and an empty digest mean "as
	// written"; otherwise a difference is ErrCorrupt, and the ingest is gone. A
	// digest of another algorithm than the Writer's is ErrInvalid. The descriptor
	// that is returned has digest and size and no media type.
	// After a Commit that succeeded the Writer is of no more use; Close and
	// Abort are harmless. When ctx is done nothing is published and the ingest stays.
	Commit(ctx context.Context, size int64, expected digest.Digest) (ocispec.Descriptor, error)
	// Close ends the use of the Writer and keeps a named ingest for later.
	Close() error
	// Abort ends the use of the Writer and removes the ingest.
	Abort() error
}

// Ingester makes writers.
type Ingester interface {
	Writer(ctx context.Context, opts WriterOptions) (Writer, error)
}

// Syncer makes blobs durable that were committed with NoSync. It is cheap for
// blobs that are durable already, so a caller may name all blobs of a graph,
// and should: another process may have committed some of them with NoSync.
// A digest that is not there is ErrNotFound.
type Syncer interface {
	Sync(ctx context.Context, dgsts ...digest.Digest) error
}

// Deleter removes a blob; ErrNotFound when it is not there.
type Deleter interface {
	Delete(ctx context.Context, dgst digest.Digest) error
}

// Walker calls fn for each blob, in no order; an error of fn ends the walk.
type Walker interface {
	Walk(ctx context.Context, fn func(Info) error) error
}

// Store is all roles of a place that keeps blobs.
type Store interface {
	Provider
	Statter
	Ingester
	Syncer
	Deleter
	Walker
}
