package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
)

// Manifest reads a manifest; a copy is got when it is not here.
func (s *Storage) Manifest(ctx context.Context, repository string, dgst digest.Digest) (registry.Manifest, error) {
	src, there := s.find(repository)
	m, err := s.Storage.Manifest(ctx, repository, dgst)
	if src == nil || err != nil && !errdefs.IsNotFound(err) {
		return m, err
	}
	key := repository + "@" + dgst.String()
	if err == nil {
		s.counts.hits.Add(1)
		s.look(ctx, repository, m)
		return m, nil
	}
	if s.absent.has(key) {
		return m, err
	}
	return once(ctx, s, "manifest "+key, askTime, func(ctx context.Context) (registry.Manifest, error) {
		m, err := read(ctx, src, there, dgst)
		if err != nil {
			if errdefs.IsNotFound(err) {
				s.absent.add(key, struct{}{}, src.Absent)
			}
			return m, err
		}
		s.counts.fetches.Add(1)
		if err := s.keep(ctx, repository, m, ""); err != nil {
			// Who asked gets it all the same.
			s.opts.Fault(err)
		}
		return m, nil
	})
}

// read reads a manifest from upstream.
func read(ctx context.Context, src *source, there string, dgst digest.Digest) (registry.Manifest, error) {
	desc, data, err := src.Upstream.Manifest(ctx, there, dgst)
	if err != nil {
		return registry.Manifest{}, err
	}
	m, err := registry.ParseManifest(desc.MediaType, data, dgst.Algorithm())
	if err != nil {
		return registry.Manifest{}, errdefs.With(errdefs.ErrCorrupt, err)
	}
	if m.Descriptor.Digest != dgst {
		return registry.Manifest{}, errdefs.Corrupt("upstream's manifest %s of %s is another one: %s", dgst, there, m.Descriptor.Digest)
	}
	return m, nil
}

// keep stores a copy of a manifest, as one that requires what is here, and points a tag to it when that is not "".
func (s *Storage) keep(ctx context.Context, repository string, m registry.Manifest, tag string) error {
	opts := registry.PutOptions{Mover: registry.Mover{Verb: verb}}
	if tag != "" {
		opts.Tags = []string{tag}
	}
	all := m.Requires
	for try := 0; ; try++ {
		missing, err := s.missing(ctx, repository, all)
		if err != nil {
			return err
		}
		m.Requires = slices.DeleteFunc(slices.Clone(all), func(r registry.Requirement) bool {
			return slices.ContainsFunc(missing, func(q registry.Requirement) bool { return q.Digest == r.Digest })
		})
		err = s.Storage.PutManifest(ctx, repository, m, opts)
		var lost *registry.MissingError
		if errors.As(err, &lost) && try < 3 {
			continue // a sweep was faster
		}
		if err != nil {
			return err
		}
		s.seen.add(repository+"@"+m.Descriptor.Digest.String(), struct{}{}, remembers)
		s.gaps.add(repository, m.Descriptor.Digest, missing)
		s.arrived(ctx, repository, m.Descriptor.Digest)
		return nil
	}
}

// remembers is how long it is remembered what a manifest lacks.
const remembers = 24 * time.Hour

// missing are the requirements that are not here.
func (s *Storage) missing(ctx context.Context, repository string, requires []registry.Requirement) ([]registry.Requirement, error) {
	var missing []registry.Requirement
	for _, r := range requires {
		var err error
		if r.Manifest {
			_, err = s.Storage.Manifest(ctx, repository, r.Digest)
		} else {
			_, err = s.Storage.StatBlob(ctx, repository, r.Digest)
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		if err != nil {
			missing = append(missing, r)
		}
	}
	return missing, nil
}

// look finds out, once, what a copy lacks that was kept by an earlier process, and ties to it what has come since.
func (s *Storage) look(ctx context.Context, repository string, m registry.Manifest) {
	key := repository + "@" + m.Descriptor.Digest.String()
	if s.seen.has(key) {
		return
	}
	s.seen.add(key, struct{}{}, remembers)
	m, err := registry.ParseManifest(m.Descriptor.MediaType, m.Data, m.Descriptor.Digest.Algorithm())
	if err == nil {
		err = s.keep(ctx, repository, m, "")
	}
	if err != nil && ctx.Err() == nil {
		s.opts.Fault(err)
	}
}

// arrived ties what has come to the manifests that lack it. One that only lacks blobs is stored again when the last of them is here.
func (s *Storage) arrived(ctx context.Context, repository string, dgst digest.Digest) {
	for _, by := range s.gaps.fill(repository, dgst) {
		m, err := s.Storage.Manifest(ctx, repository, by)
		if err == nil {
			m, err = registry.ParseManifest(m.Descriptor.MediaType, m.Data, by.Algorithm())
		}
		if err == nil {
			err = s.keep(ctx, repository, m, "")
		}
		if err != nil && !errdefs.IsNotFound(err) {
			s.opts.Fault(err)
		}
	}
}

// gaps remembers what manifests lack.
type gaps struct {
	mu sync.Mutex
	// by names what is missing in a repository, and has the manifests that lack it.
	by map[string][]*gap
	// known are the manifests; what is here longest goes first when there are too many.
	known map[string]*gap
	order []string
}

// gap is what one manifest lacks.
type gap struct {
	repository string
	manifest   digest.Digest
	missing    map[digest.Digest]registry.Requirement
}

// maxGaps bounds the manifests of which it is remembered.
const maxGaps = 4096

func (g *gaps) add(repository string, manifest digest.Digest, missing []registry.Requirement) {
	key := repository + "@" + manifest.String()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.by == nil {
		g.by, g.known = map[string][]*gap{}, map[string]*gap{}
	}
	g.forget(key)
	if len(missing) == 0 {
		return
	}
	n := &gap{repository, manifest, map[digest.Digest]registry.Requirement{}}
	for _, r := range missing {
		if _, twice := n.missing[r.Digest]; twice {
			continue
		}
		n.missing[r.Digest] = r
		at := repository + "@" + r.Digest.String()
		g.by[at] = append(g.by[at], n)
	}
	g.known[key] = n
	for g.order = append(g.order, key); len(g.order) > maxGaps; g.order = g.order[1:] {
		g.forget(g.order[0])
	}
}

func (g *gaps) forget(key string) {
	n := g.known[key]
	if n == nil {
		return
	}
	delete(g.known, key)
	for d := range n.missing {
		g.unlink(n, d)
	}
}

// unlink takes a manifest from those that lack something.
func (g *gaps) unlink(n *gap, d digest.Digest) {
	at := n.repository + "@" + d.String()
	if g.by[at] = slices.DeleteFunc(g.by[at], func(o *gap) bool { return o == n }); len(g.by[at]) == 0 {
		delete(g.by, at)
	}
}

// size tells how big a manifest says that something is which it lacks.
func (g *gaps) size(repository string, d digest.Digest) (int64, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.by[repository+"@"+d.String()] {
		return n.missing[d].Size, true
	}
	return 0, false
}

// fill notes that something is here, and returns the manifests that are worth being stored again.
func (g *gaps) fill(repository string, d digest.Digest) []digest.Digest {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ready []digest.Digest
	for _, n := range slices.Clone(g.by[repository+"@"+d.String()]) {
		r := n.missing[d]
		g.unlink(n, d)
		delete(n.missing, d)
		if r.Manifest || len(n.missing) == 0 {
			ready = append(ready, n.manifest)
		}
	}
	return ready
}

// StatBlob tells of a blob; of a copy that is not here, what upstream says.
func (s *Storage) StatBlob(ctx context.Context, repository string, dgst digest.Digest) (content.Info, error) {
	src, there := s.find(repository)
	info, err := s.Storage.StatBlob(ctx, repository, dgst)
	if src == nil || err == nil || !errdefs.IsNotFound(err) {
		return info, err
	}
	key := "blob " + repository + "@" + dgst.String()
	if s.absent.has(key) {
		return info, err
	}
	return once(ctx, s, key, askTime, func(ctx context.Context) (content.Info, error) {
		info, err := src.Upstream.StatBlob(ctx, there, dgst)
		if errdefs.IsNotFound(err) {
			s.absent.add(key, struct{}{}, src.Absent)
		}
		return info, err
	})
}
