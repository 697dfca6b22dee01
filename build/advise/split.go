package advise

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// minSame is how often a result must have been the same again to say something about the next time.
const minSame = 2

// splits looks for commands above a COPY that do not depend on the files of it that change.
func (r *replay) splits(ctx context.Context) ([]Advice, error) {
	var out []Advice
	for c, v := range r.ref.Plan.Vertices {
		if !strings.HasPrefix(v.Definition, "copy.") || !r.copiesContext(c) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		more, err := r.splitsOf(c)
		if errdefs.IsNotFound(err) || errdefs.IsCorrupt(err) {
			continue // a list of files is not kept any more: no figure
		}
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

func (r *replay) copiesContext(c int) bool {
	s := r.ref.Steps[c]
	return s != nil && s.Files != ""
}

// splitsOf follows the steps above a COPY as long as they could come before it.
func (r *replay) splitsOf(c int) ([]Advice, error) {
	byRule, bySame := r.saved(), r.saved()
	var rule, same group
	movers := []int{}
	for i := r.above(c); i >= 0; i = r.above(i) {
		kind, _, _ := strings.Cut(r.ref.Plan.Vertices[i].Definition, ".")
		if kind == "mkdir" {
			movers = append(movers, i)
			continue
		}
		if kind != "run" {
			break
		}
		if patterns, tools, ok := reads(commandOf(r.ref.DefinitionOf(i))); ok {
			if err := r.byRule(c, i, movers, patterns, byRule); err != nil {
				return nil, err
			}
			rule.steps, rule.tools, rule.patterns = append(rule.steps, i), append(rule.tools, tools...), append(rule.patterns, patterns...)
			movers = append(movers, i)
			continue
		}
		ok, err := r.bySame(c, i, movers, bySame, &same)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		same.steps = append(same.steps, i)
		movers = append(movers, i)
	}
	var out []Advice
	if a, err := r.ruleAdvice(c, rule, byRule); err != nil {
		return nil, err
	} else if a.SecondsPerBuild > 0 || a.BytesPerPush > 0 {
		out = append(out, a)
	}
	if a := r.sameAdvice(c, same, bySame); a.Helped >= minSame {
		out = append(out, a)
	}
	return out, nil
}

// group is what one piece of advice is about.
type group struct {
	steps           []int
	tools, patterns []string
	// free says for how many of the steps a file changed without effect.
	free map[string]int
}

// above is the only step on top of step i; -1 when there is none, or several.
func (r *replay) above(i int) int {
	found := -1
	for j, v := range r.ref.Plan.Vertices {
		if v.Parent != i {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = j
	}
	return found
}

// commandOf is the text that a RUN gives to a shell; "" for another form.
func commandOf(definition string) string {
	_, text, _ := strings.Cut(definition, " ")
	var d struct {
		Args []string `json:"args"`
	}
	if json.Unmarshal([]byte(text), &d) != nil || len(d.Args) < 3 || !strings.HasSuffix(d.Args[0], "sh") {
		return ""
	}
	return d.Args[len(d.Args)-1]
}

// place is the key that step i would have before step c: all but what c brings. "" when it is not known.
func (r *replay) place(k, c, i int, movers []int) string {
	cs, s := r.step(k, c), r.step(k, i)
	if cs == nil || s == nil || s.ChainID == "" || cs.Files == "" {
		return ""
	}
	parts := []string{r.definition(k, i), strings.Join(s.Inputs, "\x00"), cs.Parent.String()}
	for _, m := range movers {
		if r.at[k][m] < 0 {
			return ""
		}
		parts = append(parts, r.definition(k, m))
	}
	return strings.Join(parts, "\x01")
}

// byRule replays step i as if only the files that it is known to read came before it.
func (r *replay) byRule(c, i int, movers []int, patterns []string, out *saved) error {
	seen, had := map[string]bool{}, map[string]bool{}
	for k := range r.builds {
		place := r.place(k, c, i, movers)
		if place == "" {
			continue
		}
		list, err := r.files(r.step(k, c).Files, patterns)
		if err != nil {
			return err
		}
		for _, p := range keys(list) {
			place += "\x02" + p + "\x02" + list[p].Digest + list[p].Link
		}
		s := r.step(k, i)
		key := s.Parent.String() + "\x01" + place
		if executed(s) && seen[place] && !had[key] {
			out.add(k, i, r.newBytes(k, i))
		}
		seen[place], had[key] = true, true
	}
	return nil
}

// made is a result that step i had at a place.
type made struct {
	files, parent, diffID digest.Digest
}

// bySame replays step i as if the files that changed while its result stayed the same came after it. It reports
// whether the step may be moved.
func (r *replay) bySame(c, i int, movers []int, out *saved, g *group) (bool, error) {
	last := map[string]made{}
	var stayed, other []change
	for k := range r.builds {
		place := r.place(k, c, i, movers)
		if place == "" {
			continue
		}
		s, files := r.step(k, i), r.step(k, c).Files
		now := made{files, s.Parent, s.DiffID}
		was, ok := last[place]
		last[place] = now
		if !ok || was.files == files || was.parent == s.Parent {
			continue
		}
		changed, err := r.changed(was.files, files)
		if err != nil {
			return false, err
		}
		switch {
		case was.diffID != s.DiffID:
			other = append(other, change{k, changed})
		case executed(s):
			stayed = append(stayed, change{k, changed})
		}
	}
	stayed, free := part(stayed, other)
	if len(stayed) < minSame {
		return false, nil
	}
	if g.free == nil {
		g.free = map[string]int{}
	}
	for _, c := range stayed {
		out.add(c.k, i, r.newBytes(c.k, i))
	}
	for _, p := range free {
		g.free[p]++
	}
	return true, nil
}

func (r *replay) ruleAdvice(c int, g group, s *saved) (Advice, error) {
	v := r.ref.Plan.Vertices[c]
	a := Advice{Kind: Split, Line: v.Line, Step: v.Name}
	if s.fill(&a); a.Helped == 0 {
		return a, nil
	}
	list, err := r.files(r.ref.Steps[c].Files, g.patterns)
	if err != nil {
		return a, err
	}
	a.Files = keys(list)[:min(len(list), maxFiles)]
	tools := slices.Compact(slices.Sorted(slices.Values(g.tools)))
	first := r.linesOf(g.steps)
	if len(a.Files) == 0 {
		a.Text = fmt.Sprintf("move this COPY behind %s", first)
		a.Assumes = strings.Join(tools, ", ") + " reads no file of the context"
	} else {
		a.Text = fmt.Sprintf("copy %s in an instruction of their own, then %s, then the rest", names(a.Files), first)
		a.Assumes = strings.Join(tools, ", ") + " reads only " + names(a.Files) + " of the context"
	}
	a.Evidence = fmt.Sprintf("in %d of %d builds other files of it changed, and none of these", a.Helped, a.Builds)
	if len(a.Files) == 0 {
		a.Evidence = fmt.Sprintf("in %d of %d builds files of it changed", a.Helped, a.Builds)
	}
	return a, nil
}

func (r *replay) sameAdvice(c int, g group, s *saved) Advice {
	v := r.ref.Plan.Vertices[c]
	a := Advice{Kind: Split, Line: v.Line, Step: v.Name}
	if s.fill(&a); a.Helped == 0 {
		return a
	}
	var free []string
	for p, n := range g.free {
		if n == len(g.steps) {
			free = append(free, p)
		}
	}
	slices.Sort(free)
	a.Files = free[:min(len(free), maxFiles)]
	a.Text = fmt.Sprintf("copy what %s needs in an instruction before it, and the rest, with %s, after it", r.linesOf(g.steps), names(free))
	a.Evidence = fmt.Sprintf("in %d of %d builds only such files had changed, and the layer was the same again", a.Helped, a.Builds)
	a.Assumes = "none of these files will matter to it"
	return a
}

// linesOf names steps by their lines.
func (r *replay) linesOf(steps []int) string {
	var out []string
	for _, i := range steps {
		v := r.ref.Plan.Vertices[i]
		verb, _, _ := strings.Cut(bodyOf(v.Name), " ")
		out = append(out, fmt.Sprintf("%s (line %d)", verb, v.Line))
	}
	return strings.Join(out, ", ")
}

// bodyOf is a step's name without its number.
func bodyOf(name string) string {
	if _, rest, ok := strings.Cut(name, "] "); ok && strings.HasPrefix(name, "[") {
		return rest
	}
	return name
}

// names lists some files.
func names(files []string) string {
	const shown = 4
	if len(files) <= shown {
		return strings.Join(files, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(files[:shown], ", "), len(files)-shown)
}
