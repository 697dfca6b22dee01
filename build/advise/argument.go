package advise

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/build/history"
)

// arguments looks for ARGs that change and that commands see without need.
func (r *replay) arguments(ctx context.Context) ([]Advice, error) {
	byNames := map[string]*saved{}
	for i, v := range r.ref.Plan.Vertices {
		if !strings.HasPrefix(v.Definition, "run.") || len(v.Args) == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, h := range r.withoutEffect(i) {
			s := byNames[h.names]
			if s == nil {
				s = r.saved()
				byNames[h.names] = s
			}
			s.add(h.k, i, r.newBytes(h.k, i))
		}
	}
	var out []Advice
	for _, names := range keys(byNames) {
		s := byNames[names]
		a := Advice{Kind: Argument, Step: "ARG " + names}
		if s.fill(&a); a.Helped < minSame {
			continue
		}
		last := 0
		for i, v := range r.ref.Plan.Vertices {
			for _, steps := range s.steps {
				if steps[i] {
					last = max(last, v.Line)
				}
			}
		}
		first, _, _ := strings.Cut(names, " ")
		a.Line = argLine(r.ref, first, last)
		a.Text = fmt.Sprintf("declare ARG %s behind line %d: what stands between sees it and does not need it", names, last)
		a.Evidence = fmt.Sprintf("in %d of %d builds its value was another one, and the layers were the same again", a.Helped, a.Builds)
		a.Assumes = "no later value of it will matter to these instructions"
		out = append(out, a)
	}
	return out, nil
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// hit is a build in which some ARGs, by name with a blank between them, changed without effect on a step.
type hit struct {
	k     int
	names string
}

// withoutEffect replays step i as if it saw no ARG. ARGs with which its result ever changed are left out.
func (r *replay) withoutEffect(i int) []hit {
	type seen struct {
		step *history.Step
		args map[string]string
	}
	last := map[string]seen{}
	mattered := map[string]bool{}
	var hits []hit
	for k := range r.builds {
		s := r.step(k, i)
		if s == nil || s.ChainID == "" {
			continue
		}
		rest, args := partArgs(r.definition(k, i), r.builds[k].Plan.Vertices[r.at[k][i]].Args)
		place := rest + "\x00" + strings.Join(s.Inputs, "\x00") + "\x00" + s.Parent.String()
		was, ok := last[place]
		last[place] = seen{s, args}
		if !ok {
			continue
		}
		var changed []string
		for _, name := range keys(args) {
			if was.args[name] != args[name] {
				changed = append(changed, name)
			}
		}
		switch {
		case len(changed) == 0:
		case was.step.DiffID != s.DiffID:
			for _, name := range changed {
				mattered[name] = true
			}
		case executed(s):
			hits = append(hits, hit{k, strings.Join(changed, " ")})
		}
	}
	return slices.DeleteFunc(hits, func(h hit) bool {
		return slices.ContainsFunc(strings.Fields(h.names), func(n string) bool { return mattered[n] })
	})
}

// partArgs takes the values of ARGs out of the definition of a RUN.
func partArgs(def string, names []string) (rest string, args map[string]string) {
	args = map[string]string{}
	head, text, _ := strings.Cut(def, " ")
	fields := map[string]json.RawMessage{}
	var env []string
	if json.Unmarshal([]byte(text), &fields) != nil || json.Unmarshal(fields["env"], &env) != nil {
		return def, args
	}
	env = slices.DeleteFunc(env, func(e string) bool {
		k, v, _ := strings.Cut(e, "=")
		if !slices.Contains(names, k) {
			return false
		}
		args[k] = v
		return true
	})
	delete(fields, "env")
	b, err := json.Marshal(fields) // in the order of the keys
	if err != nil {
		return def, args
	}
	return head + " " + string(b) + "\x00" + strings.Join(env, "\x00"), args
}

// argLine is the last line before another one that declares an ARG; 0 when there is none.
func argLine(b *history.Build, name string, before int) int {
	found := 0
	for n, l := range strings.Split(b.Plan.Source, "\n") {
		words := strings.Fields(l)
		if n+1 >= before || len(words) < 2 || !strings.EqualFold(words[0], "ARG") {
			continue
		}
		for _, w := range words[1:] {
			if k, _, _ := strings.Cut(w, "="); k == name {
				found = n + 1
			}
		}
	}
	return found
}
