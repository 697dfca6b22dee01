package engine

import (
	"context"
	"slices"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// notePulled is what the log of a name notes when its registry said what it stands for. Files and other stores can give any name to anything.
const notePulled = "as its registry has it"

// baseTime is how long registries may take to confirm what an image says of itself: they are not those of the image.
const baseTime = 5 * time.Second

// Base implements policy.Facts. A build of this store knows it; of other images it is what they say of themselves.
func (f *policyFacts) Base(ctx context.Context) (*policy.Base, error) {
	if f.at.base != nil {
		return f.at.base, nil
	}
	b, err := f.e.buildOf(ctx, f.at.image.ID())
	if err != nil {
		return nil, err
	}
	if b != nil {
		v := baseVertex(b)
		if v == nil {
			return &policy.Base{Name: "scratch", Built: true}, nil
		}
		return &policy.Base{Name: v.Base, Digest: v.Digest.String(), Built: true}, nil
	}
	notes := f.at.image.Manifest.Annotations
	if name := notes[ocispec.AnnotationBaseImageName]; name != "" {
		return &policy.Base{Name: name, Digest: notes[ocispec.AnnotationBaseImageDigest]}, nil
	}
	return nil, errdefs.NotFound("neither the history of builds nor the image says what it was built from")
}

// Confirm implements policy.Facts. The log of the store's names remembers what registries said, and what it does not they are asked. An image that says itself what it is built from
// has to have all layers of that.
func (f *policyFacts) Confirm(ctx context.Context, b *policy.Base) (*policy.Base, error) {
	if b.Built {
		return f.confirm(ctx, b)
	}
	return f.confirmWithin(ctx, b, baseTime)
}

func (f *policyFacts) confirmWithin(ctx context.Context, b *policy.Base, limit time.Duration) (*policy.Base, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errdefs.Unavailable("it did not confirm the base image in %s", limit))
	defer cancel()
	return f.confirm(ctx, b)
}

func (f *policyFacts) confirm(ctx context.Context, b *policy.Base) (*policy.Base, error) {
	if b.Name == "scratch" {
		if !b.Built {
			return nil, errdefs.Unavailable("that it is built from nothing is only said by the image itself")
		}
		return b, nil
	}
	ref, err := reference.Parse(b.Name)
	if err != nil {
		return nil, err
	}
	if ref.Digest != "" {
		ref.Tag = ""
	}
	dgst, err := digest.Parse(b.Digest)
	if err != nil {
		return nil, errdefs.Unavailable("nothing says which %s it is built from, by the digest", ref.FamiliarName())
	}
	proven := &policy.Base{Name: ref.String(), Digest: b.Digest, Built: b.Built}
	if b.Built {
		here, err := f.e.wasPulled(ctx, ref, dgst)
		if err != nil || here {
			return proven, err
		}
	}
	src := f.baseRegistry(ref)
	desc, err := src.Resolve(ctx, dgst.String())
	if errdefs.IsNotFound(err) {
		return nil, errdefs.NotFound("its registry has no %s@%s: the name was given to it elsewhere", ref.FamiliarName(), dgst)
	}
	if err == nil && !b.Built {
		err = f.hasLayersOf(ctx, src, desc)
	}
	if err != nil {
		return nil, err
	}
	tagged := false
	if ref.Tag != "" {
		if tagged, err = leadsTo(ctx, src, ref.Tag, dgst); err != nil {
			return nil, err
		}
	}
	if !tagged {
		ref.Tag, ref.Digest = "", dgst
		proven.Name = ref.String()
	}
	return proven, nil
}

// wasPulled reports whether the registry of a name said, at some time, that it stands for a manifest. A name without a tag is any of its repository. A log that cannot be read proves nothing.
func (e *Engine) wasPulled(ctx context.Context, ref reference.Reference, manifest digest.Digest) (bool, error) {
	tops, err := e.pulledAs(ctx, ref)
	if err != nil && !errdefs.IsCorrupt(err) && !errdefs.IsNotFound(err) {
		return false, err
	}
	for _, top := range tops {
		if top.Digest == manifest {
			return true, nil
		}
		// An index that went meanwhile proves nothing any more.
		if list, err := manifestsOf(ctx, e.content, top); err == nil && slices.ContainsFunc(list, func(d ocispec.Descriptor) bool { return d.Digest == manifest }) {
			return true, nil
		}
	}
	return false, nil
}

// pulledAs is what the registry of a name said that it stands for. ErrCorrupt means that it is not all: a log cannot be read.
func (e *Engine) pulledAs(ctx context.Context, ref reference.Reference) (tops []ocispec.Descriptor, err error) {
	add := func(l image.LogEntry) {
		if l.Verb == "pull" && l.Note == notePulled && !slices.ContainsFunc(tops, func(d ocispec.Descriptor) bool { return d.Digest == l.To.Digest }) {
			tops = append(tops, l.To)
		}
	}
	if ref.Tag == "" {
		err := e.refs.WalkLogs(ctx, func(r reference.Reference, l image.LogEntry) error {
			if r.Name() == ref.Name() {
				add(l)
			}
			return nil
		})
		return tops, err
	}
	log, err := e.refs.Log(ctx, ref)
	for _, l := range log {
		add(l)
	}
	return tops, err
}

// noteConfirmed notes that the registry of a name has what it stands for here already, which may have come otherwise; once.
func (e *Engine) noteConfirmed(ctx context.Context, ref reference.Reference, top ocispec.Descriptor, note string) error {
	tops, err := e.pulledAs(ctx, ref)
	if err != nil || note == "" || slices.ContainsFunc(tops, func(d ocispec.Descriptor) bool { return d.Digest == top.Digest }) {
		return nil //nolint:nilerr // a log that cannot be read is for fsck
	}
	err = e.refs.Set(ctx, ref, top, image.SetOptions{Verb: "pull", Note: note, Expect: &top.Digest, Always: true})
	if errdefs.IsConflict(err) { // it was moved meanwhile
		return nil
	}
	return err
}

// baseSource is a repository that may have a base image.
type baseSource interface {
	content.Provider
	// Resolve returns what a tag or a digest stands for; ErrNotFound when it is not there.
	Resolve(ctx context.Context, at string) (ocispec.Descriptor, error)
}

// baseRegistry is the repository of a name. A registry that judges what it is sent looks at its own storage.
func (f *policyFacts) baseRegistry(ref reference.Reference) baseSource {
	if f.at.registry != nil && len(f.names) > 0 && f.names[0].Host == ref.Host {
		return storedRepository{f.at.registry.storage, ref.Repository}
	}
	return f.e.registries().Repository(ref)
}

// hasLayersOf is nil when the image begins with all layers of a base.
func (f *policyFacts) hasLayersOf(ctx context.Context, src baseSource, base ocispec.Descriptor) error {
	img, err := image.Open(ctx, src, base, f.at.image.Config.Platform)
	if err != nil {
		return err
	}
	if n := len(img.DiffIDs); n == 0 || n > len(f.at.image.DiffIDs) || !slices.Equal(img.DiffIDs, f.at.image.DiffIDs[:n]) {
		return errdefs.Conflict("it does not have the layers of %s, from which it says to be built", base.Digest)
	}
	return nil
}

// leadsTo reports whether a tag stands for a manifest now, or for an index with it.
func leadsTo(ctx context.Context, src baseSource, tag string, manifest digest.Digest) (bool, error) {
	top, err := src.Resolve(ctx, tag)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil || top.Digest == manifest {
		return err == nil, err
	}
	list, err := manifestsOf(ctx, src, top)
	return slices.ContainsFunc(list, func(d ocispec.Descriptor) bool { return d.Digest == manifest }), err
}
