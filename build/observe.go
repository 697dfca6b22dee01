package build

import (
	"context"
	"time"

	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/build/source"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/layer"
	"github.com/opencontainers/go-digest"
)

// Observer is told what a build does and why, so that it can be explained later. Calls may come
// from many goroutines. A step waits for them, so they must be short.
type Observer interface {
	// Planned is called once, before the first step.
	Planned(p Plan)
	// Ended is called once for each step that began, after all that it needed.
	Ended(s Step)
}

// Plan is what a build is going to do. The observer does not change it.
type Plan struct {
	// File is the Dockerfile, Source its text.
	File   *dockerfile.File
	Source []byte
	Graph  *graph.Graph
	// Epoch is the time of the build; see the package comment.
	Epoch time.Time
}

// Step is what became of one vertex.
type Step struct {
	Vertex         *graph.Vertex
	Started, Ended time.Time
	// Cached tells that the result was found; Miss why it was not. Both are zero for base images.
	Cached bool
	Miss   Miss
	// Definition and Inputs are what the cache key was made of, with Parent, the
	// chainID below. They are empty when the step failed before they were known.
	Definition string
	Inputs     []string
	Parent     digest.Digest
	// Files is the digest of what a copy took from another stage or an image, and ByFiles are the inputs of a second key of the
	// result, with that digest in place of the stage's chainID. They are empty for other steps, and when that is not known.
	Files   digest.Digest
	ByFiles []string
	// Layer and ChainID are the result, also of a base image.
	Layer   layer.Layer
	ChainID digest.Digest
	// Context is what the step copies from the build context, nil for nothing. It
	// is valid until Ended returns.
	Context *ContextFiles
	// Mounted are the parts of the context that a RUN sees; they are valid until Ended returns too.
	Mounted []*ContextFiles
	// Err is why the step failed.
	Err error
}

// Miss says why a step was not taken from the cache.
type Miss string

// The reasons, as the cache knows them.
const (
	// MissForced: the cache was not to be asked.
	MissForced Miss = "no-cache"
	// MissOperation: nothing is known of this operation with these inputs.
	MissOperation Miss = "operation"
	// MissParent: the operation is known, on top of other layers only.
	MissParent Miss = "parent"
	// MissLayer: the result is known, and its layer is not in the store any more.
	MissLayer Miss = "layer"
)

// ContextFiles are the files of the context that one step copies.
type ContextFiles struct {
	// Digest is over all that decides the result: see source.Tree.Digest.
	Digest digest.Digest
	tree   *source.Tree
	found  []source.Match
}

// Each calls fn for each file, with its path in the context, in the order in which they are copied.
func (c *ContextFiles) Each(ctx context.Context, fn func(path string, e *source.Entry) error) error {
	return c.tree.List(ctx, c.found, fn)
}

// planned tells the observer what is going to be done.
func (r *run) planned(src []byte) {
	if r.opts.Observer != nil {
		r.opts.Observer.Planned(Plan{File: r.file, Source: src, Graph: r.graph, Epoch: r.epoch})
	}
}

// observe tells the observer how a step ended. The layers of the step and of its parent may be still being
// written: it waits for them in a goroutine of its own.
func (w *work) observe(ctx context.Context, ended time.Time, err error) {
	r := w.run
	if r.opts.Observer == nil {
		return
	}
	s := Step{
		Vertex: w.s.v, Started: w.started, Ended: ended, Cached: w.s.cached, Miss: w.miss,
		Definition: w.definition, Inputs: w.ins, Files: w.copied, ByFiles: w.byFiles(), Context: w.context, Mounted: w.mounted, Err: err,
	}
	tell := func() {
		if w.parent.isReady() {
			s.Parent, _ = w.parent.chain(ctx)
		}
		if res := w.s.res; err == nil && res != nil {
			if s.ChainID, s.Err = res.chain(ctx); s.Err == nil {
				s.Layer = res.layer
			}
		}
		r.opts.Observer.Ended(s)
	}
	if w.parent.isReady() && w.s.res.isReady() {
		tell()
		return
	}
	r.writing.Go(func() {
		_, _ = w.parent.chain(ctx)
		tell()
	})
}

// observeBase tells of a base image.
func (r *run) observeBase(s *state, started time.Time) {
	if r.opts.Observer == nil {
		return
	}
	st := Step{Vertex: s.v, Started: started, Ended: time.Now()}
	if s.res != nil {
		st.Layer, st.ChainID = s.res.layer, s.res.chainID
	}
	r.opts.Observer.Ended(st)
}

// isReady reports whether the layer is there; it always is of the empty file system.
func (res *result) isReady() bool {
	if res == nil {
		return true
	}
	select {
	case <-res.ready:
		return true
	default:
		return false
	}
}
