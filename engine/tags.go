package engine

import (
	"context"
	"fmt"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layout"
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

// Untag removes a tag, of the store or of a registry as Rollback has it, and returns its familiar name. Its log stays.
func (e *Engine) Untag(ctx context.Context, name string) (string, error) {
	if t, ok, err := registryName(name); ok || err != nil {
		return e.remoteUntag(ctx, t, err)
	}
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

// Log returns what a tag pointed to, the newest first: one of the store, or of a registry as Rollback has it.
func (e *Engine) Log(ctx context.Context, name string) ([]LogRow, error) {
	if t, ok, err := registryName(name); ok || err != nil {
		return e.remoteLog(ctx, t, err)
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return nil, err
	}
	entries, err := e.refs.Log(ctx, ref)
	if err != nil {
		return nil, e.askRegistry(ctx, ref, err)
	}
	rows := make([]LogRow, len(entries))
	for i, l := range entries {
		rows[i] = LogRow{Entry: fmt.Sprintf("%s@{%d}", ref.Familiar(), i), Time: l.Time, Verb: l.Verb,
			Digest: l.To.Digest.String(), Before: l.From.Digest.String(), Note: l.Note}
	}
	return rows, nil
}

// RollbackOptions say how far a rollback goes.
type RollbackOptions struct {
	// Moves is how many, 1 or more. It does not matter when To is given.
	Moves int
	// To is a digest that the tag had, or its beginning.
	To string
}

// Rollback makes a tag point to what it pointed to before and returns that. The tag is one of the store, or of a registry when it is written
// docker://NAME or ssh://HOST/NAME.
func (e *Engine) Rollback(ctx context.Context, name string, o RollbackOptions) (digest.Digest, error) {
	if t, ok, err := registryName(name); ok || err != nil {
		return e.remoteRollback(ctx, t, o, err)
	}
	ref, err := tagOnly(name)
	if err != nil {
		return "", err
	}
	if o.To != "" {
		return e.rollbackTo(ctx, ref, o.To)
	}
	tag, err := e.refs.Rollback(ctx, ref, o.Moves, e.whole)
	return tag.Descriptor.Digest, e.askRegistry(ctx, ref, err)
}

// rollbackTo makes a tag of the store point to something that it was.
func (e *Engine) rollbackTo(ctx context.Context, ref reference.Reference, to string) (digest.Digest, error) {
	log, err := e.refs.Log(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("rollback: %w", err)
	}
	desc, err := wasOnce(log, to)
	if err == nil {
		err = e.whole(ctx, desc)
	}
	if err != nil {
		return "", fmt.Errorf("rollback %s to %s: %w", ref.Familiar(), to, err)
	}
	now := log[0].To.Digest
	err = e.refs.Set(ctx, ref, desc, image.SetOptions{Verb: layout.VerbRollback, Note: "to " + to, Expect: &now})
	return desc.Digest, err
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
