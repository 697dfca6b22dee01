// Package build makes images from Dockerfiles.
//
//	b := build.New(build.Parts{Content: store, Snapshots: snaps, CacheDir: dir, Executor: exec, Images: images})
//	res, err := b.Build(ctx, build.Options{Context: "."}, sink)
//	// res.Manifest is in store; pointing a ref to it is the caller's.
//
// # What a build's result depends on
//
// Nothing but the Dockerfile, the build arguments, the platform, the base
// images' bytes, the context's files (path, mode, link target, content) and
// what RUN steps do. Times, owners, inode numbers and the place of the context,
// host name, user and the order in which steps end do not matter:
//
//   - One time stands for the whole build, the epoch: Options.SourceDateEpoch, or
//     else the time at which the final stage's base image was created, or else 0
//     (1970-01-01). It becomes the image's and the new history entries' time.
//   - Files of COPY, ADD and WORKDIR layers get the epoch as their time.
//   - Files that RUN steps leave with a later time get the epoch; earlier times,
//     which come from archives that the step unpacked, stay.
//   - RUN steps see SOURCE_DATE_EPOCH, unless the build argument or ENV of that name
//     says otherwise, and always the same host name.
//   - Files of the context belong to root unless --chown says otherwise. That is so where they are mounted, too;
//     there they have the epoch as their time, or their own in steps that mount a cache.
//
// # The cache
//
// See build/cache. A step's key is made of its definition, the chainID of the
// layers below it and the digests of the files that it copies; so what
// matters is what a step starts from, not how that came to be. A copy from another stage is looked up by
// that stage's chainID, and then by the files that it takes.
package build

import (
	"context"
	"time"

	"github.com/camada/camada/build/cache"
	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/content"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/dockerfile/lint"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/image"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/snapshot"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Content is what a build needs of a content store.
type Content interface {
	content.Provider
	content.Statter
	content.Ingester
	content.Syncer
}

// Prefetcher is a Content that can take long to open a blob.
type Prefetcher interface {
	// Prefetch is told of a blob that will be opened soon. It does not wait.
	Prefetch(ctx context.Context, desc ocispec.Descriptor)
}

// Snapshots is what a build needs of a snapshotter.
type Snapshots interface {
	snapshot.Resolver
	snapshot.Applier
	snapshot.Preparer
	snapshot.Mounter
	Remove(ctx context.Context, id string) error
}

// Base is an image that a stage starts from or copies from.
type Base struct {
	// Name is how the image is called in full, e.g. docker.io/library/debian:12.
	Name string
	// Manifest is the descriptor of the manifest for the platform asked for.
	Manifest ocispec.Descriptor
	// Config is the image's config as it is stored.
	Config []byte
	// Layers are the layers, the lowest first, as many as the config has diffIDs.
	Layers []ocispec.Descriptor
	// Annotations are those of the manifest. What they describe of the image is kept: see package dockerfile.
	Annotations map[string]string
}

// Resolver finds images by the names that FROM and COPY --from use.
type Resolver interface {
	// Resolve returns the image name for platform p. With pull it looks for a
	// newer one where the name comes from. ErrNotFound when there is none.
	Resolve(ctx context.Context, name string, p ocispec.Platform, pull bool) (Base, error)
}

// Fetcher brings what ADD names on other machines. Paths that it returns stay until the build has ended, and
// within that time the same name brings the same content.
type Fetcher interface {
	// File fetches a file.
	File(ctx context.Context, u fetch.URL, p fetch.Progress) (fetch.File, error)
	// Commit asks what a git source means now.
	Commit(ctx context.Context, g fetch.Git) (fetch.Commit, error)
	// Checkout returns a directory with the files of a git source, whose modes are 0755 or 0644.
	Checkout(ctx context.Context, g fetch.Git) (dir string, err error)
}

// Lookup knows results of steps that were made elsewhere.
type Lookup interface {
	// Known reports whether there is a result of the operation on top of any layers.
	Known(op digest.Digest) bool
	// Find returns the result of a step, whose layer the Content can open.
	Find(key cache.Key) (cache.Result, bool)
}

// Parts are what a Builder is made of.
type Parts struct {
	// Content keeps layers, configs and manifests.
	Content Content
	// Snapshots keeps root file systems.
	Snapshots Snapshots
	// CacheDir keeps what is remembered between builds; it is made when needed.
	// Removing it is harmless.
	CacheDir string
	// Executor runs RUN steps; nil refuses them.
	Executor op.Executor
	// Images finds base images; nil knows none.
	Images Resolver
	// Fetcher brings what ADD names on other machines; nil refuses that.
	Fetcher Fetcher
	// Foreign tells whether Executor can execute programs of another platform; nil is of none.
	Foreign func(ocispec.Platform) bool
	// Pins protects what the build uses from garbage collection until the
	// caller has set a ref; nil is lease.None.
	Pins lease.Pinner
}

// Options say what to build.
type Options struct {
	// Context is the directory that COPY and ADD read. "" is no context.
	Context string
	// Fetched tells that Context is a copy, made for this build, of what came from elsewhere. Then Dockerfile is a path in
	// it, and no link in it leads out of it.
	Fetched bool
	// Contexts finds named contexts; nil knows none.
	Contexts Contexts
	// Dockerfile is the path of the Dockerfile; "" is "Dockerfile" in Context.
	// With Source it is only the name that messages use.
	Dockerfile string
	// Source is the text of the Dockerfile, when it does not come from a file.
	Source []byte
	// Target is the name or number of the stage to build; "" is the last one.
	Target string
	// BuildArgs are the values given for ARG.
	BuildArgs map[string]string
	// NoCache looks up no step in the cache. What is built is still recorded.
	NoCache bool
	// NoCacheStages are names of stages whose steps are not looked up in the cache.
	NoCacheStages []string
	// CacheFrom are asked, in their order, for what is not in the cache.
	CacheFrom []Lookup
	// Pull asks the Resolver for newer base images.
	Pull bool
	// Platform to build for; nil is the host's.
	Platform *ocispec.Platform
	// SourceDateEpoch is the time of the build, see the package comment.
	SourceDateEpoch *time.Time
	// Network of RUN steps; "" is op.NetworkDefault.
	Network op.Network
	// Settings of all RUN steps.
	Settings op.Settings
	// Allow is what RUN steps may ask for.
	Allow graph.Entitlements
	// Labels are added to the image.
	Labels map[string]string
	// Annotations are those of the image's manifest, besides those that the comments of the Dockerfile make.
	Annotations map[string]string
	// Prefix stands before the names of steps; builds of one Builder that run side by side have different ones.
	Prefix string
	// Zstd compresses layers with zstd instead of gzip.
	Zstd bool
	// Parallel is how many steps are executed at once; 0 is the number of cores, and at least sixteen.
	Parallel int
	// Lint says what the linter looks for besides the build checks; nil is nothing. Its threshold is that of what the build tells.
	Lint *lint.Config
	// Observer is told what is done and why; nil is nobody.
	Observer Observer
	// Guard looks at what is made before it is kept; nil is nobody.
	Guard Guard
}

// Result is what a build made. Everything in it is durable.
type Result struct {
	// Manifest and Config are in the content store.
	Manifest ocispec.Descriptor
	Config   ocispec.Descriptor
	// Image is the config.
	Image image.Config
	// Layers are the descriptors in the manifest.
	Layers []ocispec.Descriptor
	// Steps is how many vertices were needed, Cached how many of them were
	// found in the cache.
	Steps, Cached int
	// Warnings are what the build checks found, in the order of the Dockerfile's lines.
	Warnings []dockerfile.Warning
}

// Builder builds. It is safe for use by many goroutines.
type Builder struct {
	p       Parts
	flights flights
	// buffers are those of the layers that were written.
	buffers layer.Pool
}

// New returns a Builder made of p.
func New(p Parts) *Builder {
	if p.Pins == nil {
		p.Pins = lease.None{}
	}
	return &Builder{p: p}
}

// Build makes the image that opts describe. Events go to sink, one ID per
// step. A mistake in the Dockerfile, and a step that fails, is returned as a
// *dockerfile.Error, which says where. When Build fails nothing is left of it but
// finished steps in the cache.
func (b *Builder) Build(ctx context.Context, opts Options, sink progress.Sink) (*Result, error) {
	return b.build(ctx, opts, progress.Or(sink))
}
