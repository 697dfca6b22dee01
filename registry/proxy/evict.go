package proxy

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
)

// Used tells when tags and digests of a repository were pulled last.
type Used func(ctx context.Context, repository string) (map[string]time.Time, error)

// Evict removes copies of manifests that were not pulled for too long, or longest of all when there is too much of a source. Their blobs go with the
// next sweep.
func (s *Storage) Evict(ctx context.Context, used Used) error {
	for _, src := range s.sources {
		if src.Unused == 0 && src.Size == 0 {
			continue
		}
		if err := s.evict(ctx, src, used); err != nil {
			return fmt.Errorf("remove old copies below %s: %w", src.Prefix, err)
		}
	}
	return nil
}

// copied is a copy of a manifest.
type copied struct {
	*shelf

	digest   digest.Digest
	last     time.Time
	size     int64
	requires []registry.Requirement
}

// shelf is a repository of copies.
type shelf struct {
	repository string
	// blobs have their sizes, and needed how many manifests require them.
	blobs  map[digest.Digest]int64
	needed map[digest.Digest]int
}

// free notes that a manifest goes, and returns how many bytes that frees.
func (c *copied) free() int64 {
	n := c.size
	for _, r := range c.requires {
		if c.needed[r.Digest]--; c.needed[r.Digest] == 0 && !r.Manifest {
			n += c.blobs[r.Digest]
		}
	}
	return n
}

func (s *Storage) evict(ctx context.Context, src *source, used Used) error {
	var all []*copied
	var total int64
	for after := src.Prefix + "/"; ; {
		names, err := s.ListRepositories(ctx, after, 100)
		if err != nil {
			return err
		}
		for _, name := range names {
			if !strings.HasPrefix(name, src.Prefix+"/") {
				names = nil
				break
			}
			after = name
			list, n, err := s.shelve(ctx, name, used)
			if err != nil {
				return err
			}
			all, total = append(all, list...), total+n
		}
		if len(names) == 0 {
			break
		}
	}
	slices.SortStableFunc(all, func(a, b *copied) int { return a.last.Compare(b.last) })
	var going []*copied
	for _, c := range all {
		old := src.Unused > 0 && s.opts.Now().Sub(c.last) > src.Unused
		if !old && (src.Size == 0 || total <= src.Size) {
			break
		}
		total -= c.free()
		going = append(going, c)
	}
	return s.discard(ctx, going)
}

// shelve looks at the copies of a repository, and how many bytes they have. What an index leads to counts as used with it; indexes come first.
func (s *Storage) shelve(ctx context.Context, repository string, used Used) ([]*copied, int64, error) {
	at, err := used(ctx, repository)
	if err != nil {
		return nil, 0, err
	}
	sh := &shelf{repository, map[digest.Digest]int64{}, map[digest.Digest]int{}}
	var total int64
	err = s.Storage.WalkBlobs(ctx, repository, func(i content.Info) error {
		sh.blobs[i.Digest] = i.Size
		total += i.Size
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	byDigest := map[digest.Digest]*copied{}
	err = s.Storage.WalkManifests(ctx, repository, func(i registry.ManifestInfo) error {
		c := &copied{shelf: sh, digest: i.Digest, size: i.Size, last: i.Pushed}
		if t := at[i.Digest.String()]; t.After(c.last) {
			c.last = t
		}
		byDigest[i.Digest] = c
		total += i.Size
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	var list []*copied
	for d, c := range byDigest {
		m, err := s.Storage.Manifest(ctx, repository, d)
		if err == nil {
			m, err = registry.ParseManifest(m.Descriptor.MediaType, m.Data, d.Algorithm())
		}
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		c.requires = m.Requires
		for _, r := range m.Requires {
			sh.needed[r.Digest]++
		}
		list = append(list, c)
	}
	for range 4 { // indexes of indexes
		for _, c := range list {
			for _, r := range c.requires {
				if n := byDigest[r.Digest]; r.Manifest && n != nil && n.last.Before(c.last) {
					n.last = c.last
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b *copied) int { return sh.needed[a.digest] - sh.needed[b.digest] })
	return list, total, nil
}

// discard removes copies. What an index that stays still requires stays.
func (s *Storage) discard(ctx context.Context, going []*copied) error {
	for range 4 {
		var left []*copied
		for _, c := range going {
			err := s.Storage.DeleteManifest(ctx, c.repository, c.digest, registry.Mover{Verb: "evict"})
			switch {
			case errdefs.IsConflict(err):
				left = append(left, c)
			case err != nil && !errdefs.IsNotFound(err):
				return err
			case err == nil:
				s.counts.removed.Add(1)
				s.seen.drop(c.repository + "@" + c.digest.String())
			}
		}
		if going = left; len(going) == 0 {
			break
		}
	}
	return nil
}

// DeleteManifest removes a manifest, or a copy, which comes back when it is asked for.
func (s *Storage) DeleteManifest(ctx context.Context, repository string, dgst digest.Digest, by registry.Mover) error {
	err := s.Storage.DeleteManifest(ctx, repository, dgst, by)
	if src, _ := s.find(repository); src != nil && err == nil {
		s.seen.drop(repository + "@" + dgst.String())
	}
	return err
}

// WriteMetrics writes counts in the text format of Prometheus.
func (s *Storage) WriteMetrics(w io.Writer) error {
	c := &s.counts
	for _, m := range []struct {
		name, help string
		value      int64
	}{
		{"hits_total", "Manifests and blobs of copied repositories that were here.", c.hits.Load()},
		{"fetches_total", "Manifests and blobs that were got from upstream.", c.fetches.Load()},
		{"fetched_bytes_total", "Bytes of blobs that came from upstream.", c.bytes.Load()},
		{"stale_total", "Answers with a tag that could not be looked up again.", c.stale.Load()},
		{"evicted_total", "Copies of manifests that were removed since nobody used them.", c.removed.Load()},
	} {
		if _, err := fmt.Fprintf(w, "# HELP camada_registry_cache_%s %s\n# TYPE camada_registry_cache_%s counter\ncamada_registry_cache_%s %d\n", m.name, m.help, m.name, m.name, m.value); err != nil {
			return err
		}
	}
	return nil
}
