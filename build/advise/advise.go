package advise

import (
	"cmp"
	"context"
	"slices"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/explain"
	"github.com/camada/camada/build/history"
	"github.com/opencontainers/go-digest"
)

// Kind is a kind of advice.
type Kind string

// The kinds; see the package comment.
const (
	Split    Kind = "split"
	Ignore   Kind = "ignore"
	Argument Kind = "argument"
	Cache    Kind = "cache"
)

// Advice is one piece of advice, with what it would have saved.
type Advice struct {
	Kind Kind
	// Line is where the instruction stands that is to be changed, Step its name.
	Line int
	Step string
	// Text says what to do.
	Text string
	// Steps would have stayed cached.
	Steps []string `json:",omitempty"`
	// SecondsPerBuild and BytesPerPush (compressed) are means over Builds builds; in Helped of them it would have saved something.
	SecondsPerBuild float64
	BytesPerPush    int64
	Builds, Helped  int
	// Evidence is what was measured, Assumes what else must be true; "" is nothing.
	Evidence string
	Assumes  string `json:",omitempty"`
	// Files that the advice is about, at most maxFiles.
	Files []string `json:",omitempty"`
}

// maxFiles is how many files an advice names.
const maxFiles = 20

// Report is the advice for one Dockerfile.
type Report struct {
	Dockerfile string
	// Builds are the IDs of the builds that were replayed, the youngest first; the first one only begins.
	Builds []string
	// Advice in the order of what it saves.
	Advice []Advice
}

// Parts are what the advice reads besides the builds.
type Parts struct {
	// Files tells what differs between two lists of files; see history.History.
	Files func(before, after digest.Digest, fn func(f history.File, before bool) error) error
	// Layer calls fn for each regular file of a layer. ErrNotFound when it is not in the store. nil knows no layers.
	Layer func(ctx context.Context, s *history.Step, fn func(path string, size int64)) error
	// Compressed is how large the files of a layer that match chooses are when they are compressed by themselves.
	Compressed func(ctx context.Context, s *history.Step, match func(path string) bool) (int64, error)
}

// replay is a series of builds of one Dockerfile.
type replay struct {
	parts  Parts
	builds []*history.Build // the oldest first
	ref    *history.Build   // the youngest
	// at says where a step of ref is in a build; -1 for nowhere.
	at [][]int
}

// Advise looks at builds of one Dockerfile, target and platform that succeeded, the oldest first, at least one.
func Advise(ctx context.Context, builds []*history.Build, p Parts) (*Report, error) {
	r := &replay{parts: p, builds: builds, ref: builds[len(builds)-1]}
	out := &Report{Dockerfile: r.ref.Dockerfile}
	for _, b := range builds {
		r.at = append(r.at, explain.Pair(b, r.ref))
		out.Builds = append(out.Builds, b.ID)
	}
	slices.Reverse(out.Builds)
	for _, f := range []func(context.Context) ([]Advice, error){r.splits, r.ignores, r.arguments, r.caches} {
		more, err := f(ctx)
		if err != nil {
			return nil, err
		}
		out.Advice = append(out.Advice, more...)
	}
	slices.SortStableFunc(out.Advice, func(a, b Advice) int {
		return cmp.Or(cmp.Compare(b.SecondsPerBuild, a.SecondsPerBuild), cmp.Compare(b.BytesPerPush, a.BytesPerPush), cmp.Compare(a.Line, b.Line))
	})
	return out, nil
}

// step is what became of step i of ref in build k; nil when the build did not have it.
func (r *replay) step(k, i int) *history.Step {
	if j := r.at[k][i]; j >= 0 {
		return r.builds[k].Steps[j]
	}
	return nil
}

func (r *replay) definition(k, i int) string { return r.builds[k].DefinitionOf(r.at[k][i]) }

// executed reports whether a step was executed because the cache did not have it.
func executed(s *history.Step) bool {
	return s != nil && !s.Cached && s.ChainID != "" && (s.Miss == string(build.MissOperation) || s.Miss == string(build.MissParent))
}

// saved adds up what would have been saved when some steps had been cached.
type saved struct {
	r *replay
	// steps are those of ref, by build.
	steps map[int]map[int]bool
	bytes int64
}

func (r *replay) saved() *saved { return &saved{r: r, steps: map[int]map[int]bool{}} }

// add notes that step i of build k would have been cached, and that so many bytes of a layer had not been new.
func (s *saved) add(k, i int, bytes int64) {
	if s.steps[k] == nil {
		s.steps[k] = map[int]bool{}
	}
	s.steps[k][i] = true
	s.bytes += bytes
}

// fill sets the figures of an advice.
func (s *saved) fill(a *Advice) {
	a.Builds, a.Helped = len(s.r.builds)-1, len(s.steps)
	if a.Builds == 0 {
		return
	}
	var micros int64
	names := map[int]bool{}
	for k, steps := range s.steps {
		cached := map[int]bool{}
		for i := range steps {
			cached[s.r.at[k][i]] = true
			names[i] = true
		}
		micros += longest(s.r.builds[k], nil) - longest(s.r.builds[k], cached)
	}
	a.SecondsPerBuild = float64(micros) / 1e6 / float64(a.Builds)
	a.BytesPerPush = s.bytes / int64(a.Builds)
	for i, v := range s.r.ref.Plan.Vertices {
		if names[i] {
			a.Steps = append(a.Steps, v.Name)
		}
	}
}

// longest is how long the longest chain of steps took that waited for each other, in microseconds; steps in cached
// took no time.
func longest(b *history.Build, cached map[int]bool) int64 {
	ends := make([]int64, len(b.Plan.Vertices))
	var last int64
	for i, v := range b.Plan.Vertices {
		var from int64
		if v.Parent >= 0 {
			from = ends[v.Parent]
		}
		for _, s := range v.Sources {
			if s >= 0 {
				from = max(from, ends[s])
			}
		}
		if s := b.Steps[i]; s != nil && !s.Cached && !cached[i] {
			from += s.Took
		}
		ends[i] = from
		last = max(last, from)
	}
	return last
}

// pushed are the steps of ref whose layers are in the image.
func (r *replay) pushed() map[int]bool {
	out := map[int]bool{}
	for i := r.ref.Plan.Target; i >= 0; i = r.ref.Plan.Vertices[i].Parent {
		out[i] = true
	}
	return out
}

// newBytes is the size of the layer of step i in build k if no earlier build had it in its image, and so none pushed it.
func (r *replay) newBytes(k, i int) int64 {
	if !r.pushed()[i] {
		return 0
	}
	s := r.step(k, i)
	for j := range k {
		if o := r.step(j, i); o != nil && o.Layer == s.Layer {
			return 0
		}
	}
	return s.Size
}

// files are those of a list that match patterns, by path.
func (r *replay) files(list digest.Digest, patterns []string) (map[string]history.File, error) {
	out := map[string]history.File{}
	err := r.parts.Files("", list, func(f history.File, _ bool) error {
		if matchAny(patterns, f.Path) {
			out[f.Path] = f
		}
		return nil
	})
	return out, err
}

// changed are the paths that differ between two lists, sorted.
func (r *replay) changed(before, after digest.Digest) ([]string, error) {
	was, is := map[string]history.File{}, map[string]history.File{}
	err := r.parts.Files(before, after, func(f history.File, old bool) error {
		if old {
			was[f.Path] = f
		} else {
			is[f.Path] = f
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []string
	for p, f := range was {
		if g, ok := is[p]; !ok || f != g {
			out = append(out, p)
		}
	}
	for p := range is {
		if _, ok := was[p]; !ok {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out, nil
}
