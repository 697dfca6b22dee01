package engine

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/cache"
	"github.com/camada/camada/build/cache/carry"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/layoutdir"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// collector gathers the results of steps, for a cache that is written.
type collector struct {
	recs carry.Records

	mu  sync.Mutex
	ids map[string]bool // of cache mounts
}

// Planned implements build.Observer.
func (c *collector) Planned(p build.Plan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range p.Graph.Vertices {
		run, ok := v.Op.(*op.Run)
		if !ok {
			continue
		}
		for _, m := range run.Mounts {
			if m.Type == op.MountCache {
				if c.ids == nil {
					c.ids = make(map[string]bool)
				}
				c.ids[m.CacheID] = true
			}
		}
	}
}

// mountIDs are the ids of the cache mounts of all steps.
func (c *collector) mountIDs() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids
}

// Ended implements build.Observer.
func (c *collector) Ended(s build.Step) {
	if s.Err != nil || s.Definition == "" || s.Layer.Descriptor.Digest == "" {
		return
	}
	res := cache.Result{Layer: s.Layer, ChainID: s.ChainID, Files: s.Files}
	c.recs.Add(cache.NewKey(s.Definition, s.Inputs, s.Parent), res)
	if s.ByFiles != nil {
		c.recs.Add(cache.NewKey(s.Definition, s.ByFiles, s.Parent), res)
	}
}

// cacheWriter writes what a build did to where --cache-to says.
type cacheWriter struct {
	e     *Engine
	specs []*cacheSpec
	steps *collector
	// carried are the cache mounts of the sources.
	carried *carriedMounts
	// guard looks into the cache mounts; nil does not.
	guard  *secretGuard
	packed packer
	blobs  *lazy
	res    *built
	sink   progress.Sink
}

// write writes the caches that are with the image, or those that are not.
func (w *cacheWriter) write(ctx context.Context, inline bool) error {
	for i, s := range w.specs {
		if (s.kind == cacheInline) != inline {
			continue
		}
		ev := progress.Event{ID: fmt.Sprintf("cache-to-%d", i), Name: "exporting cache to " + s.String()}
		w.sink.Emit(ev)
		err := w.one(ctx, s)
		ev.State = progress.Done
		if err != nil {
			err = fmt.Errorf("export cache to %s: %w", s, err)
			ev.State, ev.Err = progress.Failed, err
		}
		w.sink.Emit(ev)
		if err != nil && (!s.ignoreError || ctx.Err() != nil) {
			return err
		}
	}
	return nil
}

func (w *cacheWriter) one(ctx context.Context, s *cacheSpec) error {
	var subject *ocispec.Descriptor
	if s.kind == cacheInline {
		subject = &w.res.descriptor
	}
	a, err := w.steps.recs.Encode(w.layers(ctx, s.max), subject)
	if err != nil {
		return err
	}
	if err := w.put(ctx, s, a, s.entry()); err != nil || !s.mounts {
		return err
	}
	return w.mounts(ctx, s, subject)
}

// entry is the tag of the cache.
func (c *cacheSpec) entry() string {
	if c.kind == cacheRegistry {
		return c.ref.Tag
	}
	return c.tag
}

// layers are those that go with the cache: of all steps, or only of those in the image. What nobody has is left out.
func (w *cacheWriter) layers(ctx context.Context, all bool) []ocispec.Descriptor {
	wanted := make(map[digest.Digest]bool)
	for _, img := range w.res.images {
		for _, l := range img.Layers {
			wanted[l.Digest] = true
		}
	}
	var out []ocispec.Descriptor
	for _, d := range w.steps.recs.Layers() {
		if (all || wanted[d.Digest]) && w.blobs.has(ctx, d.Digest) {
			out = append(out, d)
		}
	}
	return out
}

// put stores an artifact at the place of a spec.
func (w *cacheWriter) put(ctx context.Context, s *cacheSpec, a carry.Artifact, tag string) error {
	src := withDocuments{w.blobs, a.Documents}
	o := transfer.Options{Concurrency: transfers, Progress: renamed{w.sink, "cache-", "export"}}
	switch s.kind {
	case cacheRegistry:
		repo := w.e.registries().Repository(s.ref)
		target := repo.Target(tag, a.Manifest)
		target.MountFrom = func(d digest.Digest) []string { return w.blobs.repositories(d, repo.Host()) }
		return transfer.Push(ctx, src, target, a.Manifest, o)
	case cacheLocal:
		dir, err := layoutdir.Create(ctx, s.dir)
		if err != nil {
			return err
		}
		defer dir.Close()
		if err := transfer.Copy(ctx, src, dir, a.Manifest, o); err != nil {
			return err
		}
		return dir.Add(ctx, a.Manifest, tag)
	}
	o.Progress = nil
	if err := transfer.Copy(ctx, src, w.e.content, a.Manifest, o); err != nil {
		return err
	}
	return w.e.addReferrer(ctx, a.Manifest)
}

// prune removes from directories that hold nothing but caches what no cache has any more. It comes last, when nothing is read from there.
func (w *cacheWriter) prune(ctx context.Context) error {
	for _, s := range w.specs {
		if s.kind != cacheLocal {
			continue
		}
		err := pruneCaches(ctx, s.dir)
		if err != nil && (!s.ignoreError || ctx.Err() != nil) {
			return fmt.Errorf("export cache to %s: %w", s, err)
		}
	}
	return nil
}

func pruneCaches(ctx context.Context, path string) error {
	dir, err := layoutdir.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, d := range dir.Entries() {
		if d.ArtifactType != carry.ArtifactType && d.ArtifactType != carry.MountsType {
			return nil // somebody else's blobs may be there on purpose
		}
	}
	return dir.Prune(ctx)
}

// withDocuments is a source with some more blobs.
type withDocuments struct {
	content.Provider
	docs map[digest.Digest][]byte
}

// Open implements content.Provider.
func (d withDocuments) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	if data, ok := d.docs[desc.Digest]; ok {
		return inMemory{bytes.NewReader(data)}, nil
	}
	return d.Provider.Open(ctx, desc)
}

// has reports whether a blob is here, or at a place that says that it has it.
func (l *lazy) has(ctx context.Context, d digest.Digest) bool {
	if _, err := l.Store.Stat(ctx, d); !errdefs.IsNotFound(err) {
		return err == nil
	}
	places, _ := l.of(d)
	for _, p := range places {
		if p.cache == nil || p.cache.has(d) {
			return true
		}
	}
	return false
}
