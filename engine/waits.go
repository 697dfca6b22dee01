package engine

import (
	"path/filepath"
	"slices"
	"sync"

	"github.com/camada/camada/progress"
	"github.com/camada/camada/remote/unfinished"
)

// waits passes on why registries are waited for, to those verbs that show something.
type waits struct {
	mu    sync.Mutex
	sinks []progress.Sink
}

// Emit implements progress.Sink.
func (w *waits) Emit(e progress.Event) {
	w.mu.Lock()
	sinks := slices.Clone(w.sinks)
	w.mu.Unlock()
	for _, s := range sinks {
		s.Emit(e)
	}
}

// show passes it on to a sink, which may be nil, until stop is called.
func (w *waits) show(sink progress.Sink) (stop func()) {
	if sink == nil {
		return func() {}
	}
	sink = &shown{sink}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sinks = append(w.sinks, sink)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sinks = slices.DeleteFunc(w.sinks, func(s progress.Sink) bool { return s == sink })
	}
}

// shown tells one sink from another: two may be alike.
type shown struct{ progress.Sink }

// uploads remembers pushes that were cut off.
func (e *Engine) uploads() *unfinished.Dir {
	return unfinished.Open(filepath.Join(e.root, "cache", "uploads"))
}
