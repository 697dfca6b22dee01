package explain

import (
	"context"
	"strings"

	"github.com/camada/camada/build/history"
	"github.com/opencontainers/go-digest"
)

// maxBefore is how many earlier builds are looked at.
const maxBefore = 50

// Parts are what the explanation reads.
type Parts struct {
	// Before calls fn for earlier builds of the same context and Dockerfile, the youngest first; see history.History.
	Before func(ctx context.Context, b *history.Build, fn func(*history.Build) bool) error
	// Files tells what differs between two lists of files; see history.History.
	Files func(before, after digest.Digest, fn func(f history.File, before bool) error) error
	// Layer lists what is in a layer; an error when that is not known. nil knows no layer.
	Layer func(diffID digest.Digest) ([]LayerFile, error)
}

// explainer compares one build with earlier ones.
type explainer struct {
	files  func(before, after digest.Digest, fn func(f history.File, before bool) error) error
	layer  func(diffID digest.Digest) ([]LayerFile, error)
	cur    *history.Build
	before []*history.Build
	// peers are the same steps of earlier builds, by place.
	peers []peer
	// made and failed are the IDs of the youngest builds in which a key was, by key.
	made, failed map[string]string
	texts        map[*history.Build][]string
}

// peer is the step of an earlier build that a step is compared with.
type peer struct {
	b  *history.Build // nil: the stage was not built before
	id int            // -1: the stage did not have the step
}

// Build explains b.
func Build(ctx context.Context, b *history.Build, p Parts) (*Report, error) {
	x := &explainer{files: p.Files, layer: p.Layer, cur: b, made: map[string]string{}, failed: map[string]string{}, texts: map[*history.Build][]string{}}
	err := p.Before(ctx, b, func(o *history.Build) bool {
		x.before = append(x.before, o)
		return len(x.before) < maxBefore
	})
	if err != nil {
		return nil, err
	}
	for _, o := range x.before {
		x.index(o)
	}
	x.match()
	r := &Report{
		ID: b.ID, Context: b.Context, Dockerfile: b.Dockerfile, Target: b.Target, Platform: b.Platform, Tags: b.Tags,
		Status: string(b.Status), Error: b.Error, Manifest: b.Manifest, Seconds: b.Duration().Seconds(),
	}
	r.Cached, r.Total = b.Cached()
	used := map[*history.Build]bool{}
	for i := range b.Plan.Vertices {
		r.Steps = append(r.Steps, x.verdict(i))
		used[x.peers[i].b] = true
	}
	for _, o := range x.before {
		if used[o] {
			r.Before = append(r.Before, o.ID)
		}
	}
	x.roots(r)
	return r, nil
}

// index notes the keys of a build.
func (x *explainer) index(o *history.Build) {
	for i, s := range o.Steps {
		k := keyOf(o, i)
		if k == "" {
			continue
		}
		into := x.made
		if s.ChainID == "" {
			into = x.failed
		}
		if _, ok := into[k]; !ok {
			into[k] = o.ID
		}
	}
}

// keyOf is what decides the result of a step; "" when that is not known.
func keyOf(b *history.Build, i int) string {
	s := b.Steps[i]
	if s == nil || b.Plan.Vertices[i].Base != "" || len(s.Inputs) == 0 {
		return ""
	}
	if s.Parent == "" && b.Plan.Vertices[i].Parent >= 0 {
		return "" // it failed before its parent's layer was written
	}
	return b.DefinitionOf(i) + "\x00" + strings.Join(s.Inputs, "\x00") + "\x00" + s.Parent.String()
}

// match finds the peers: stage by stage, each in the youngest build that had the stage.
func (x *explainer) match() {
	x.peers = make([]peer, len(x.cur.Plan.Vertices))
	for i := range x.peers {
		x.peers[i].id = -1
	}
	stages := stagesOf(x.cur)
	for _, st := range stages.order {
		o, name := x.stageBefore(st)
		if o == nil {
			continue
		}
		mine, theirs := stages.of[st], stagesOf(o).of[name]
		pairs := align(x.textsOf(o, theirs), x.textsOf(x.cur, mine))
		for k, i := range mine {
			x.peers[i].b = o
			if j := pairs[k]; j >= 0 {
				x.peers[i].id = theirs[j]
			}
		}
	}
}

// Pair pairs the steps of cur with those of an older build, stage by stage: for each of cur its place in old, or -1.
func Pair(old, cur *history.Build) []int {
	out := make([]int, len(cur.Plan.Vertices))
	for i := range out {
		out[i] = -1
	}
	if old.Plan.Digest == cur.Plan.Digest && len(old.Plan.Vertices) == len(cur.Plan.Vertices) {
		for i := range out {
			out[i] = i
		}
		return out
	}
	a, b, mine, theirs := texts(old), texts(cur), stagesOf(cur), stagesOf(old)
	for _, st := range mine.order {
		ids, oldIDs := mine.of[st], theirs.of[st]
		for k, j := range align(pick(a, oldIDs), pick(b, ids)) {
			if j >= 0 {
				out[ids[k]] = oldIDs[j]
			}
		}
	}
	return out
}

func pick(texts []string, ids []int) []string {
	out := make([]string, len(ids))
	for k, i := range ids {
		out[k] = texts[i]
	}
	return out
}

// stageBefore finds the youngest build with a stage, on this platform when there is one. A stage that has another
// name than before is taken for the one of the youngest build that is gone, at its place.
func (x *explainer) stageBefore(st string) (*history.Build, string) {
	var other *history.Build
	for _, o := range x.before {
		if _, ok := stagesOf(o).of[st]; !ok || !began(o) {
			continue
		}
		if o.Platform == x.cur.Platform {
			return o, st
		}
		if other == nil {
			other = o
		}
	}
	if other != nil || len(x.before) == 0 {
		return other, st
	}
	o := x.before[0]
	if o.Target != x.cur.Target { // the stages of other targets are not gone
		return nil, ""
	}
	mine, theirs := stagesOf(x.cur), stagesOf(o)
	var gone, fresh []string
	for _, s := range theirs.order {
		if _, ok := mine.of[s]; !ok && s != "" {
			gone = append(gone, s)
		}
	}
	for _, s := range mine.order {
		if _, ok := theirs.of[s]; !ok && s != "" {
			fresh = append(fresh, s)
		}
	}
	if len(gone) != len(fresh) {
		return nil, ""
	}
	for i, s := range fresh {
		if s == st {
			return o, gone[i]
		}
	}
	return nil, ""
}

// began reports whether any step of a build ended.
func began(b *history.Build) bool {
	for _, s := range b.Steps {
		if s != nil {
			return true
		}
	}
	return false
}

// stages are the places of the steps of each stage, in order.
type stages struct {
	order []string
	of    map[string][]int
}

func stagesOf(b *history.Build) stages {
	s := stages{of: map[string][]int{}}
	for i, v := range b.Plan.Vertices {
		if _, ok := s.of[v.Stage]; !ok {
			s.order = append(s.order, v.Stage)
		}
		s.of[v.Stage] = append(s.of[v.Stage], i)
	}
	return s
}

func (x *explainer) textsOf(b *history.Build, ids []int) []string {
	if x.texts[b] == nil {
		x.texts[b] = texts(b)
	}
	return pick(x.texts[b], ids)
}

func (x *explainer) textOf(b *history.Build, i int) string { return x.textsOf(b, []int{i})[0] }

// texts are the instructions as they stand in the Dockerfile; what stands nowhere, or in another line,
// is called by its name.
func texts(b *history.Build) []string {
	lines := strings.Split(b.Plan.Source, "\n")
	out := make([]string, len(b.Plan.Vertices))
	for i, v := range b.Plan.Vertices {
		name := body(v.Name)
		out[i] = name
		if b.Plan.Source == "" || v.Line < 1 || v.EndLine > len(lines) {
			continue
		}
		text := strings.TrimSpace(strings.Join(lines[v.Line-1:v.EndLine], "\n"))
		verb, _, _ := strings.Cut(name, " ")
		if first, _, _ := strings.Cut(text, " "); strings.EqualFold(verb, first) && v.Stage != "" {
			out[i] = verb + text[len(verb):]
		}
	}
	return out
}

// body is a step's name without its number.
func body(name string) string {
	if strings.HasPrefix(name, "[") {
		if _, rest, ok := strings.Cut(name, "] "); ok {
			return rest
		}
	}
	return name
}

// verdict is what is to be said of step i.
func (x *explainer) verdict(i int) Verdict {
	v, s := x.cur.Plan.Vertices[i], x.cur.Steps[i]
	out := Verdict{ID: i, Name: v.Name, Stage: v.Stage, Line: v.Line, EndLine: v.EndLine, Outcome: NotReached}
	if s == nil {
		return out
	}
	out.Seconds, out.Size, out.Error = s.Duration().Seconds(), s.Size, s.Error
	switch {
	case v.Base != "":
		out.Outcome, out.Size = Base, 0
		out.Reasons = x.base(i)
		return out
	case s.Cached:
		out.Outcome = Cached
		if p := v.Parent; p >= 0 && x.executed(p) {
			out.Note = "its parent " + x.cur.Plan.Vertices[p].Name + " was executed with the same result"
		}
		return out
	case s.Error != "" && len(s.Inputs) == 0:
		out.Outcome = Failed
		return out
	}
	if out.Outcome = Executed; s.Error != "" {
		out.Outcome = Failed
	}
	out.Reasons = x.reasons(i)
	return out
}

func (x *explainer) executed(i int) bool {
	s := x.cur.Steps[i]
	return s != nil && !s.Cached && s.ChainID != "" && x.cur.Plan.Vertices[i].Base == ""
}

// roots follows parents and sources that were rebuilt to where it began.
func (x *explainer) roots(r *Report) {
	for i := range r.Steps {
		at := i
		for next := x.cause(r, at); next >= 0; next = x.cause(r, at) { // it goes down only, so it ends
			at = next
		}
		if at != i {
			r.Steps[i].Root = r.Steps[at].Name
		}
	}
}

// cause is the step that is the first reason why step i was executed; -1 when there is another reason than
// steps that were executed.
func (x *explainer) cause(r *Report, i int) int {
	next := -1
	for _, why := range r.Steps[i].Reasons {
		if why.step < 0 || why.Kind != Parent && why.Kind != Source {
			return -1
		}
		if next < 0 {
			next = why.step
		}
	}
	return next
}
