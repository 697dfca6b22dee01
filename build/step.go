package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/camada/camada/build/cache"
	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
)

// state is a vertex in a run. What is set before done is closed is read after it.
type state struct {
	v      *graph.Vertex
	done   chan struct{}
	err    error
	res    *result // nil for an empty file system
	cached bool
	// identity names the step among those of all builds, see work.identity.
	identity digest.Digest
}

// of returns the result of a vertex that is done; nil for no vertex.
func (r *run) of(v *graph.Vertex) *result {
	if v == nil {
		return nil
	}
	return r.states[v.ID].res
}

// errNotReached is the end of steps whose inputs failed.
var errNotReached = errors.New("a step that this one needs failed")

// vertex does all for one vertex: wait for what it needs, look into the cache, execute.
func (r *run) vertex(ctx, writeCtx context.Context, s *state) error {
	v := s.v
	for _, need := range append([]*graph.Vertex{v.Parent}, v.Sources...) {
		if need == nil {
			continue
		}
		select {
		case <-r.states[need.ID].done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if r.states[need.ID].err != nil {
			return fmt.Errorf("%s: %w", v.Name, errNotReached)
		}
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if v.Base != nil {
		started := time.Now()
		r.sink.Emit(r.event(v, progress.Running))
		s.res = r.base(v.Base)
		r.observeBase(s, started)
		r.sink.Emit(r.event(v, progress.Done))
		return nil
	}
	err := r.execute(ctx, writeCtx, s)
	if err == nil {
		return nil
	}
	ev := r.event(v, progress.Failed)
	ev.Err = r.explain(v, err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		ev.State = progress.Canceled
	}
	r.sink.Emit(ev)
	return ev.Err
}

// explain puts the place in the Dockerfile to an error.
func (r *run) explain(v *graph.Vertex, err error) error {
	if v.Trigger != "" {
		err = fmt.Errorf("%s: %w", v.Trigger, err)
	}
	var exit *op.ExitError
	if _, isRun := v.Op.(*op.Run); isRun && errors.As(err, &exit) {
		hint := ""
		switch exit.Code {
		case 126:
			hint = "the command cannot be executed"
		case 127:
			hint = "the command was not found in the image"
		}
		return r.file.ErrorAt(v.Location, fmt.Errorf("the command failed: %w", err), hint)
	}
	var near *missingSource
	if errors.As(err, &near) {
		return r.file.ErrorAt(v.Location, err, dockerfile.DidYouMean(near.name, near.others))
	}
	return r.placed(v.Location, err)
}

// base returns the results of an image's layers, the same ones for all stages on it, so that
// it is unpacked once.
func (r *run) base(b *graph.Base) *result {
	r.basesMu.Lock()
	defer r.basesMu.Unlock()
	var res *result
	var chainID, blobs digest.Digest
	for i, desc := range b.Layers {
		diffID := b.Image.RootFS.DiffIDs[i]
		chainID = cache.ChainID(chainID, diffID)
		// By blobs too: two images can have one layer in two compressions.
		blobs = digest.FromString(blobs.String() + " " + desc.Digest.String() + " " + diffID.String())
		have := r.bases[blobs]
		if have == nil {
			have = r.known(res, layer.Layer{Descriptor: desc, DiffID: diffID}, chainID)
			r.bases[blobs] = have
		}
		res = have
	}
	return res
}

// execute looks the step up in the cache and executes it when it is not there.
func (r *run) execute(ctx, writeCtx context.Context, s *state) error {
	w := &work{run: r, s: s, parent: r.of(s.v.Parent), started: time.Now()}
	err := w.do(ctx, writeCtx)
	w.observe(writeCtx, time.Now(), err)
	return err
}

func (w *work) do(ctx, writeCtx context.Context) error {
	r, s := w.run, w.s
	if err := w.inputs(ctx); err != nil {
		r.sink.Emit(r.event(s.v, progress.Running))
		return err
	}
	s.identity = w.identity()
	hit, err := w.found(ctx)
	if err != nil {
		return err
	}
	if hit {
		if err := w.guardCached(ctx); err != nil {
			r.sink.Emit(r.event(s.v, progress.Running))
			return err
		}
		s.cached, w.miss = true, ""
		r.sink.Emit(r.event(s.v, progress.Cached))
		return nil
	}
	cached, err := w.make(ctx, writeCtx)
	if err != nil {
		w.end(nil)
		return err
	}
	if s.cached = cached; cached {
		if err := w.guardCached(ctx); err != nil {
			return err
		}
		w.miss = ""
		r.sink.Emit(r.event(s.v, progress.Cached))
	} else {
		r.sink.Emit(r.event(s.v, progress.Done))
	}
	return nil
}

// found takes the result from the cache, or from another build that makes it.
func (w *work) found(ctx context.Context) (bool, error) {
	r := w.run
	w.miss = MissForced
	if !r.opts.NoCache && !slices.Contains(r.opts.NoCacheStages, w.s.v.Stage) {
		if hit, err := w.lookup(ctx, w.ins); hit || err != nil {
			return hit, err
		}
	}
	return w.share(ctx)
}

// make executes the step. It is cached when its result was found after all, by the files that it copies.
func (w *work) make(ctx, writeCtx context.Context) (cached bool, err error) {
	r, s := w.run, w.s
	select {
	case r.steps <- struct{}{}:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	defer func() { <-r.steps }()
	w.started = time.Now()
	r.sink.Emit(r.event(s.v, progress.Running))
	if o, ok := s.v.Op.(*op.Run); ok {
		return false, w.exec(ctx, writeCtx, o)
	}
	return w.files(ctx, writeCtx)
}

// work is the execution of one vertex.
type work struct {
	run    *run
	s      *state
	parent *result
	items  []op.Item // of a local copy
	// remotes are what is known of the sources that are fetched, in the order of op.Copy.Remotes.
	remotes []remote
	// definition and ins are what the key is made of.
	definition string
	ins        []string
	// copied is the digest of the files that a copy takes from another stage or an image, "" while that is not known.
	copied digest.Digest
	// shown are the digests of what the mounts of a RUN show, "" for none.
	shown []digest.Digest
	// flight is what other builds wait for; nil when this one does not make the result.
	flight *flight
	// context is what a local copy takes, miss why the cache did not serve, started when that was known.
	context *ContextFiles
	mounted []*ContextFiles
	miss    Miss
	started time.Time
}

// inputs finds out what the step reads besides its parent.
func (w *work) inputs(ctx context.Context) error {
	r := w.run
	w.definition = w.s.v.Op.Definition()
	w.ins = []string{"epoch=" + strconv.FormatInt(r.epoch.Unix(), 10), "compression=" + string(r.opts.compressionOf())}
	if o, ok := w.s.v.Op.(*op.Run); ok {
		return w.mountInputs(ctx, o)
	}
	c, ok := w.s.v.Op.(*op.Copy)
	if !ok {
		return nil
	}
	if err := w.identify(ctx, c); err != nil || len(c.Sources) == 0 {
		return err
	}
	if c.From {
		chainID, err := r.of(w.s.v.Sources[0]).chain(ctx)
		if err != nil {
			return err
		}
		w.ins = append(w.ins, fromInput+chainID.String())
		return nil
	}
	tree, err := r.contextOf(w.s.v.Context)
	if err != nil {
		return err
	}
	where := "build context"
	if w.s.v.Context != "" {
		where = "context " + w.s.v.Context
	}
	if w.items, err = match(ctx, tree, c, where); err != nil {
		return err
	}
	dgst, err := tree.Digest(ctx, matchesOf(w.items))
	if err != nil {
		return err
	}
	w.ins = append(w.ins, "context="+dgst.String())
	w.context = &ContextFiles{Digest: dgst, tree: tree, found: matchesOf(w.items)}
	return nil
}

// key is the cache key on top of a parent.
func (w *work) key(parent digest.Digest) cache.Key {
	return cache.NewKey(w.definition, w.ins, parent)
}

// lookup takes the result from the cache, or from where else results are, if it is there by the inputs ins. It waits for the parent's
// layer to be written only when that can help.
func (w *work) lookup(ctx context.Context, ins []string) (bool, error) {
	r := w.run
	op := cache.NewKey(w.definition, ins, "").Op
	known := r.cache.Known(op)
	if !known && !slices.ContainsFunc(r.opts.CacheFrom, func(l Lookup) bool { return l.Known(op) }) {
		w.miss = MissOperation
		return false, nil
	}
	parent, err := w.parent.chain(ctx)
	if err != nil {
		return false, err
	}
	key := cache.Key{Op: op, Parent: parent}
	rec, err := r.cache.Get(ctx, key, r.p.Content, r.p.Pins)
	if err == nil {
		w.take(rec.Result)
		if other := w.byFiles(); other != nil { // it gets as old as this one
			r.cache.Used(cache.NewKey(w.definition, other, parent))
		}
		return true, nil
	}
	if !errdefs.IsNotFound(err) {
		return false, err
	}
	switch {
	case !known:
		w.miss = MissOperation
	case r.cache.Has(key):
		w.miss = MissLayer
	default:
		w.miss = MissParent
	}
	return w.elsewhere(ctx, key)
}

// elsewhere takes the result from another place than the cache.
func (w *work) elsewhere(ctx context.Context, key cache.Key) (bool, error) {
	r := w.run
	for _, from := range r.opts.CacheFrom {
		found, ok := from.Find(key)
		if !ok || found.ChainID != cache.ChainID(key.Parent, found.Layer.DiffID) {
			continue
		}
		if err := r.p.Pins.Pin(ctx, lease.Blob(found.Layer.Descriptor.Digest)); err != nil {
			return false, err
		}
		if _, err := r.p.Content.Stat(ctx, found.Layer.Descriptor.Digest); errdefs.IsNotFound(err) {
			continue
		} else if err != nil {
			return false, err
		}
		w.take(found)
		_ = w.record(ctx) // the next build asks the cache alone, once the layer is here
		return true, nil
	}
	return false, nil
}

// take makes what was found the result.
func (w *work) take(found cache.Result) {
	w.s.res = w.run.known(w.parent, found.Layer, found.ChainID)
	if w.copied == "" {
		w.copied = found.Files
	}
}

// needed reports whether a later step reads the file system that v makes.
func (r *run) needed(v *graph.Vertex) bool {
	for _, other := range r.graph.Vertices {
		if slices.Contains(other.Sources, v) {
			return true
		}
		if other.Parent != v {
			continue
		}
		if c, ok := other.Op.(*op.Copy); ok && c.Link {
			if r.needed(other) {
				return true
			}
			continue
		}
		return true
	}
	return false
}
