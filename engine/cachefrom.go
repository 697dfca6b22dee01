package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/cache"
	"github.com/camada/camada/build/cache/carry"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layoutdir"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxCaches bounds how many caches that refer to one image are read.
const maxCaches = 64

// cacheSource is a source of cache that was read: results of steps, whose layers stay where they are.
type cacheSource struct {
	spec *cacheSpec
	recs *carry.Records
	// blobs are the layers that the source has.
	blobs []ocispec.Descriptor
	place place
	close func()
	// restricted says that only records are left whose layers the source has.
	restricted bool
	// mounts are the cache mounts that the source has.
	mounts []carry.Mount
}

var _ build.Lookup = (*cacheSource)(nil)

// Known implements build.Lookup.
func (c *cacheSource) Known(op digest.Digest) bool { return c.recs.Known(op) }

// Find implements build.Lookup.
func (c *cacheSource) Find(key cache.Key) (cache.Result, bool) { return c.recs.Find(key) }

// offer tells the store of a build where the source's layers are. What records name and the source does not have is
// offered too, in the hope that nobody needs it: often a later step's result, which is there, is all that a build wants.
func (c *cacheSource) offer(blobs *lazy) {
	blobs.add(c.place, c.recs.Layers()...)
}

// restrict leaves only the records whose layers the source has.
func (c *cacheSource) restrict() {
	have := make(map[digest.Digest]bool, len(c.blobs))
	for _, b := range c.blobs {
		have[b.Digest] = true
	}
	c.restricted = true
	c.recs = c.recs.Without(func(d digest.Digest) bool { return !have[d] })
}

// has reports whether the source said that it has a layer.
func (c *cacheSource) has(d digest.Digest) bool {
	for _, b := range c.blobs {
		if b.Digest == d {
			return true
		}
	}
	return false
}

// cacheSources are asked in their order.
type cacheSources []*cacheSource

func (cs cacheSources) close() {
	for _, c := range cs {
		c.close()
	}
}

// openCaches reads the sources side by side, and offers their layers to the build. One that cannot be read is told of and left out: it
// costs time, not the build.
func (e *Engine) openCaches(ctx context.Context, specs []*cacheSpec, blobs *lazy) cacheSources {
	sink := blobs.sink
	lists := make([][]*cacheSource, len(specs))
	var wg sync.WaitGroup
	for i, s := range specs {
		wg.Go(func() {
			ev := progress.Event{ID: fmt.Sprintf("cache-from-%d", i), Name: "importing cache manifest from " + s.String()}
			sink.Emit(ev)
			var err error
			lists[i], err = e.openCache(ctx, s)
			ev.State = progress.Done
			if err != nil {
				ev.State, ev.Err = progress.Failed, err
			}
			sink.Emit(ev)
		})
	}
	wg.Wait()
	var out cacheSources
	for _, l := range lists {
		for _, c := range l {
			c.offer(blobs)
			out = append(out, c)
		}
	}
	return out
}

func (e *Engine) openCache(ctx context.Context, s *cacheSpec) ([]*cacheSource, error) {
	if s.kind == cacheLocal {
		return e.openLocalCache(ctx, s)
	}
	repo := e.registries().Repository(s.ref)
	at := s.ref.Tag
	if s.ref.Digest != "" {
		at = s.ref.Digest.String()
	}
	desc, err := repo.Resolve(ctx, at)
	if err != nil {
		return nil, err
	}
	docs := &documents{store: e.content, src: repo, kept: make(map[digest.Digest][]byte)}
	p := place{src: repo, name: s.ref.FamiliarName(), host: s.ref.Host, repository: s.ref.Repository}
	mountsAt := func() (ocispec.Descriptor, error) { return repo.Resolve(ctx, mountsTag(s.ref.Tag)) }
	referrers := func(d digest.Digest, kind string) ([]ocispec.Descriptor, error) { return repo.Referrers(ctx, d, kind) }
	return readCaches(ctx, s, docs, desc, p, referrers, mountsAt, func() {})
}

func (e *Engine) openLocalCache(ctx context.Context, s *cacheSpec) ([]*cacheSource, error) {
	dir, err := layoutdir.Open(s.dir)
	if err != nil {
		return nil, err
	}
	find := func(tag string) (ocispec.Descriptor, error) {
		for _, d := range dir.Entries() {
			if s.digest != "" && d.Digest == s.digest && tag == s.tag || s.digest == "" && d.Annotations[ocispec.AnnotationRefName] == tag {
				return d, nil
			}
		}
		return ocispec.Descriptor{}, errdefs.NotFound("%s has no entry %s", s.dir, tag)
	}
	desc, err := find(s.tag)
	if err != nil {
		dir.Close()
		return nil, err
	}
	none := func(digest.Digest, string) ([]ocispec.Descriptor, error) { return nil, nil }
	mountsAt := func() (ocispec.Descriptor, error) { return find(mountsTag(s.tag)) }
	out, err := readCaches(ctx, s, dir, desc, place{src: dir, name: s.dir}, none, mountsAt, func() { dir.Close() })
	if out == nil {
		dir.Close()
	}
	return out, err
}

// readCaches reads the cache that desc is, or those that refer to the image that it is. Cache mounts that cannot be read are an error
// beside the caches, which serve all the same.
func readCaches(ctx context.Context, s *cacheSpec, p content.Provider, desc ocispec.Descriptor, at place,
	referrers func(digest.Digest, string) ([]ocispec.Descriptor, error), mounts func() (ocispec.Descriptor, error), closing func()) ([]*cacheSource, error) {
	if !image.IsIndex(desc.MediaType) {
		recs, blobs, err := carry.Read(ctx, p, desc)
		if err == nil {
			c := newCacheSource(s, recs, blobs, at, closing)
			if c.mounts, err = readMounts(ctx, p, mounts); err != nil {
				err = fmt.Errorf("its cache mounts: %w", err)
			}
			return []*cacheSource{c}, err
		}
		if !errdefs.IsUnsupported(err) {
			return nil, err
		}
	}
	list, err := referrers(desc.Digest, carry.ArtifactType)
	if err != nil {
		return nil, err
	}
	var out []*cacheSource
	for _, d := range list[:min(len(list), maxCaches)] {
		var recs *carry.Records
		var blobs []ocispec.Descriptor
		if recs, blobs, err = carry.Read(ctx, p, d); err == nil {
			out = append(out, newCacheSource(s, recs, blobs, at, func() {}))
		}
	}
	if out == nil {
		if len(list) == 0 {
			err = errdefs.NotFound("%s is no cache, and none is with it", s)
		}
		return nil, err
	}
	out[0].mounts, err = readMounts(ctx, p, func() (ocispec.Descriptor, error) {
		list, err := referrers(desc.Digest, carry.MountsType)
		if err == nil && len(list) == 0 {
			err = errdefs.NotFound("there are none")
		}
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		return list[0], nil
	})
	return out, err
}

func newCacheSource(s *cacheSpec, recs *carry.Records, blobs []ocispec.Descriptor, at place, closing func()) *cacheSource {
	c := &cacheSource{spec: s, recs: recs, blobs: blobs, close: closing}
	at.cache = c
	c.place = at
	return c
}
