package explain

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/history"
	"github.com/opencontainers/go-digest"
)

// reasons why step i was executed, which says all that its key was made of.
func (x *explainer) reasons(i int) []Reason {
	s, p := x.cur.Steps[i], x.peers[i]
	switch build.Miss(s.Miss) {
	case build.MissForced:
		why := "--no-cache-filter names its stage"
		if x.cur.NoCache {
			why = "--no-cache was given"
		}
		return []Reason{{Kind: NoCache, Text: why}}
	case build.MissLayer:
		return []Reason{{Kind: LayerGone, Text: "its layer was removed from the store since it was made", Name: x.made[keyOf(x.cur, i)]}}
	}
	if k := keyOf(x.cur, i); k != "" {
		if id, ok := x.made[k]; ok {
			return []Reason{{Kind: RecordGone, Text: "build " + id + " made the same; its cache record was removed since", Name: id}}
		}
		if id, ok := x.failed[k]; ok {
			return []Reason{{Kind: FailedBefore, Text: "it failed or was stopped in build " + id, Name: id}}
		}
	}
	if p.b == nil {
		if len(x.before) == 0 {
			return []Reason{{Kind: First, Text: "first build of this Dockerfile with this context"}}
		}
		return []Reason{{Kind: First, Text: "the stage was not built before"}}
	}
	if p.id < 0 {
		return []Reason{{Kind: New, Text: "the instruction is new"}}
	}
	old := p.b.Steps[p.id]
	if old == nil || len(old.Inputs) == 0 {
		return []Reason{{Kind: First, Text: "build " + p.b.ID + " ended before this step did"}}
	}
	var out []Reason
	if p.b.Platform != x.cur.Platform {
		out = append(out, changed(Platform, "platform", "platform", p.b.Platform, x.cur.Platform))
	}
	out = append(out, x.definition(i)...)
	out = append(out, x.inputs(i)...)
	if old.Parent != s.Parent {
		out = append(out, x.parent(i))
	}
	if len(out) == 0 {
		out = []Reason{{Kind: Unknown, Text: "nothing that is kept differs from build " + p.b.ID}}
	}
	return out
}

// changed makes a reason of two values.
func changed(k Kind, what, name, old, new string) Reason {
	r := Reason{Kind: k, Name: name, Old: old, New: new}
	switch {
	case old == new:
		r.Text = what + " changed"
	case old == "":
		r.Text = fmt.Sprintf("%s is %s, and was not set before", what, short(new))
	case new == "":
		r.Text = fmt.Sprintf("%s was %s, and is not set any more", what, short(old))
	default:
		r.Text = fmt.Sprintf("%s changed from %s to %s", what, short(old), short(new))
	}
	return r
}

// maxShown is how long a value in a sentence is.
const maxShown = 100

func short(s string) string {
	if d := digest.Digest(s); d.Validate() == nil {
		return d.Algorithm().String() + ":" + d.Encoded()[:12]
	}
	if r := []rune(s); len(r) > maxShown {
		s = string(r[:maxShown]) + "..."
	}
	if strings.ContainsAny(s, " \t\n\"") || s == "" {
		return strconv.Quote(s)
	}
	return s
}

// inputs compares what the step reads besides its parent.
func (x *explainer) inputs(i int) []Reason {
	p := x.peers[i]
	old, cur := split(p.b.Steps[p.id].Inputs), split(x.cur.Steps[i].Inputs)
	var out []Reason
	for _, k := range keysOf(old, cur) {
		a, b := old[k], cur[k]
		if a == b {
			continue
		}
		switch k {
		case "epoch":
			out = append(out, x.epoch(p.b, a, b))
		case "context":
			out = append(out, x.context(i, a, b))
		case "url", "git":
			out = append(out, changed(Remote, "what ADD fetches", k, a, b))
		default:
			if target, ok := strings.CutPrefix(k, "mount "); ok {
				out = append(out, x.mounted(i, target, a, b))
				continue
			}
			if more := x.sources(i, a, b); more != nil {
				out = append(out, more...)
				continue
			}
			out = append(out, changed(Option, "its input "+k, k, a, b))
		}
	}
	return out
}

// split reads inputs of the form key=value; more of one key are joined.
func split(inputs []string) map[string]string {
	m := make(map[string]string, len(inputs))
	for _, in := range inputs {
		k, v, _ := strings.Cut(in, "=")
		if old, ok := m[k]; ok {
			v = old + " " + v
		}
		m[k] = v
	}
	return m
}

func (x *explainer) epoch(o *history.Build, old, cur string) Reason {
	if o.EpochGiven || x.cur.EpochGiven {
		r := changed(Epoch, "SOURCE_DATE_EPOCH", "SOURCE_DATE_EPOCH", old, cur)
		if !o.EpochGiven {
			r.Text = fmt.Sprintf("SOURCE_DATE_EPOCH is %s; before, the build's time was the base image's, %s", cur, moment(old))
		} else if !x.cur.EpochGiven {
			r.Text = fmt.Sprintf("SOURCE_DATE_EPOCH was %s; the build's time is the base image's now, %s", old, moment(cur))
		}
		return r
	}
	return changed(Epoch, "the time at which the base image was created", "", moment(old), moment(cur))
}

func moment(seconds string) string {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return seconds
	}
	return time.Unix(n, 0).UTC().Format(time.RFC3339)
}

// parent tells how what is below the step changed.
func (x *explainer) parent(i int) Reason {
	p := x.peers[i]
	id, oldID := x.cur.Plan.Vertices[i].Parent, p.b.Plan.Vertices[p.id].Parent
	if why, ok := x.moved(id, p.b, oldID, "its parent"); ok {
		return why
	}
	r := Reason{Kind: Order}
	switch {
	case id < 0:
		r.Old = body(p.b.Plan.Vertices[oldID].Name)
		r.Text = "it comes first now, and came after " + quote(r.Old) + " before"
	case x.isNew(id):
		r.New = body(x.cur.Plan.Vertices[id].Name)
		r.Text = "the step before it is new: " + quote(r.New)
	case oldID < 0:
		r.New = body(x.cur.Plan.Vertices[id].Name)
		r.Text = "it comes after " + quote(r.New) + " now, and came first before"
	default:
		r.Old, r.New = body(p.b.Plan.Vertices[oldID].Name), body(x.cur.Plan.Vertices[id].Name)
		r.Text = "it comes after " + quote(r.New) + " now, and came after " + quote(r.Old) + " before"
	}
	return r
}

func (x *explainer) isNew(id int) bool { return x.peers[id].id < 0 }

func quote(s string) string {
	if r := []rune(s); len(r) > maxShown {
		s = string(r[:maxShown]) + "..."
	}
	return "\"" + s + "\""
}

// sources tells how what a step reads of other steps and images changed: those whose chainIDs are in an input.
func (x *explainer) sources(i int, old, cur string) []Reason {
	p := x.peers[i]
	oldIDs := named(p.b, p.id, old)
	var out []Reason
	for _, id := range named(x.cur, i, cur) {
		if strings.Contains(old, x.cur.Steps[id].ChainID.String()) {
			continue
		}
		found := false
		for _, oldID := range oldIDs {
			if why, ok := x.moved(id, p.b, oldID, "what it reads from,"); ok {
				if found = true; why.Kind == Parent {
					why.Kind = Source
					x.tellCopied(&why, i, id, oldID)
				}
				out = append(out, why)
				break
			}
		}
		if found {
			continue
		}
		r := Reason{Kind: Source, step: -1, New: body(x.cur.Plan.Vertices[id].Name)}
		r.Text = "it reads from " + quote(r.New) + " now"
		if len(oldIDs) == 1 {
			r.Old = body(p.b.Plan.Vertices[oldIDs[0]].Name)
			r.Text += ", and read from " + quote(r.Old) + " before"
			x.tellCopied(&r, i, id, oldIDs[0])
		}
		out = append(out, r)
	}
	return out
}

// tellCopied adds which of the copied files differ.
func (x *explainer) tellCopied(r *Reason, i, id, oldID int) {
	changes, ok := x.copied(i, id, x.peers[i].b, oldID)
	if !ok {
		return
	}
	var n [3]int
	for _, c := range changes {
		switch c.Change {
		case "added":
			n[1]++
		case "removed":
			n[2]++
		default:
			n[0]++
		}
	}
	if r.Changes = changes; len(changes) == 0 {
		r.Text += "; the files that are copied are the same"
		return
	}
	r.Text += "; of the files that are copied: " + counts(n[0], n[1], n[2])
}

// named are the sources of a step whose chainIDs stand in an input.
func named(b *history.Build, i int, input string) []int {
	var out []int
	for _, id := range b.Plan.Vertices[i].Sources {
		if id < 0 || b.Steps[id] == nil || b.Steps[id].ChainID == "" {
			continue
		}
		if strings.Contains(input, b.Steps[id].ChainID.String()) {
			out = append(out, id)
		}
	}
	return out
}

// moved tells how a vertex that another one needs changed, if it is the same one as before.
func (x *explainer) moved(id int, o *history.Build, oldID int, what string) (Reason, bool) {
	if id < 0 || oldID < 0 {
		return Reason{}, false
	}
	v, ov := x.cur.Plan.Vertices[id], o.Plan.Vertices[oldID]
	if v.Base != "" && ov.Base != "" {
		return baseReason(v, ov), true
	}
	same := x.peers[id] == peer{o, oldID} || x.textOf(x.cur, id) == x.textOf(o, oldID) && v.Stage == ov.Stage
	if !same {
		return Reason{}, false
	}
	r := Reason{Kind: Parent, Name: v.Name, step: id}
	if x.executed(id) {
		r.Text = what + " " + v.Name + " was executed again and its result differs"
	} else {
		r.Text = what + " " + v.Name + " has another result than in build " + o.ID + ", which the cache had from an earlier build"
	}
	if s, os := x.cur.Steps[id], o.Steps[oldID]; s != nil && os != nil {
		r.Old, r.New = os.DiffID.String(), s.DiffID.String()
		if s.DiffID == os.DiffID {
			r.Text = what + " " + v.Name + " made the same layer again, on other layers"
		}
	}
	return r, true
}

// base tells how a base image changed.
func (x *explainer) base(i int) []Reason {
	p := x.peers[i]
	if p.b == nil || p.id < 0 {
		return nil
	}
	v, ov := x.cur.Plan.Vertices[i], p.b.Plan.Vertices[p.id]
	if ov.Base == "" || v.Base == ov.Base && v.Digest == ov.Digest {
		return nil
	}
	out := []Reason{baseReason(v, ov)}
	return append(out, x.usedArgs(i)...)
}

func baseReason(v, ov history.Vertex) Reason {
	if v.Base != ov.Base {
		r := changed(BaseImage, "the base image", v.Base, ov.Base, v.Base)
		r.Name = v.Base
		return r
	}
	return Reason{
		Kind: BaseImage, Name: v.Base, Old: ov.Digest.String(), New: v.Digest.String(),
		Text: fmt.Sprintf("the base image %s moved from %s to %s", v.Base, short(ov.Digest.String()), short(v.Digest.String())),
	}
}
