package engine

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/camada/camada/content"
	"github.com/camada/camada/delta"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// deltasRead is how many deltas of one image are looked at, when a registry has several.
	deltasRead = 4
	// packRead is how much of a pack is asked for at once.
	packRead = 8 << 20
)

// localLayer is a layer of the store.
type localLayer struct {
	desc ocispec.Descriptor
	// listed is set for those of an image of the same repository: it is worth while to list what is in them.
	listed bool
}

// localLayers are the layers of all tagged images whose blobs are in the store, by diffID.
func (e *Engine) localLayers(ctx context.Context, repository string) (map[digest.Digest]localLayer, error) {
	tags, err := e.refs.List(ctx)
	if err != nil {
		return nil, err
	}
	here := map[digest.Digest]localLayer{}
	for _, t := range tags {
		img, err := image.OpenAny(ctx, e.content, t.Descriptor)
		if err != nil {
			continue // no image, or one of which only a part is here
		}
		same := t.Reference.Name() == repository
		for i, id := range img.DiffIDs {
			if l, ok := here[id]; ok && (l.listed || !same) {
				continue
			}
			if _, err := e.content.Stat(ctx, img.Layers[i].Digest); err == nil {
				here[id] = localLayer{img.Layers[i], same}
			}
		}
	}
	return here, nil
}

// layersHere are the localLayers of a pull, looked up once.
func (e *Engine) layersHere(ctx context.Context, found *pulled) (map[digest.Digest]localLayer, error) {
	var err error
	if found.layers == nil {
		found.layers, err = e.localLayers(ctx, found.here.Name())
	}
	return found.layers, err
}

// deltaPlan is what a registry offers for an image, and what of it is worth it.
type deltaPlan struct {
	*delta.Plan
	pack  content.Reader
	local map[digest.Digest]localLayer
	// read is what finding out took, in bytes.
	read int64
}

// planDelta looks whether layers of an image that are not in the store, nor in but, can be made from what is, and a delta of the registry. Nil
// without an error when there is no delta; it may be worth it for no layer. The caller closes the pack.
func (e *Engine) planDelta(ctx context.Context, found *pulled, but map[digest.Digest]bool) (*deltaPlan, error) {
	img := found.image
	var lacking []delta.Lacking
	for i, l := range img.Layers {
		if _, err := e.content.Stat(ctx, l.Digest); errdefs.IsNotFound(err) && len(l.URLs) == 0 && !but[l.Digest] {
			lacking = append(lacking, delta.Lacking{Digest: l.Digest, DiffID: img.DiffIDs[i], Size: l.Size})
		}
	}
	if len(lacking) == 0 {
		return nil, nil
	}
	here, err := e.layersHere(ctx, found)
	if err != nil || len(here) == 0 {
		return nil, err // of nothing nothing can be made: the registry is not even asked
	}
	list, err := found.repo.Referrers(ctx, img.Descriptor.Digest, delta.ArtifactType)
	if err != nil {
		return nil, ctx.Err() // a registry that does not say has none
	}
	var best *deltaPlan
	var read int64
	for _, d := range list[:min(len(list), deltasRead)] {
		p, err := e.readDelta(ctx, found, d, lacking, here)
		if err != nil {
			return nil, err
		}
		read += p.read
		if best == nil || saving(p) > saving(best) {
			best = p
		}
	}
	if best != nil {
		best.read = read
	}
	return best, nil
}

// saving is how many bytes a plan spares.
func saving(p *deltaPlan) int64 {
	n, plain := p.Bytes()
	return plain - n
}

// readDelta reads a delta's manifest and document, and plans.
func (e *Engine) readDelta(ctx context.Context, found *pulled, d ocispec.Descriptor, lacking []delta.Lacking, here map[digest.Digest]localLayer) (*deltaPlan, error) {
	_, m, err := image.ReadManifest(ctx, found.repo, d)
	if err != nil {
		return nil, err
	}
	if m.Subject == nil || m.Subject.Digest != found.image.Descriptor.Digest || len(m.Layers) != 2 ||
		m.Layers[0].MediaType != delta.MediaTypeDocument || m.Layers[1].MediaType != delta.MediaTypePack {
		return nil, errdefs.Corrupt("delta %s is not of this image, or of another kind", d.Digest)
	}
	data, err := content.ReadAll(ctx, found.repo, m.Layers[0], delta.MaxDocument)
	if err != nil {
		return nil, err
	}
	doc, err := delta.Parse(data)
	if err != nil {
		return nil, err
	}
	if doc.Size != m.Layers[1].Size {
		return nil, errdefs.Corrupt("delta %s: its pack has %d bytes instead of %d", d.Digest, m.Layers[1].Size, doc.Size)
	}
	// Nothing is asked before the first read.
	pack, err := found.repo.Open(ctx, m.Layers[1])
	if err != nil {
		return nil, err
	}
	p := &deltaPlan{pack: pack, local: here, read: d.Size + int64(len(data))}
	p.Plan, err = doc.Plan(ctx, lacking, delta.Here{
		Has: func(id digest.Digest) bool { _, ok := here[id]; return ok },
		Find: func(ctx context.Context, wanted map[uint64]bool) (map[uint64]digest.Digest, error) {
			return e.findContents(ctx, here, wanted)
		},
		Pack: func(_ context.Context, at delta.Range) ([]byte, error) {
			p.read += at.Length
			data := make([]byte, at.Length)
			_, err := io.ReadFull(io.NewSectionReader(pack, at.Offset, at.Length), data)
			return data, err
		},
	})
	return p, err
}

// findContents finds contents in the layers of the store by their sums.
func (e *Engine) findContents(ctx context.Context, here map[digest.Digest]localLayer, wanted map[uint64]bool) (map[uint64]digest.Digest, error) {
	found := map[uint64]digest.Digest{}
	for id, l := range here {
		idx, err := e.indexes().Get(id)
		if err != nil && l.listed {
			idx, err = e.indexes().Of(ctx, e.content, l.desc, id)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			continue
		}
		for i := range idx.Entries {
			if f := &idx.Entries[i]; f.HasSum && f.Size > 0 && wanted[delta.Sum(f.Sum)] {
				found[delta.Sum(f.Sum)] = id
			}
		}
	}
	return found, nil
}

// fetchDeltas makes those layers of an image that take fewer bytes so. What does not come of it comes from the registry as a whole: only
// the end of ctx is an error.
func (e *Engine) fetchDeltas(ctx context.Context, found *pulled, sink progress.Sink) error {
	p, err := e.planDelta(ctx, found, nil)
	if err == nil && p != nil {
		defer p.pack.Close()
		if len(p.Layers) > 0 {
			err = e.makeLayers(ctx, p, sink)
		}
	}
	if err != nil && ctx.Err() == nil {
		sink.Emit(progress.Event{ID: "delta", Name: "no delta is used: " + err.Error(), State: progress.Done})
	}
	return ctx.Err()
}

// makeLayers collects what a plan needs and stores its layers.
func (e *Engine) makeLayers(ctx context.Context, p *deltaPlan, sink progress.Sink) error {
	n, plain := p.Bytes()
	ev := progress.Event{ID: "delta", Name: fmt.Sprintf("delta of %s instead of %s", HumanSize(n), HumanSize(plain)), Total: n}
	sink.Emit(ev)
	dir, remove, err := e.tempDir(ctx)
	if err != nil {
		return err
	}
	defer remove()
	job, err := p.Collect(ctx, delta.Local{
		Dir: dir,
		Tar: func(ctx context.Context, id digest.Digest) (io.ReadCloser, error) {
			return layer.Open(ctx, e.content, p.local[id].desc, id, layer.OpenOptions{Verified: true})
		},
		Pack: func(_ context.Context, at delta.Range) (io.ReadCloser, error) {
			// Each read of the section is a request of its own, for exactly these bytes.
			part := io.NewSectionReader(p.pack, at.Offset, at.Length)
			return io.NopCloser(bufio.NewReaderSize(part, int(min(at.Length, packRead)))), nil
		},
	})
	if err != nil {
		return err
	}
	defer job.Close()
	ev.Current = n
	sink.Emit(ev)
	for i := range p.Layers {
		l := &p.Layers[i]
		made := progress.Event{ID: "delta-" + l.Digest.String(), Name: "make layer " + l.Digest.String()}
		sink.Emit(made)
		if _, err := job.Store(ctx, l, e.content); err != nil {
			return err
		}
		made.State = progress.Done
		sink.Emit(made)
	}
	ev.State = progress.Done
	sink.Emit(ev)
	return nil
}
