package image

import (
	"context"
	"time"

	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Tag is a ref: a local name that points to a descriptor.
type Tag struct {
	Reference  reference.Reference
	Descriptor ocispec.Descriptor
	// Updated is when it was last moved.
	Updated time.Time
	// Immutable tags cannot be moved or removed.
	Immutable bool
}

// LogEntry is one line of a ref's reflog, which is append-only.
type LogEntry struct {
	Time time.Time `json:"time"`
	// From and To are what the ref pointed to before and after; a zero Digest means that
	// there was (or is) no such ref.
	From ocispec.Descriptor `json:"from"`
	To   ocispec.Descriptor `json:"to"`
	// Verb is what moved it: "build", "tag", "load", "rollback", "untag".
	Verb string `json:"verb"`
	// Note is free text for people, e.g. the source of a tag.
	Note string `json:"note,omitempty"`
}

// SetOptions say how a ref is moved.
type SetOptions struct {
	// Verb goes to the reflog.
	Verb string
	// Note goes to the reflog.
	Note string
	// Always writes a line to the reflog also when nothing moves.
	Always bool
	// Immutable makes the ref immutable after this move.
	Immutable bool
	// Expect, when not nil, is what the ref must point to now ("" for nothing);
	// otherwise Set fails with ErrConflict.
	Expect *digest.Digest
}

// RefReader finds refs.
type RefReader interface {
	// Get returns the ref; ErrNotFound when there is none. It uses the tag of ref
	// and, when ref has a digest too, checks it (ErrNotFound when it differs).
	Get(ctx context.Context, ref reference.Reference) (Tag, error)
	// List returns all refs, sorted by name.
	List(ctx context.Context) ([]Tag, error)
}

// RefWriter moves refs. Each move is atomic and durable when it returns, is appended
// to the reflog, and is refused with ErrConflict when the ref is immutable
// and points elsewhere.
type RefWriter interface {
	Set(ctx context.Context, ref reference.Reference, desc ocispec.Descriptor, opts SetOptions) error
	Delete(ctx context.Context, ref reference.Reference, opts SetOptions) error
}

// RefLogger tells what refs pointed to.
type RefLogger interface {
	// Log returns the entries of one ref, the newest first; ErrNotFound when it never was.
	// A removed ref keeps its log.
	Log(ctx context.Context, ref reference.Reference) ([]LogEntry, error)
	// WalkLogs calls fn for each entry of each ref that ever was. A log that cannot be read ends nothing, and is ErrCorrupt
	// after all others.
	WalkLogs(ctx context.Context, fn func(reference.Reference, LogEntry) error) error
}

// Refs is all roles.
type Refs interface {
	RefReader
	RefWriter
	RefLogger
}
