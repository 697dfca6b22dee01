package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// verb is what the logs of tags say of moves that upstream made.
const verb = "cache"

// once runs fn for all who ask for a key at the same time. It goes on when one of them goes away, and ends after a time.
func once[V any](ctx context.Context, s *Storage, key string, lasts time.Duration, fn func(context.Context) (V, error)) (V, error) {
	ch := s.asks.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(s.ctx, lasts)
		defer cancel()
		v, err := fn(ctx)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = errdefs.Unavailable("upstream did not answer within %s: %w", lasts, err)
		}
		return v, err
	})
	select {
	case r := <-ch:
		v, _ := r.Val.(V)
		return v, r.Err
	case <-ctx.Done():
		var none V
		return none, context.Cause(ctx)
	}
}

// Tag tells what a tag points to. One that is copied is looked up upstream when that was not done lately.
func (s *Storage) Tag(ctx context.Context, repository, tag string) (registry.Tag, error) {
	src, there := s.find(repository)
	here, err := s.Storage.Tag(ctx, repository, tag)
	if src == nil || err != nil && !errdefs.IsNotFound(err) {
		return here, err
	}
	key, found := repository+":"+tag, err == nil
	switch {
	case found && s.fresh.has(key):
		return here, nil
	case found && s.rests(src):
		s.counts.stale.Add(1)
		return here, nil
	case !found && s.absent.has(key):
		return here, err
	}
	lasts := askTime
	if found {
		lasts = checkTime
	}
	t, err := once(ctx, s, "tag "+key, lasts, func(ctx context.Context) (registry.Tag, error) {
		return s.check(ctx, src, repository, there, tag)
	})
	if err != nil && found && ctx.Err() == nil && !errdefs.IsNotFound(err) && !errdefs.IsPermission(err) {
		s.counts.stale.Add(1)
		s.rest(src, fmt.Errorf("look up %s again, of which there is a copy: %w", key, err))
		return here, nil
	}
	return t, err
}

// check looks a tag up upstream, and takes over what it is.
func (s *Storage) check(ctx context.Context, src *source, repository, there, tag string) (registry.Tag, error) {
	key := repository + ":" + tag
	here, err := s.Storage.Tag(ctx, repository, tag)
	if err != nil && !errdefs.IsNotFound(err) {
		return here, err
	}
	found := err == nil
	desc, err := src.Upstream.Resolve(ctx, there, tag)
	switch {
	case errdefs.IsNotFound(err):
		s.absent.add(key, struct{}{}, src.Absent)
		if found { // it is gone there; its log keeps what it was
			gone := registry.Move{Expect: &here.Descriptor.Digest, Mover: registry.Mover{Verb: verb}}
			if err := s.Storage.MoveTag(ctx, repository, tag, gone); err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
				return here, err
			}
		}
		return registry.Tag{}, err
	case err != nil:
		return here, err
	case found && desc.Digest == here.Descriptor.Digest:
		s.fresh.add(key, struct{}{}, src.Fresh)
		return here, nil
	}
	if err := s.point(ctx, src, repository, there, tag, desc.Digest); err != nil {
		return here, err
	}
	s.fresh.add(key, struct{}{}, src.Fresh)
	s.absent.drop(key)
	return s.Storage.Tag(ctx, repository, tag)
}

// point points a tag to a manifest, which is got when it is not here.
func (s *Storage) point(ctx context.Context, src *source, repository, there, tag string, to digest.Digest) error {
	mover := registry.Mover{Verb: verb}
	if _, err := s.Storage.Manifest(ctx, repository, to); err == nil {
		err = s.Storage.MoveTag(ctx, repository, tag, registry.Move{To: to, Mover: mover})
		if !errdefs.IsNotFound(err) {
			return err
		}
	} else if !errdefs.IsNotFound(err) {
		return err
	}
	s.counts.fetches.Add(1)
	m, err := read(ctx, src, there, to)
	if err != nil {
		return err
	}
	return s.keep(ctx, repository, m, tag)
}

// list is a list that upstream gave.
type list struct {
	tags      []string
	referrers []ocispec.Descriptor
}

// ListTags lists tags: of a copied repository those that upstream has, as far as it tells.
func (s *Storage) ListTags(ctx context.Context, repository, after string, n int) ([]string, error) {
	src, there := s.find(repository)
	if src == nil {
		return s.Storage.ListTags(ctx, repository, after, n)
	}
	l, err := s.listed(ctx, src, "tags of "+repository, func(ctx context.Context) (list, error) {
		tags, err := src.Upstream.Tags(ctx, there)
		slices.Sort(tags)
		return list{tags: slices.Compact(tags)}, err
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return s.Storage.ListTags(ctx, repository, after, n)
	}
	first, found := slices.BinarySearch(l.tags, after)
	if found {
		first++
	}
	tags := slices.Clone(l.tags[first:])
	if n >= 0 {
		tags = tags[:min(n, len(tags))]
	}
	return tags, nil
}

// Referrers lists what refers to a digest: in a copied repository what upstream says, as far as it tells.
func (s *Storage) Referrers(ctx context.Context, repository string, dgst digest.Digest) ([]ocispec.Descriptor, error) {
	src, there := s.find(repository)
	if src == nil {
		return s.Storage.Referrers(ctx, repository, dgst)
	}
	l, err := s.listed(ctx, src, "referrers of "+repository+"@"+dgst.String(), func(ctx context.Context) (list, error) {
		descs, err := src.Upstream.Referrers(ctx, there, dgst)
		slices.SortFunc(descs, func(a, b ocispec.Descriptor) int { return compare(a.Digest, b.Digest) })
		return list{referrers: descs}, err
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return s.Storage.Referrers(ctx, repository, dgst)
	}
	return slices.Clone(l.referrers), nil
}

func compare(a, b digest.Digest) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// listed returns a list that upstream gave lately.
func (s *Storage) listed(ctx context.Context, src *source, key string, fn func(context.Context) (list, error)) (list, error) {
	if l, ok := s.lists.get(key); ok {
		return l, nil
	}
	if s.rests(src) {
		return list{}, errdefs.Unavailable("upstream did not answer a moment ago")
	}
	return once(ctx, s, key, checkTime, func(ctx context.Context) (list, error) {
		l, err := fn(ctx)
		if err == nil {
			s.lists.add(key, l, src.Fresh)
		}
		return l, err
	})
}
