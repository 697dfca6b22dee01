package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/s3/internal/object"
	"github.com/opencontainers/go-digest"
)

// PutManifest stores a manifest and moves tags to it.
//
// The manifest is written first as one that is on its way in, so that from then on nobody takes what it requires; then it is looked whether all of that is
// there; then it is live. Tags are treated alike: first they say that they will point to it.
func (s *Store) PutManifest(ctx context.Context, repository string, m registry.Manifest, opts registry.PutOptions) error {
	r, err := s.repo(repository)
	if err != nil {
		return err
	}
	var moves []*move
	for i, tag := range opts.Tags {
		if slices.Contains(opts.Tags[:i], tag) {
			continue
		}
		mv, err := s.newMove(r, tag, m.Descriptor, opts.Expect, opts.Mover)
		if err != nil {
			return err
		}
		moves = append(moves, mv)
	}
	for try := 0; ; try++ {
		err = s.putOnce(ctx, r, m, moves)
		if !isBegin(err) || try == 5 {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("repository %s, manifest %s: %w", repository, m.Descriptor.Digest, err)
	}
	return nil
}

func (s *Store) putOnce(ctx context.Context, r repo, m registry.Manifest, moves []*move) error {
	undo := func(err error) error {
		for _, mv := range moves {
			if !mv.stays {
				mv.drop(ctx)
			}
		}
		return err
	}
	for _, mv := range moves {
		if err := mv.begin(ctx); err != nil {
			return undo(err)
		}
	}
	made, err := s.store(ctx, r, m)
	if err != nil {
		return undo(err)
	}
	err = each(ctx, len(moves), func(ctx context.Context, i int) error { return moves[i].finish(ctx) })
	if err != nil {
		if made != nil && errdefs.IsConflict(err) && !isBegin(err) {
			// Somebody else was faster with a tag: then nothing is stored, unless others have come to use it.
			end, cancel := detached(ctx)
			defer cancel()
			if by, e := s.requiredBy(end, r, m.Descriptor.Digest); e == nil && by == "" && len(moves) == 1 {
				_, _ = s.set(end, made, deleted)
			}
		}
		return undo(err)
	}
	return nil
}

// store makes a manifest live. It returns the cell when there was none before.
func (s *Store) store(ctx context.Context, r repo, m registry.Manifest) (*cell, error) {
	key := r.manifest(m.Descriptor.Digest)
	h := head{Pushed: s.o.Now().UTC(), MediaType: m.Descriptor.MediaType, Subject: m.Subject}
	var made *cell
	var old *cell // nil means that nothing is there, as is mostly so
	err := again(ctx, func() error {
		made = nil
		var err error
		switch {
		case old != nil && old.State == live:
			return nil
		case old != nil && old.State.visible():
			// It kept all that it requires.
			_, err = s.set(ctx, old, live)
		default:
			made, err = s.bring(ctx, r, key, old, h, m)
		}
		if errdefs.IsConflict(err) && !isFinal(err) {
			c, e := s.find(ctx, key)
			if e == nil {
				c, e = s.overDead(ctx, c)
			}
			if e != nil {
				return e
			}
			old = c
		}
		return err
	})
	return made, err
}

// bring brings a manifest in that is not there.
func (s *Store) bring(ctx context.Context, r repo, key string, old *cell, h head, m registry.Manifest) (*cell, error) {
	held, names := old, named(m)
	if len(names) > 0 || m.Subject != "" {
		var err error
		h.State = pending
		if held, err = s.write(ctx, key, old, h, m.Data); err != nil {
			return nil, err
		}
		if err := s.require(ctx, r, m.Descriptor.Digest, names, len(m.Requires)); err != nil {
			end, cancel := detached(ctx)
			defer cancel()
			if _, e := s.set(end, held, deleted); e != nil && !errdefs.IsConflict(e) {
				err = errors.Join(err, e)
			}
			return nil, err
		}
	}
	if m.Subject != "" {
		// Before the manifest is live: so that no list leaves it out.
		if _, err := s.o.Put(ctx, r.referrer(m.Subject, m.Descriptor.Digest), nil, object.Always()); err != nil {
			return nil, err
		}
	}
	h.State = live
	return s.write(ctx, key, held, h, m.Data)
}

// named are what a manifest requires, first what m says, and then what the document names beyond that: m may be a copy of which not all has come.
func named(m registry.Manifest) []registry.Requirement {
	all := slices.Clone(m.Requires)
	whole, err := registry.ParseManifest(m.Descriptor.MediaType, m.Data, m.Descriptor.Digest.Algorithm())
	if err != nil {
		return all // it has been read before
	}
	for _, q := range whole.Requires {
		if !slices.ContainsFunc(m.Requires, func(o registry.Requirement) bool { return o.Digest == q.Digest }) {
			all = append(all, q)
		}
	}
	return all
}

// require looks whether all is there that a manifest requires, the first n of what it names, and makes sure that it stays: who wants to delete a thing finds
// first who requires it. The rest stays in the same way when it comes.
func (s *Store) require(ctx context.Context, r repo, m digest.Digest, names []registry.Requirement, n int) error {
	var mu sync.Mutex
	var missing []digest.Digest
	err := each(ctx, len(names), func(ctx context.Context, i int) error {
		q := names[i]
		if _, err := s.o.Put(ctx, r.needer(q.Digest, m), nil, object.Always()); err != nil {
			return err
		}
		if i >= n {
			return nil
		}
		var err error
		if q.Manifest {
			_, err = s.findManifest(ctx, r, q.Digest, true)
		} else {
			_, err = s.link(ctx, r, q.Digest, true)
		}
		if errdefs.IsNotFound(err) {
			mu.Lock()
			defer mu.Unlock()
			missing = append(missing, q.Digest)
			return nil
		}
		return err
	})
	if err == nil && len(missing) > 0 {
		slices.Sort(missing)
		err = &registry.MissingError{Digests: slices.Compact(missing)}
	}
	return err
}

// DeleteManifest removes a manifest and the tags that point to it. It is marked first: whoever comes to need it meanwhile takes the mark away, and it is all
// looked at again.
func (s *Store) DeleteManifest(ctx context.Context, repository string, dgst digest.Digest, by registry.Mover) error {
	r, err := s.repo(repository)
	if err != nil {
		return err
	}
	err = again(ctx, func() error { return s.deleteOnce(ctx, r, dgst, by) })
	if err != nil {
		return fmt.Errorf("repository %s: delete manifest %s: %w", repository, dgst, err)
	}
	return nil
}

func (s *Store) deleteOnce(ctx context.Context, r repo, dgst digest.Digest, by registry.Mover) error {
	c, err := s.find(ctx, r.manifest(dgst))
	if err != nil {
		return err
	}
	if c == nil || !c.State.visible() {
		return errdefs.NotFound("it is not in the repository")
	}
	if c, err = s.set(ctx, c, leaving); err != nil {
		return err
	}
	index, err := s.requiredBy(ctx, r, dgst)
	if err == nil && index != "" {
		err = finalError{errdefs.Conflict("the index %s requires it", index)}
	}
	if err == nil {
		err = s.untag(ctx, r, dgst, by)
	}
	if err != nil {
		end, cancel := detached(ctx)
		defer cancel()
		if _, e := s.set(end, c, live); e != nil && !errdefs.IsConflict(e) {
			return errors.Join(unfinal(err), e)
		}
		return err
	}
	// Its bytes stay until a sweep has removed what leads from what it required to it.
	_, err = s.set(ctx, c, deleted)
	return err
}

// untag removes all tags that point to a manifest, and the intents to point there.
func (s *Store) untag(ctx context.Context, r repo, dgst digest.Digest, by registry.Mover) error {
	to := func(i intent) bool { return i.To == dgst }
	return s.walkCells(ctx, r.tags(), func(c *cell) error {
		t, err := tagOf(c)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(t.Next, to) {
			if err := s.dropIntents(ctx, c.key, to); err != nil {
				return err
			}
		}
		if t.target() != dgst {
			return nil
		}
		m, err := s.newMove(r, base(c.key), descriptorOf("", nil), &dgst, by)
		if err != nil {
			return err
		}
		err = m.finish(ctx)
		if errdefs.IsConflict(err) || errdefs.IsNotFound(err) {
			return nil // it points elsewhere now
		}
		return err
	})
}
