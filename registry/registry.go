// Package registry is what an OCI registry keeps: repositories with blobs, manifests, tags, the log of each tag, and referrers
// (OCI distribution-spec 1.1).
//
//	store, err := local.Open(ctx, dir, local.Options{})
//	defer store.Close()
//	up, err := store.NewUpload(ctx, "team/app", digest.SHA256)
//	_, err = up.Append(ctx, body)
//	info, err := up.Commit(ctx, dgst)
//	m, err := registry.ParseManifest(mediaType, data)
//	err = store.PutManifest(ctx, "team/app", m, registry.PutOptions{Tags: []string{"1.2"}, Mover: registry.Mover{Who: "ci"}})
//	tag, err := store.Tag(ctx, "team/app", "1.2")
//
// Storage is the contract that drivers fulfil; package registrytest holds the tests that each of them passes. The
// drivers know nothing of HTTP, users or rules, and whoever calls them has checked names and rights.
//
// # What holds for every driver
//
// A method that returns nil has made its work durable, and visible to everyone who asks later, on any replica.
// A blob or manifest belongs to repositories: one that is in another repository only is ErrNotFound. Bytes are kept once.
// A manifest is stored only when all that it requires is in its repository, and what a stored manifest requires is not
// swept: so every tag leads to a complete image at every moment. Every move of a tag is one line of its log.
// Sweep runs beside everything else, and takes nothing that somebody was told is there until a grace time has passed.
package registry

import (
	"context"
	"io"
	"time"

	"github.com/camada/camada/content"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Storage is all that a registry keeps. It is safe for use by many goroutines.
type Storage interface {
	Blobs
	Uploads
	Manifests
	Tags
	Catalog
	Keeper
	Notes
	// Close ends the use of the storage. Uploads under way are kept.
	io.Closer
}

// Blobs are the blobs of repositories.
type Blobs interface {
	// StatBlob tells of a blob; ErrNotFound when the repository has not got it. Who asked may rely on
	// it for the sweep's grace time.
	StatBlob(ctx context.Context, repository string, dgst digest.Digest) (content.Info, error)
	// OpenBlob opens a blob. Nothing is verified while it is read: the driver verified the bytes when they came.
	OpenBlob(ctx context.Context, repository string, dgst digest.Digest) (content.Reader, error)
	// PutBlob stores all bytes of r, which must be what desc names (ErrCorrupt otherwise, and nothing is stored); a Size of
	// -1 is not known. Writing what is there already is no error.
	PutBlob(ctx context.Context, repository string, desc ocispec.Descriptor, r io.Reader) error
	// MountBlob makes a blob of the repository from one of repository's too, without moving its bytes;
	// ErrNotFound when from has not got it.
	MountBlob(ctx context.Context, repository, from string, dgst digest.Digest) error
	// DeleteBlob takes a blob out of a repository; its bytes go with a later sweep. ErrNotFound when it is not there,
	// ErrConflict when a manifest of the repository requires it.
	DeleteBlob(ctx context.Context, repository string, dgst digest.Digest) error
	// WalkBlobs calls fn for each blob of a repository, in no order. Nobody is told by it that a blob is there: a sweep does not wait for that.
	WalkBlobs(ctx context.Context, repository string, fn func(content.Info) error) error
}

// Redirector is a Storage whose blobs clients may fetch from where they lie.
type Redirector interface {
	// BlobURL is where a blob can be fetched for some minutes, without credentials; "" when it can not. ErrNotFound as StatBlob.
	BlobURL(ctx context.Context, repository string, dgst digest.Digest) (string, error)
}

// Uploads are blobs that are on their way in.
type Uploads interface {
	// NewUpload begins an upload whose blob will be named by a digest of the algorithm.
	NewUpload(ctx context.Context, repository string, alg digest.Algorithm) (Upload, error)
	// OpenUpload goes on with an upload, on any replica: ErrNotFound when there is none (any more), ErrUnavailable
	// while somebody else has it open.
	OpenUpload(ctx context.Context, repository, id string) (Upload, error)
}

// Upload is one upload, open. It is used by one goroutine, which closes it.
type Upload interface {
	// ID names the upload: a UUID that nobody can guess, see NewUploadID.
	ID() string
	// Size is how many bytes are stored.
	Size() int64
	// Append stores what r has, after what is stored. When r or the storage fails, what came before is kept as far as Size
	// then says. It returns how many bytes were added. They are there for the next process; when the machine itself stops before Commit,
	// OpenUpload may find fewer, or none.
	Append(ctx context.Context, r io.Reader) (int64, error)
	// Commit makes a blob of the bytes. When they are not what dgst names it is ErrCorrupt, and the upload is gone. A digest of
	// another algorithm than the upload's is checked as well, by reading the bytes again.
	Commit(ctx context.Context, dgst digest.Digest) (content.Info, error)
	// Cancel throws the upload away.
	Cancel(ctx context.Context) error
	// Close lets go of the upload and keeps it, unless it was committed or cancelled.
	Close() error
}

// Manifests are the manifests and indexes of repositories, and what refers to them.
type Manifests interface {
	// Manifest reads a manifest. Its Data must not be changed: the driver may hand it to others.
	Manifest(ctx context.Context, repository string, dgst digest.Digest) (Manifest, error)
	// PutManifest stores a manifest and moves tags to it, in that order. It is a *MissingError (ErrNotFound) when something that m requires is
	// not in the repository, and ErrConflict when a tag must not be moved; nothing is stored then. Who stores it again with
	// more that it requires makes that stay as well.
	PutManifest(ctx context.Context, repository string, m Manifest, opts PutOptions) error
	// DeleteManifest removes a manifest and the tags that point to it. ErrConflict when an index of the repository requires it.
	DeleteManifest(ctx context.Context, repository string, dgst digest.Digest, by Mover) error
	// Referrers lists the manifests of the repository whose subject dgst is, sorted by digest; none is no error.
	Referrers(ctx context.Context, repository string, dgst digest.Digest) ([]ocispec.Descriptor, error)
	// WalkManifests calls fn for each manifest of a repository, in no order.
	WalkManifests(ctx context.Context, repository string, fn func(ManifestInfo) error) error
}

// ManifestInfo is what is known of a manifest without reading it.
type ManifestInfo struct {
	Digest digest.Digest
	Size   int64
	Pushed time.Time
}

// PutOptions of a manifest.
type PutOptions struct {
	// Tags are moved to the manifest.
	Tags []string
	// Expect, when not nil, is what each tag must point to now ("" for nothing); otherwise ErrConflict.
	Expect *digest.Digest
	// Mover goes to the log of each tag.
	Mover Mover
}

// Mover is who moves a tag, and how.
type Mover struct {
	// Who is the user's name; "" is nobody in particular.
	Who string
	// Verb is what was done: "push", "rollback", "delete", "restore".
	Verb string
}

// Tags are the tags of repositories.
type Tags interface {
	// Tag tells what a tag points to; ErrNotFound when there is none.
	Tag(ctx context.Context, repository, tag string) (Tag, error)
	// ListTags returns the names of at most n tags that come after the given one, in byte order; n < 0 is all.
	ListTags(ctx context.Context, repository, after string, n int) ([]string, error)
	// MoveTag points a tag to a manifest of the repository (ErrNotFound when it has not got it), or removes it. A tag that points there already
	// is left alone.
	MoveTag(ctx context.Context, repository, tag string, m Move) error
	// TagLog returns the moves of a tag, the newest first; ErrNotFound when it never was. A removed tag keeps its log
	// until a sweep finds that its last move is older than SweepOptions.Log.
	TagLog(ctx context.Context, repository, tag string) ([]LogEntry, error)
}

// Tag is a tag.
type Tag struct {
	Name string
	// Descriptor of the manifest.
	Descriptor ocispec.Descriptor
	Updated    time.Time
}

// Move is a move of a tag.
type Move struct {
	// To is the manifest; "" removes the tag, which is ErrNotFound when it is not there.
	To digest.Digest
	// Expect as in PutOptions.
	Expect *digest.Digest
	Mover  Mover
}

// LogEntry is one move of a tag.
type LogEntry struct {
	Time time.Time `json:"time"`
	// From and To are what the tag pointed to; an empty digest means that there was (or is) no such tag.
	From digest.Digest `json:"from,omitempty"`
	To   digest.Digest `json:"to,omitempty"`
	Verb string        `json:"verb"`
	Who  string        `json:"who,omitempty"`
}

// Catalog lists repositories.
type Catalog interface {
	// ListRepositories returns the names of at most n repositories that come after the given one, in byte order; n < 0 is all. A repository is
	// there from its first manifest or blob until its last manifest is swept.
	ListRepositories(ctx context.Context, after string, n int) ([]string, error)
}

// Keeper keeps the storage in order, beside everything else that goes on.
type Keeper interface {
	// Sweep removes what nothing leads to any more. One sweep runs at a time, on all replicas together: ErrUnavailable for a second one.
	Sweep(ctx context.Context, opts SweepOptions) (SweepReport, error)
	// Scrub reads everything and calls fn for each thing that is not as it should be.
	Scrub(ctx context.Context, fn func(Problem) error) (ScrubReport, error)
}

// SweepOptions say what is kept.
type SweepOptions struct {
	// Grace keeps what was pushed, mounted or asked for within it; 0 means an hour. Tests use less.
	Grace time.Duration
	// Log keeps what a tag pointed to within it, so that it can be rolled back or brought back; 0 means 30 days, negative nothing.
	Log time.Duration
	// Untagged keeps manifests that no tag, log, index or subject leads to, counted from their push; 0 means for ever.
	Untagged time.Duration
	// Uploads keeps uploads that nobody went on with; 0 means a day.
	Uploads time.Duration
	// DryRun removes nothing.
	DryRun bool
}

// SweepReport says what a sweep removed (or would).
type SweepReport struct {
	Manifests int `json:"manifests"`
	Blobs     int `json:"blobs"`
	Uploads   int `json:"uploads"`
	// Bytes that were freed.
	Bytes int64 `json:"bytes"`
	// Kept is how many blobs are left, KeptBytes what they take.
	Kept      int   `json:"kept"`
	KeptBytes int64 `json:"keptBytes"`
}

// Problem is something that is not as it should be.
type Problem struct {
	// Repository is "" for what belongs to none in particular.
	Repository string `json:"repository,omitempty"`
	// What is "bad-blob", "missing-blob", "missing-manifest", "bad-manifest", "bad-tag", "stray".
	What   string        `json:"what"`
	Digest digest.Digest `json:"digest,omitempty"`
	// Text is for people.
	Text string `json:"text"`
}

// ScrubReport says what was read.
type ScrubReport struct {
	Repositories int   `json:"repositories"`
	Manifests    int   `json:"manifests"`
	Tags         int   `json:"tags"`
	Blobs        int   `json:"blobs"`
	Bytes        int64 `json:"bytes"`
	Problems     int   `json:"problems"`
}
