package build

import (
	"context"
	"strings"
	"sync"

	"github.com/camada/camada/build/cache"
	"github.com/camada/camada/build/graph"
	"github.com/opencontainers/go-digest"
)

// flights are the steps that the builds of one Builder have under way or have made. Builds of one Dockerfile for several
// platforms have stages in common, those on $BUILDPLATFORM: each of their steps is executed once, also with NoCache.
type flights struct {
	mu     sync.Mutex
	builds int // under way
	steps  map[digest.Digest]*flight
}

// enter begins a build, leave ends it. When none is under way the steps are forgotten: what comes later asks the cache.
func (f *flights) enter() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.builds++
}

func (f *flights) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.builds--; f.builds == 0 {
		f.steps = nil
	}
}

// flight is one step of one of the builds. What is set before done is closed is read after it.
type flight struct {
	done chan struct{}
	made cache.Result
	ok   bool
}

// join returns the flight of a step, and whether the caller is the one that makes it: it has to end it then.
func (f *flights) join(step digest.Digest) (fl *flight, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.steps[step]; fl != nil {
		return fl, false
	}
	if f.steps == nil {
		f.steps = make(map[digest.Digest]*flight)
	}
	fl = &flight{done: make(chan struct{})}
	f.steps[step] = fl
	return fl, true
}

// drop forgets a flight that failed, so that another build tries for itself.
func (f *flights) drop(step digest.Digest, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.steps[step] == fl {
		delete(f.steps, step)
	}
}

// identity names a step by all that decides its result: its own definition and inputs, and the identities of the steps that
// it starts from and reads. Two builds that have a step of the same identity get the same result.
func (w *work) identity() digest.Digest {
	parts := []string{w.key("").Op.String(), w.run.identityOf(w.s.v.Parent)}
	for _, v := range w.s.v.Sources {
		parts = append(parts, w.run.identityOf(v))
	}
	return digest.FromString(strings.Join(parts, " "))
}

// identityOf is that of a vertex that is done.
func (r *run) identityOf(v *graph.Vertex) string {
	if v == nil {
		return "scratch"
	}
	if v.Base != nil {
		var chain digest.Digest
		for _, d := range v.Base.Image.RootFS.DiffIDs {
			chain = cache.ChainID(chain, d)
		}
		return chain.String()
	}
	return r.states[v.ID].identity.String()
}

// share takes the step's result from another build of the same Builder that makes it or has made it. When there is none, the
// caller makes the result, and calls end with what came of it.
func (w *work) share(ctx context.Context) (hit bool, err error) {
	for {
		fl, first := w.run.flights.join(w.s.identity)
		if first {
			w.flight = fl
			return false, nil
		}
		select {
		case <-fl.done:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
		if fl.ok {
			w.take(fl.made)
			return true, nil
		}
	}
}

// end tells the others what came of the step. A nil result is a step that failed.
func (w *work) end(res *result) {
	fl := w.flight
	if fl == nil {
		return
	}
	if res != nil && res.err == nil {
		fl.made, fl.ok = cache.Result{Layer: res.layer, ChainID: res.chainID, Files: w.copied}, true
	} else {
		w.run.flights.drop(w.s.identity, fl)
	}
	close(fl.done)
}
