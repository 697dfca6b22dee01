package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/content"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/layer"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/opencontainers/go-digest"
)

// Guard looks at what a build is about to keep, for what must not be in an image. An error of it ends the build, and what the error is about is kept nowhere: no
// layer in the store, no record in the cache. An error with a method Hint() string says what to do about it. Calls come from many goroutines.
type Guard interface {
	// Texts is told once, before the first step, what goes into configs and histories. With an error it says which text that is about.
	Texts(texts []graph.Text) (refused int, err error)
	// Layer is called when the layer of a step is about to be written; nil is not interested in it.
	Layer(ctx context.Context, v *graph.Vertex) (LayerGuard, error)
	// Cached is told of a step whose layer, which p can open, was made by another build.
	Cached(ctx context.Context, v *graph.Vertex, l layer.Layer, p content.Provider) error
}

// LayerGuard looks at one layer, whose uncompressed tar is written to it.
type LayerGuard interface {
	io.Writer
	// Check is called when all was written, before the layer is stored.
	Check(diffID digest.Digest) error
	// Stored is called when the layer is stored.
	Stored(l layer.Layer)
	// Close ends it, whether all was written or not.
	Close() error
}

// guardTexts shows the guard what the Dockerfile and the options say.
func (r *run) guardTexts() error {
	if r.opts.Guard == nil {
		return nil
	}
	texts := slices.Clone(r.graph.Texts)
	for _, k := range slices.Sorted(maps.Keys(r.opts.Labels)) {
		texts = append(texts, graph.Text{Where: "label", Name: k, Text: k + "=" + r.opts.Labels[k]})
	}
	notes := r.annotations() // with what comments describe
	for _, k := range slices.Sorted(maps.Keys(notes)) {
		texts = append(texts, graph.Text{Where: "annotation", Name: k, Text: k + "=" + notes[k]})
	}
	i, err := r.opts.Guard.Texts(texts)
	if err == nil {
		return nil
	}
	if t := texts[i].Trigger; t != "" {
		err = fmt.Errorf("%s: %w", t, err)
	}
	return r.placed(texts[i].Location, err)
}

// placed puts the place in the Dockerfile to an error that may be the guard's. Of such a place the lines are not shown: what must not be in an image can stand in them.
func (r *run) placed(at []parser.Range, err error) error {
	var guards interface{ Hint() string }
	if !errors.As(err, &guards) {
		return r.file.ErrorAt(at, err, "")
	}
	err = r.file.ErrorAt(at, err, guards.Hint())
	var e *dockerfile.Error
	if errors.As(err, &e) {
		e.Snippet = nil
	}
	return err
}

// guarded has the guard look at the step's layer while it is written with these options: to tee goes what the guard reads, and done ends it.
func (w *work) guarded(ctx context.Context, opts *layer.WriteOptions) (tee []io.Writer, done func(), err error) {
	done = func() {}
	g := w.run.opts.Guard
	if g == nil {
		return nil, done, nil
	}
	l, err := g.Layer(ctx, w.s.v)
	if l == nil || err != nil {
		return nil, done, err
	}
	opts.Check, opts.Stored = l.Check, l.Stored
	return []io.Writer{l}, func() { _ = l.Close() }, nil
}

// guardCached shows the guard a layer that was found, also one of which a cache says that it is empty: it becomes a part of the image all the same, and caches come from others.
func (w *work) guardCached(ctx context.Context) error {
	g, res := w.run.opts.Guard, w.s.res
	if g == nil || res == nil {
		return nil
	}
	return g.Cached(ctx, w.s.v, res.layer, w.run.p.Content)
}
