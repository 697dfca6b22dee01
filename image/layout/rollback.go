package layout

import (
	"context"
	"fmt"
	"slices"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// VerbRollback is the verb of rollbacks in a reflog. It has a meaning: see Rollback.
const VerbRollback = "rollback"

// Rollback moves a ref back to what it pointed to n moves ago, n >= 1, as undo does in
// an editor. Each move to something else is a step forward; a rollback takes
// steps back, so that two rollbacks by one are the same as one by two, and a
// move after a rollback goes on from there:
//
//	build A, build B, build C      A B C     rollback 1 gives B, rollback 2 gives A
//	rollback 1                     A B       rollback 1 gives A
//	build D                        A B D     rollback 1 gives B
//
// C is then reached by its digest, which the log has. A ref that was removed
// counts as one step: rollback 1 brings it back.
//
// Before the ref is moved, check is called to see that the target is still whole
// in the store and to pin it; the error of check ends it. Nil checks nothing.
// Too large an n is ErrNotFound, an immutable ref ErrConflict, and so is a ref
// that was moved meanwhile.
func (r *Refs) Rollback(ctx context.Context, ref reference.Reference, n int, check func(context.Context, ocispec.Descriptor) error) (image.Tag, error) {
	if n < 1 {
		return image.Tag{}, errdefs.Invalid("rollback %s: the number of moves must be 1 or more, not %d", ref.Familiar(), n)
	}
	log, err := r.Log(ctx, ref)
	if err != nil {
		return image.Tag{}, fmt.Errorf("rollback: %w", err)
	}
	target, err := Target(log, n)
	if err != nil {
		return image.Tag{}, fmt.Errorf("rollback %s: %w", ref.Familiar(), err)
	}
	if check != nil {
		if err := check(ctx, target); err != nil {
			return image.Tag{}, fmt.Errorf("rollback %s to %s: %w", ref.Familiar(), target.Digest, err)
		}
	}
	now := log[0].To.Digest
	opts := image.SetOptions{Verb: VerbRollback, Note: fmt.Sprintf("%d back", n), Expect: &now}
	if err := r.Set(ctx, ref, target, opts); err != nil {
		return image.Tag{}, fmt.Errorf("rollback: %w", err)
	}
	return r.Get(ctx, ref.WithTag(ref.Tag))
}

// Target returns where a rollback by n moves leads. log is as Log returns it.
func Target(log []image.LogEntry, n int) (ocispec.Descriptor, error) {
	steps, removed := history(log)
	i := len(steps) - 1 - n
	if removed {
		i++
	}
	if i < 0 {
		back := len(steps) - 1
		if removed {
			back++
		}
		return ocispec.Descriptor{}, errdefs.NotFound("it can go back %d moves, not %d", max(back, 0), n)
	}
	return steps[i], nil
}

// history returns the steps that lead to where a ref stands, the oldest first,
// and whether the ref was removed after them.
func history(log []image.LogEntry) (steps []ocispec.Descriptor, removed bool) {
	for _, e := range slices.Backward(log) {
		if e.To.Digest == "" {
			removed = true
			continue
		}
		// A rollback undoes what came after the last step that led there. It goes
		// back at least one step, and removal is one.
		undone := -1
		if e.Verb == VerbRollback {
			last := len(steps) - 2
			if removed {
				last++
			}
			for i := last; i >= 0 && undone < 0; i-- {
				if steps[i].Digest == e.To.Digest {
					undone = i
				}
			}
		}
		removed = false
		switch {
		case undone >= 0:
			steps = steps[:undone+1]
		case len(steps) == 0 || steps[len(steps)-1].Digest != e.To.Digest:
			steps = append(steps, e.To)
		}
	}
	return steps, removed
}
