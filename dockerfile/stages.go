package dockerfile

import (
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Target returns the stage that name means: a stage's name or its number; ""
// is the last one.
func (f *File) Target(name string) (int, error) {
	if name == "" {
		return len(f.Stages) - 1, nil
	}
	if i := f.stageByName(name, len(f.Stages)); i >= 0 {
		return i, nil
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < len(f.Stages) {
		return n, nil
	}
	hint := DidYouMean(name, f.StageNames())
	if hint == "" && len(f.StageNames()) > 0 {
		hint = "the stages are " + strings.Join(f.StageNames(), ", ")
	}
	return 0, f.Invalid(nil, hint, "there is no stage %q to build", name)
}

// StageNames returns the names of the stages that have one.
func (f *File) StageNames() []string {
	var names []string
	for _, s := range f.Stages {
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	return names
}

// BaseStage returns the earlier stage that the base name of stage i means, or
// -1 when it means an image. name is the expanded one.
// The names of stages are in lower case, whatever AS says, and FROM, unlike --from, looks for what it says.
func (f *File) BaseStage(i int, name string) int {
	if name != strings.ToLower(name) {
		return -1
	}
	return f.stageByName(name, i)
}

// LaterStage returns the stage at or after i that is called name, or -1: what
// was meant, perhaps, when no image has the name.
func (f *File) LaterStage(i int, name string) int {
	j := f.stageByName(name, len(f.Stages))
	if j < i {
		return -1
	}
	return j
}

// CopyFrom returns the stage that a --from in stage i means, or -1 when it
// means an image. The stage may be a later one, which only a stage that no build needs may name; see Later.
func (f *File) CopyFrom(i int, from string, loc []parser.Range) (int, error) {
	res, err := shell.NewLex(f.Escape).ProcessWordWithMatches(from, shell.EnvsFromSlice(nil))
	if err != nil {
		return -1, f.Invalid(loc, "", "--from=%s: %w", from, err)
	}
	if res.Result != from {
		return -1, f.Invalid(loc, "name a stage with FROM, where variables are expanded, and copy from it", "--from=%s: variables are not expanded here", from)
	}
	j := f.stageByName(from, len(f.Stages))
	if n, err := strconv.Atoi(from); err == nil && j < 0 {
		if n < 0 || n >= len(f.Stages) {
			return -1, f.Invalid(loc, "", "--from=%s: the file has stages 0 to %d", from, len(f.Stages)-1)
		}
		j = n
	}
	switch {
	case j == i:
		return -1, f.Invalid(loc, "", "stage %s copies from itself", f.Stages[i].Title())
	case j > i:
		if cycle := f.Cycle(i, j); cycle != "" {
			return -1, f.Invalid(loc, "", "cycle of stages: %s", cycle)
		}
	}
	return j, nil
}

// MountFrom returns the stage that from=NAME of a mount in stage i means, or -1 when it means an image. Unlike in
// COPY, a number means no stage.
func (f *File) MountFrom(i int, from string, loc []parser.Range) (int, error) {
	j := f.stageByName(from, len(f.Stages))
	switch {
	case j == i:
		return -1, f.Invalid(loc, "", "stage %s mounts from itself", f.Stages[i].Title())
	case j > i:
		if cycle := f.Cycle(i, j); cycle != "" {
			return -1, f.Invalid(loc, "", "cycle of stages: %s", cycle)
		}
		return -1, f.Invalid(loc, "move stage "+f.Stages[j].Title()+" before it", "RUN --mount: stage %s, which from=%s names, comes later, at line %d", f.Stages[j].Title(), from, firstLine(f.Stages[j].Location))
	}
	return j, nil
}

// Later refuses stage j as a source of stage i when it comes after it.
func (f *File) Later(i, j int, from string, loc []parser.Range) error {
	if j <= i {
		return nil
	}
	return f.Invalid(loc, "move stage "+f.Stages[j].Title()+" before it", "--from=%s: that stage comes later, at line %d", from, firstLine(f.Stages[j].Location))
}

func (f *File) stageByName(name string, before int) int {
	for j := before - 1; j >= 0; j-- {
		if f.Stages[j].Name != "" && strings.EqualFold(f.Stages[j].Name, name) {
			return j
		}
	}
	return -1
}

// checkCopyFrom looks at the --from of all stages, also of those that no build needs.
func (f *File) checkCopyFrom() error {
	for i, s := range f.Stages {
		for _, c := range s.Commands {
			cp, ok := c.(*instructions.CopyCommand)
			if !ok || cp.From == "" {
				continue
			}
			if _, err := f.CopyFrom(i, cp.From, cp.Location()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Cycle tells the way from stage j, which stage i names, back to stage i, as "i -> j -> ... -> i"; "" when there is none.
func (f *File) Cycle(i, j int) string {
	path := []int{i}
	seen := make([]bool, len(f.Stages))
	var walk func(n int) bool
	walk = func(n int) bool {
		path = append(path, n)
		if n == i {
			return true
		}
		if !seen[n] {
			seen[n] = true
			if slices.ContainsFunc(f.deps(n), walk) {
				return true
			}
		}
		path = path[:len(path)-1]
		return false
	}
	if !walk(j) {
		return ""
	}
	names := make([]string, len(path))
	for k, n := range path {
		names[k] = f.Stages[n].Title()
	}
	return strings.Join(names, " -> ")
}

// deps are the stages that stage n names, earlier or later.
func (f *File) deps(n int) []int {
	var out []int
	if b := f.BaseStage(n, f.Stages[n].BaseName); b >= 0 {
		out = append(out, b)
	}
	for _, c := range f.Stages[n].Commands {
		if run, ok := c.(*instructions.RunCommand); ok {
			for _, m := range instructions.GetMounts(run) {
				if j := f.stageByName(m.From, len(f.Stages)); j >= 0 && m.From != "" {
					out = append(out, j)
				}
			}
		}
		cp, ok := c.(*instructions.CopyCommand)
		if !ok || cp.From == "" {
			continue
		}
		j := f.stageByName(cp.From, len(f.Stages))
		if k, err := strconv.Atoi(cp.From); err == nil && j < 0 && k >= 0 && k < len(f.Stages) {
			j = k
		}
		if j >= 0 {
			out = append(out, j)
		}
	}
	return out
}
