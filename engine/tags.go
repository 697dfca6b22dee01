package engine

import (
	"context"
	"fmt"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Tag makes the tag target point to what source points to. When both are the same name,
// only its immutability is set.
func (e *Engine) Tag(ctx context.Context, source, target string, immutable bool) error {
	f, err := e.resolve(ctx, source)
	if err != nil {
		return err
	}
	ref, err := tagOnly(target)
	if err != nil {
		return err
	}
	if err := e.refs.Set(ctx, ref, f.descriptor, image.SetOptions{Verb: "tag", Note: source, Immutable: immutable}); err != nil {
		return err
	}
	e.noteImage(ctx, "tag", f.descriptor.Digest.String(), ref.Familiar())
	return nil
}

// tagOnly parses a name that is to be written: it must have a tag and no digest.
func tagOnly(name string) (reference.Reference, error) {
	ref, err := reference.Parse(name)
	if err != nil {
		return ref, err
	}
	if ref.Digest != "" {
		return ref, errdefs.Invalid("%s: a digest cannot be tagged; write NAME:TAG", name)
	}
	return ref, nil
}

// setTags points each name to desc.
func (e *Engine) setTags(ctx context.Context, refs []reference.Reference, desc ocispec.Descriptor, verb, note string) ([]string, error) {
	var names []string
	for _, r := range refs {
		if err := e.refs.Set(ctx, r, desc, image.SetOptions{Verb: verb, Note: note}); err != nil {
			return names, fmt.Errorf("tag %s: %w", r.Familiar(), err)
		}
		names = append(names, r.Familiar())
		switch verb {
		case "pull": // noted by Pull, also when nothing moved
		case "load", "import":
			e.noteImage(ctx, verb, desc.Digest.String(), r.Familiar())
		default:
			e.noteImage(ctx, "tag", desc.Digest.String(), r.Familiar())
		}
	}
	return names, nil
}

// Untag removes a tag and returns its familiar name. Its log stays.
func (e *Engine) Untag(ctx context.Context, name string) (string, error) {
	ref, err := tagOnly(name)
	if err != nil {
		return "", err
	}
	if err := e.refs.Delete(ctx, ref, image.SetOptions{Verb: "untag"}); err != nil {
		return "", fmt.Errorf("untag %s: %w", ref.Familiar(), err)
	}
	e.noteImage(ctx, "untag", ref.Familiar(), ref.Familiar())
	return ref.Familiar(), nil
}

// Log returns what a tag pointed to, the newest first.
func (e *Engine) Log(ctx context.Context, name string) ([]LogRow, error) {
	ref, err := reference.Parse(name)
	if err != nil {
		return nil, err
	}
	entries, err := e.refs.Log(ctx, ref)
	if err != nil {
		return nil, err
	}
	rows := make([]LogRow, len(entries))
	for i, l := range entries {
		rows[i] = LogRow{Entry: fmt.Sprintf("%s@{%d}", ref.Familiar(), i), Time: l.Time, Verb: l.Verb,
			Digest: l.To.Digest.String(), Before: l.From.Digest.String(), Note: l.Note}
	}
	return rows, nil
}

// Rollback makes a tag point to what it pointed to n moves ago and returns that.
func (e *Engine) Rollback(ctx context.Context, name string, n int) (digest.Digest, error) {
	ref, err := tagOnly(name)
	if err != nil {
		return "", err
	}
	tag, err := e.refs.Rollback(ctx, ref, n, e.whole)
	return tag.Descriptor.Digest, err
}

// whole checks that all blobs of an image are in the store, and pins them.
func (e *Engine) whole(ctx context.Context, desc ocispec.Descriptor) error {
	return image.Walk(ctx, e.content, desc, image.WalkOptions{}, func(d ocispec.Descriptor) error {
		if len(d.URLs) > 0 {
			return nil // kept elsewhere by design (image-spec, non-distributable layers)
		}
		_, err := e.content.Stat(ctx, d.Digest)
		return err
	})
}
