package advise

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// ignores looks for files of a COPY that changed while the image stayed the same.
func (r *replay) ignores(ctx context.Context) ([]Advice, error) {
	var out []Advice
	for c, v := range r.ref.Plan.Vertices {
		if !strings.HasPrefix(v.Definition, "copy.") || !r.copiesContext(c) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		a, err := r.ignoresOf(c)
		if errdefs.IsNotFound(err) || errdefs.IsCorrupt(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if a.Helped >= minSame {
			out = append(out, a)
		}
	}
	return out, nil
}

// change is what files of a COPY changed in a build.
type change struct {
	k     int
	files []string
}

// part finds the files that never mattered: they changed in builds without effect, and each build with
// one had another file changed that can be its reason. It returns the builds without effect
// in which only such files changed, and these files, sorted.
func part(without, with []change) ([]change, []string) {
	free := map[string]bool{}
	for _, c := range without {
		for _, p := range c.files {
			free[p] = true
		}
	}
	only := func(c change) bool {
		return !slices.ContainsFunc(c.files, func(p string) bool { return !free[p] })
	}
	for again := true; again; {
		again = false
		for _, c := range with {
			if !only(c) {
				continue
			}
			for _, p := range c.files {
				again = again || free[p]
				delete(free, p)
			}
		}
	}
	without = slices.DeleteFunc(without, func(c change) bool { return !only(c) })
	clear(free)
	for _, c := range without {
		for _, p := range c.files {
			free[p] = true
		}
	}
	return without, keys(free)
}

func (r *replay) ignoresOf(c int) (Advice, error) {
	v := r.ref.Plan.Vertices[c]
	a := Advice{Kind: Ignore, Line: v.Line, Step: v.Name}
	var without, with []change
	for k := 1; k < len(r.builds); k++ {
		was, is := r.step(k-1, c), r.step(k, c)
		if was == nil || is == nil || was.Files == "" || is.Files == "" || was.Files == is.Files {
			continue
		}
		files, err := r.changed(was.Files, is.Files)
		if err != nil {
			return a, err
		}
		if b, o := r.builds[k], r.builds[k-1]; b.Manifest == "" || b.Manifest != o.Manifest {
			with = append(with, change{k, files})
		} else if executed(is) {
			without = append(without, change{k, files})
		}
	}
	s := r.saved()
	without, free := part(without, with)
	for _, w := range without {
		for _, i := range r.descendants(c) {
			if st := r.step(w.k, i); executed(st) && r.sameButFor(w.k, i) {
				s.add(w.k, i, 0) // the image is the same, so nothing was pushed
			}
		}
	}
	if s.fill(&a); a.Helped == 0 {
		return a, nil
	}
	a.Files = free
	a.Text = fmt.Sprintf("copy less, or name in .dockerignore: %s", names(a.Files))
	a.Evidence = fmt.Sprintf("in %d of %d builds only such files had changed, and the image was the same again", a.Helped, a.Builds)
	a.Assumes = "none of these files will matter to the image"
	a.Files = a.Files[:min(len(a.Files), maxFiles)]
	return a, nil
}

// descendants are step c of ref and all that need it.
func (r *replay) descendants(c int) []int {
	in := map[int]bool{c: true}
	out := []int{c}
	for i, v := range r.ref.Plan.Vertices {
		if v.Parent >= 0 && in[v.Parent] || slices.ContainsFunc(v.Sources, func(s int) bool { return s >= 0 && in[s] }) {
			in[i] = true
			out = append(out, i)
		}
	}
	return out
}

// sameButFor reports whether step i had in build k what it had in the build before, but for what other steps made.
func (r *replay) sameButFor(k, i int) bool {
	was, is := r.step(k-1, i), r.step(k, i)
	if was == nil || r.definition(k-1, i) != r.definition(k, i) {
		return false
	}
	return len(r.ref.Plan.Vertices[i].Sources) > 0 || was.Files != is.Files || slices.Equal(was.Inputs, is.Inputs)
}
