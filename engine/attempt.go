package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/camada/camada/build"
	"github.com/camada/camada/progress"
)

// attempts builds until it is done without what could not be had: a source of cache that does not keep its promises costs
// time, and never the build. It returns the records of the last attempt too.
func (e *Engine) attempts(ctx context.Context, opts *BuildOptions, from cacheSources, blobs *lazy,
	once func(from []build.Lookup, rec *recording, sink progress.Sink) (*built, error)) (*built, *recording, *collector, error) {
	sink, sources := blobs.sink, slices.Clone(from)
	for n := 1; ; n++ {
		lookups := make([]build.Lookup, len(sources))
		for i, s := range sources {
			lookups[i] = s
		}
		rec, steps := e.record(*opts), &collector{}
		if len(opts.CacheTo) > 0 {
			rec.also = steps
		}
		attemptSink := sink
		if n > 1 {
			attemptSink = attempt{sink, n}
		}
		res, err := once(lookups, rec, attemptSink)
		lost := (*lostError)(nil)
		if err == nil || ctx.Err() != nil || !errors.As(err, &lost) || len(lost.caches) == 0 {
			return res, rec, steps, err
		}
		rec.finish(nil, err)
		opts.watch.restart()
		for _, c := range lost.caches {
			blobs.drop(c)
			if !c.restricted && !c.has(lost.digest) {
				// It never said that it has this one. What it has may serve still.
				c.restrict()
				c.offer(blobs)
				continue
			}
			sources = slices.DeleteFunc(sources, func(s *cacheSource) bool { return s == c })
			sink.Emit(progress.Event{ID: fmt.Sprintf("cache-lost-%p", c), Name: "building again without the cache of " + c.spec.String(), State: progress.Failed, Err: lost})
		}
	}
}

// attempt tells the events of another attempt from those of the first one.
type attempt struct {
	progress.Sink
	n int
}

// Emit implements progress.Sink.
func (a attempt) Emit(e progress.Event) {
	e.ID = fmt.Sprintf("attempt-%d-%s", a.n, e.ID)
	a.Sink.Emit(e)
}

// restart forgets the builds so far.
func (ws *watches) restart() {
	if ws == nil {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.list = nil
}
