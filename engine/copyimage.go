package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layoutdir"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// copies is how many blobs are copied at once between places that are not the store.
const copies = 6

// CopyImageOptions say what CopyImage copies. Places are docker://NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] or
// names of the store.
type CopyImageOptions struct {
	Source, Destination string
	// All copies an index with all its images; otherwise the image for Platform alone is copied.
	All bool
	// Platform is os/arch[/variant]; "" is the host's, or the only one that there is.
	Platform string
	// Referrers copies what refers to the image, too: SBOM, provenance, signatures.
	Referrers bool
}

// CopyImageResult is what was copied.
type CopyImageResult struct {
	Source, Destination string
	Digest              digest.Digest
	MediaType           string
	// Size is that of the manifest or index, in bytes.
	Size int64
	// Referrers is how many manifests that refer to the image were copied with it.
	Referrers int
	Traffic
}

// Traffic is what a copy moved.
type Traffic struct {
	// Copied blobs and manifests were sent, of Bytes in all; Present ones were at the destination, or were mounted there.
	Copied, Present int
	Bytes           int64
}

// tally counts what the events of a copy tell.
type tally struct {
	progress.Sink
	mu sync.Mutex
	Traffic
}

// Emit implements progress.Sink.
func (t *tally) Emit(e progress.Event) {
	t.mu.Lock()
	switch e.State {
	case progress.Done:
		t.Copied++
		t.Bytes += e.Total
	case progress.Cached:
		t.Present++
	}
	t.mu.Unlock()
	t.Sink.Emit(e)
}

// CopyImage copies an image from one place to another. Blobs go straight through.
func (e *Engine) CopyImage(ctx context.Context, opts CopyImageOptions, sink progress.Sink) (CopyImageResult, error) {
	defer e.waits.show(sink)()
	res := CopyImageResult{}
	from, err := parseTransport(opts.Source)
	if err != nil {
		return res, err
	}
	to, err := parseTransport(opts.Destination)
	if err != nil {
		return res, err
	}
	if opts.All && opts.Platform != "" {
		return res, errdefs.Invalid("all images, or that of one platform: not both")
	}
	src, err := e.openOrigin(ctx, from, progress.Or(sink))
	if err != nil {
		return res, fmt.Errorf("copy %s: %w", from, err)
	}
	root := src.root
	if !opts.All {
		root, err = onlyOne(ctx, src, root, opts.Platform)
	}
	if err == nil && from.kind == transportRegistry && to.kind == transportStore {
		err = e.enforceGraph(ctx, policy.Request{Action: policy.Pull, Names: []reference.Reference{from.ref}}, src, root, progress.Or(sink))
	}
	if err == nil {
		res, err = e.copyFrom(ctx, src, root, to, opts.Referrers, progress.Or(sink))
	}
	res.Source, res.Destination = from.String(), to.String()
	if err := errors.Join(err, src.close()); err != nil {
		return res, fmt.Errorf("copy %s to %s: %w", from, to, err)
	}
	return res, nil
}

// onlyOne is the image of an index for a platform; "" is the host's, or the only one. What is no index is taken as it is.
func onlyOne(ctx context.Context, p content.Provider, root ocispec.Descriptor, name string) (ocispec.Descriptor, error) {
	if !image.IsIndex(root.MediaType) {
		return root, nil
	}
	want, err := onePlatform(name)
	if err != nil {
		return root, err
	}
	desc, err := image.Select(ctx, p, root, want)
	if errdefs.IsNotFound(err) && name == "" {
		if all, listErr := image.Manifests(ctx, p, root); listErr == nil && len(all) == 1 {
			return plainDescriptor(all[0]), nil
		}
	}
	return plainDescriptor(desc), err
}

// plainDescriptor leaves out what an index says of an entry.
func plainDescriptor(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// copyFrom copies an image of src, and what refers to it, to a place.
func (e *Engine) copyFrom(ctx context.Context, src *copySource, root ocispec.Descriptor, to transport, referrers bool, sink progress.Sink) (CopyImageResult, error) {
	res := CopyImageResult{Digest: root.Digest, MediaType: root.MediaType, Size: root.Size}
	var about []ocispec.Descriptor
	var err error
	if referrers {
		if about, err = e.aboutAt(ctx, src, root); err != nil {
			return res, err
		}
	}
	count := &tally{Sink: renamed{sink, "copy-" + to.String() + "-", "copy"}}
	o := transfer.Options{Concurrency: copies, Partial: src.repo == nil, Progress: count}
	switch to.kind {
	case transportRegistry:
		err = e.copyToRegistry(ctx, src, root, about, to.ref, o)
	case transportLayout:
		path, word := to.split()
		err = copyToLayout(ctx, src, root, about, path, word, o)
	case transportStore:
		err = e.copyToStore(ctx, src, root, about, to.rest, o)
	default:
		err = e.copyToArchive(ctx, src, root, about, to, o)
	}
	res.Referrers, res.Traffic = len(about), count.Traffic
	return res, err
}

func (e *Engine) copyToRegistry(ctx context.Context, src *copySource, root ocispec.Descriptor, about []ocispec.Descriptor, ref reference.Reference, o transfer.Options) error {
	if ref.Digest != "" && ref.Digest != root.Digest {
		return errdefs.Invalid("the image is %s, and cannot be stored as %s", root.Digest, ref.Digest)
	}
	if err := e.enforceGraph(ctx, policy.Request{Action: policy.Push, Names: []reference.Reference{ref}}, src, root, o.Progress); err != nil {
		return err
	}
	repo := e.registries().Repository(ref)
	put := func(tag string, d ocispec.Descriptor) error {
		target := repo.Target(tag, d)
		if src.repo != nil && src.repo.Host() == repo.Host() && src.repo.Name() != repo.Name() {
			target.MountFrom = func(digest.Digest) []string { return []string{src.repo.Name()[len(src.repo.Host())+1:]} }
		}
		return transfer.Push(ctx, src, target, d, o)
	}
	if err := put(ref.Tag, root); err != nil {
		return err
	}
	for _, d := range about {
		if err := put("", d); err != nil {
			return fmt.Errorf("what refers to it, %s: %w", d.Digest, err)
		}
	}
	return nil
}

func copyToLayout(ctx context.Context, src *copySource, root ocispec.Descriptor, about []ocispec.Descriptor, path, word string, o transfer.Options) (err error) {
	dir, err := layoutdir.Create(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	for _, d := range append([]ocispec.Descriptor{root}, about...) {
		if err := transfer.Copy(ctx, src, dir, d, o); err != nil {
			return err
		}
	}
	// What refers to an image is an entry without a name.
	for _, d := range about {
		if err := dir.Add(ctx, d, ""); err != nil {
			return err
		}
	}
	return dir.Add(ctx, root, word)
}

func (e *Engine) copyToStore(ctx context.Context, src *copySource, root ocispec.Descriptor, about []ocispec.Descriptor, name string, o transfer.Options) error {
	ref, err := tagOnly(name)
	if err != nil {
		return err
	}
	return e.copyInto(ctx, src, root, about, []reference.Reference{ref}, "copy", o)
}

// copyInto copies an image and what refers to it into the store, and names it.
func (e *Engine) copyInto(ctx context.Context, src *copySource, root ocispec.Descriptor, about []ocispec.Descriptor, refs []reference.Reference, verb string, o transfer.Options) error {
	o.Resume = src.repo != nil
	for _, d := range append([]ocispec.Descriptor{root}, about...) {
		if err := transfer.Copy(ctx, src, e.content, d, o); err != nil {
			return err
		}
	}
	if _, err := e.setTags(ctx, refs, root, verb, ""); err != nil {
		return err
	}
	for _, d := range about {
		if err := e.addReferrer(ctx, d); err != nil {
			return err
		}
	}
	return nil
}
