package build

import (
	"context"
	"errors"
	"testing"

	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/content"
	"github.com/camada/camada/layer"
)

// refuser is a Guard that refuses what comes from caches.
type refuser struct{ Guard }

var errRefused = errors.New("refused")

func (refuser) Cached(context.Context, *graph.Vertex, layer.Layer, content.Provider) error {
	return errRefused
}

// TestGuardCached shows the guard all layers of caches, whatever these say of them.
func TestGuardCached(t *testing.T) {
	for _, empty := range []bool{false, true} {
		w := &work{run: &run{Builder: &Builder{}, opts: Options{Guard: refuser{}}}, s: &state{v: &graph.Vertex{}, res: &result{layer: layer.Layer{Empty: empty}}}}
		if err := w.guardCached(t.Context()); !errors.Is(err, errRefused) {
			t.Errorf("empty %t: %v", empty, err)
		}
	}
}
