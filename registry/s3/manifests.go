package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/s3/internal/object"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func isBegin(err error) bool { return errors.As(err, new(errBegin)) }

// descriptorOf is the descriptor of a manifest; c may be nil.
func descriptorOf(d digest.Digest, c *cell) ocispec.Descriptor {
	desc := ocispec.Descriptor{Digest: d}
	if c != nil {
		desc.MediaType, desc.Size = c.MediaType, int64(len(c.body))
	}
	return desc
}

// findManifest finds a manifest's cell, see look.
func (s *Store) findManifest(ctx context.Context, r repo, d digest.Digest, need bool) (*cell, error) {
	return s.look(ctx, r.manifest(d), need, func() error { return errdefs.NotFound("manifest %s is not in the repository", d) })
}

// Manifest reads a manifest: one request, whose answer is short when it was read before.
func (s *Store) Manifest(ctx context.Context, repository string, dgst digest.Digest) (registry.Manifest, error) {
	r, err := s.repo(repository)
	if err != nil {
		return registry.Manifest{}, err
	}
	c, err := s.findManifest(ctx, r, dgst, false)
	if err != nil {
		return registry.Manifest{}, fmt.Errorf("repository %s: %w", repository, err)
	}
	return registry.Manifest{Descriptor: descriptorOf(dgst, c), Data: c.body}, nil
}

// parsed parses a manifest's cell.
func parsed(d digest.Digest, c *cell) (registry.Manifest, error) {
	m, err := registry.ParseManifest(c.MediaType, c.body, d.Algorithm())
	if err == nil && m.Descriptor.Digest != d {
		err = errdefs.Corrupt("it is %s", m.Descriptor.Digest)
	}
	if err != nil {
		return m, errdefs.Corrupt("manifest %s: %w", d, err)
	}
	return m, nil
}

// Referrers lists what refers to a digest.
func (s *Store) Referrers(ctx context.Context, repository string, dgst digest.Digest) ([]ocispec.Descriptor, error) {
	r, err := s.repo(repository)
	if err != nil {
		return nil, err
	}
	var digests []digest.Digest
	err = s.o.List(ctx, object.ListOptions{Prefix: r.referrers(dgst)}, func(e object.Entry) (bool, error) {
		if d := decodeDigest(base(e.Key)); d != "" {
			digests = append(digests, d)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	descs := make([]ocispec.Descriptor, len(digests))
	err = each(ctx, len(digests), func(ctx context.Context, i int) error {
		c, err := s.findManifest(ctx, r, digests[i], false)
		if errdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := parsed(digests[i], c)
		if err == nil && m.Subject == dgst {
			descs[i] = m.Referrer()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", repository, err)
	}
	descs = slices.DeleteFunc(descs, func(d ocispec.Descriptor) bool { return d.Digest == "" })
	slices.SortFunc(descs, func(a, b ocispec.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return descs, nil
}

// WalkManifests calls fn for each manifest.
func (s *Store) WalkManifests(ctx context.Context, repository string, fn func(registry.ManifestInfo) error) error {
	r, err := s.repo(repository)
	if err != nil {
		return err
	}
	return s.walkCells(ctx, r.manifests(), func(c *cell) error {
		d := decodeDigest(base(c.key))
		if d == "" || !c.State.visible() {
			return nil
		}
		return fn(registry.ManifestInfo{Digest: d, Size: int64(len(c.body)), Pushed: c.Pushed})
	})
}

// page is how many cells are read before the first of them is looked at.
const page = 200

// walkCells reads all cells under a prefix, many at once, and calls fn for each, in the order of their keys.
func (s *Store) walkCells(ctx context.Context, prefix string, fn func(*cell) error) error {
	var entries []object.Entry
	flush := func() error {
		cells := make([]*cell, len(entries))
		err := each(ctx, len(entries), func(ctx context.Context, i int) (err error) {
			cells[i], err = s.readListed(ctx, entries[i])
			if errdefs.IsNotFound(err) {
				return nil // it went meanwhile
			}
			return err
		})
		entries = entries[:0]
		for _, c := range cells {
			if err == nil && c != nil {
				err = fn(c)
			}
		}
		return err
	}
	err := s.o.List(ctx, object.ListOptions{Prefix: prefix}, func(e object.Entry) (bool, error) {
		entries = append(entries, e)
		if len(entries) < page {
			return true, nil
		}
		return true, flush()
	})
	if err == nil {
		err = flush()
	}
	return err
}

// atOnce is how many requests one call makes at the same time.
const atOnce = 16

// each calls fn for 0 to n-1, some at once, until one fails.
func each(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	if n == 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan int)
	var first error
	var once sync.Once
	var wg sync.WaitGroup
	for range min(n, atOnce) {
		wg.Go(func() {
			for i := range work {
				if err := fn(ctx, i); err != nil {
					once.Do(func() { first = err; cancel(err) })
				}
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		work <- i
	}
	close(work)
	wg.Wait()
	if first == nil {
		first = context.Cause(ctx)
	}
	return first
}

// requiredBy finds a manifest of the repository that requires a blob or manifest; "" when none does. What is on its way in counts. What lists them may name
// some that are not there any more.
func (s *Store) requiredBy(ctx context.Context, r repo, d digest.Digest) (digest.Digest, error) {
	var some []digest.Digest
	var mu sync.Mutex
	by := digest.Digest("")
	look := func() error {
		err := each(ctx, len(some), func(ctx context.Context, i int) error {
			c, err := s.find(ctx, r.manifest(some[i]))
			if err == nil && c != nil && c.State.needs() {
				mu.Lock()
				defer mu.Unlock()
				by = some[i]
			}
			return err
		})
		some = some[:0]
		return err
	}
	err := s.o.List(ctx, object.ListOptions{Prefix: r.needers(d)}, func(e object.Entry) (bool, error) {
		if name := decodeDigest(base(e.Key)); name != "" {
			some = append(some, name)
		}
		if len(some) < atOnce {
			return true, nil
		}
		err := look()
		return by == "", err
	})
	if err == nil && by == "" {
		err = look()
	}
	return by, err
}

// ListRepositories lists the names of repositories.
func (s *Store) ListRepositories(ctx context.Context, after string, n int) ([]string, error) {
	if n == 0 {
		return nil, nil
	}
	prefix := s.prefix + "r/"
	o := object.ListOptions{Prefix: prefix, Folders: true}
	if n > 0 {
		o.Page = n + 1
	}
	if after != "" {
		o.After = prefix + encodeAfter(after)
	}
	var names []string
	err := s.o.List(ctx, o, func(e object.Entry) (bool, error) {
		if name := decodeName(strings.TrimSuffix(e.Key[len(prefix):], "/")); name != "" && name > after {
			names = append(names, name)
		}
		return len(names) != n, nil
	})
	return names, err
}
