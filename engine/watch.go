package engine

import (
	"slices"
	"strings"
	"sync"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/graph"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// watches are the builds of one call, for one platform each.
type watches struct {
	mu   sync.Mutex
	list []*watchedBuild
}

// watchedBuild is one build: its steps, what each was made of, and what it made.
type watchedBuild struct {
	platform string
	result   *build.Result

	mu    sync.Mutex
	plan  build.Plan
	steps map[int]build.Step
}

// begin adds a build; nil when nobody watches.
func (ws *watches) begin(platform string) *watchedBuild {
	if ws == nil {
		return nil
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := &watchedBuild{platform: platform}
	ws.list = append(ws.list, w)
	return w
}

// sorted returns the builds in the order of their platforms.
func (ws *watches) sorted() []*watchedBuild {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return slices.SortedFunc(slices.Values(ws.list), func(a, b *watchedBuild) int { return strings.Compare(a.platform, b.platform) })
}

// end notes what the build made.
func (w *watchedBuild) end(res *build.Result) {
	if w != nil {
		w.result = res
	}
}

// Planned implements build.Observer.
func (w *watchedBuild) Planned(p build.Plan) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plan, w.steps = p, make(map[int]build.Step, len(p.Graph.Vertices))
}

// Ended implements build.Observer.
func (w *watchedBuild) Ended(s build.Step) {
	if w == nil {
		return
	}
	s.Mounted = nil
	if s.Context != nil { // its files are there during the call only
		s.Context = &build.ContextFiles{Digest: s.Context.Digest}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps[s.Vertex.ID] = s
}

// observers are all told.
type observers []build.Observer

// Planned implements build.Observer.
func (o observers) Planned(p build.Plan) {
	for _, each := range o {
		each.Planned(p)
	}
}

// Ended implements build.Observer.
func (o observers) Ended(s build.Step) {
	for _, each := range o {
		each.Ended(s)
	}
}

// inputsOf are the vertices that one reads.
func inputsOf(v *graph.Vertex) []*graph.Vertex {
	all := append([]*graph.Vertex{v.Parent}, v.Sources...)
	return slices.DeleteFunc(all, func(v *graph.Vertex) bool { return v == nil })
}

// linesOf is the place of a step in its Dockerfile; 0 is none.
func linesOf(loc []parser.Range) (first, last int) {
	for _, r := range loc {
		if first == 0 || r.Start.Line < first {
			first = r.Start.Line
		}
		last = max(last, r.Start.Line, r.End.Line)
	}
	return first, last
}
