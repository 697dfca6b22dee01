package history

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// maxBuild bounds a build's file that is read, in bytes; maxVertices its plan.
const (
	maxBuild    = 64 << 20
	maxVertices = 1 << 20
)

// read reads one build; without its plan when that is not wanted.
func (h *History) read(name string, withPlan bool) (*Build, error) {
	t, _, id, ok := splitName(name)
	if !ok {
		return nil, errdefs.NotFound("%q is not the name of a build", name)
	}
	data, err := readFile(h.buildPath(name), maxBuild)
	if err != nil {
		return nil, err
	}
	b := &Build{ID: id, Started: t, file: name, Status: Killed}
	steps, err := b.parse(data)
	if err != nil {
		return nil, err
	}
	if b.Ended.IsZero() && h.isOpen(name) {
		b.Status = Running
	}
	if !withPlan {
		b.Steps = steps
		return b, nil
	}
	return b, h.complete(b, steps)
}

// complete adds the plan, and puts the steps to where they belong.
func (h *History) complete(b *Build, steps []*Step) error {
	var sum [sha256.Size]byte
	if raw, err := hex.DecodeString(b.plan); err != nil || copy(sum[:], raw) != len(sum) {
		return errdefs.Corrupt("build %s has no plan", b.ID)
	}
	data, err := h.object(sum)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &b.Plan); err != nil {
		return errdefs.Corrupt("the plan of build %s: %w", b.ID, err)
	}
	if err := b.Plan.check(); err != nil {
		return err
	}
	b.Steps = make([]*Step, len(b.Plan.Vertices))
	for _, s := range steps {
		if s.ID >= 0 && s.ID < len(b.Steps) {
			b.Steps[s.ID] = s
		}
	}
	return nil
}

// check makes sure that a plan can be followed.
func (p *Plan) check() error {
	if len(p.Vertices) > maxVertices {
		return errdefs.Limit("a plan of %d steps", len(p.Vertices))
	}
	if p.Target < -1 || p.Target >= len(p.Vertices) {
		return errdefs.Corrupt("a plan of the build history is damaged")
	}
	for i, v := range p.Vertices {
		bad := func(id int) bool { return id >= i || id < -1 }
		if bad(v.Parent) || slices.ContainsFunc(v.Sources, bad) || v.Line < 0 || v.EndLine < v.Line {
			return errdefs.Corrupt("a plan of the build history is damaged")
		}
	}
	return nil
}

// parse reads a build's file. What stands behind the last newline was not finished.
func (b *Build) parse(data []byte) ([]*Step, error) {
	var steps []*Step
	i := bytes.LastIndexByte(data, '\n')
	sc := bufio.NewScanner(bytes.NewReader(data[:i+1]))
	sc.Buffer(nil, maxBuild)
	for n := 0; sc.Scan(); n++ {
		var l line
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			if n == 0 {
				return nil, errdefs.Corrupt("build %s of the history: %w", b.ID, err)
			}
			continue // a power cut can leave a hole
		}
		switch {
		case l.Begin != nil:
			b.Start, b.Started, b.plan = l.Begin.Start, l.Begin.Time, l.Begin.Plan
		case l.Step != nil:
			steps = append(steps, l.Step)
		case l.End != nil:
			e := l.End
			b.Ended, b.Status, b.Error, b.Manifest, b.Config, b.Provenance, b.Warnings = e.Time, e.Status, e.Error, e.Manifest, e.Config, e.Provenance, e.Warnings
			if len(e.Tags) > 0 {
				b.Tags = e.Tags
			}
		}
	}
	return steps, sc.Err()
}

// Each calls fn for each build, the youngest first, until it returns false. Builds that cannot be read are passed over.
func (h *History) Each(ctx context.Context, fn func(*Build) bool) error {
	return h.each2(ctx, func(string) bool { return true }, fn)
}

func (h *History) each2(ctx context.Context, want func(name string) bool, fn func(*Build) bool) error {
	names, err := h.names()
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !want(n) {
			continue
		}
		b, err := h.read(n, true)
		if err == nil && !fn(b) {
			return nil
		}
	}
	return nil
}

// Before calls fn for the builds of the same context and Dockerfile that began before b, the youngest first, until it
// returns false.
func (h *History) Before(ctx context.Context, b *Build, fn func(*Build) bool) error {
	project := projectOf(b.Start)
	want := func(name string) bool {
		_, p, _, _ := splitName(name)
		return p == project && name < b.file
	}
	return h.each2(ctx, want, func(o *Build) bool {
		return o.Context != b.Context || o.Dockerfile != b.Dockerfile || o.Project != b.Project || fn(o)
	})
}

// Find returns the build whose ID begins with prefix. ErrNotFound when there is none, ErrConflict when there are several.
func (h *History) Find(ctx context.Context, prefix string) (*Build, error) {
	names, err := h.names()
	if err != nil {
		return nil, err
	}
	found := ""
	for _, n := range names {
		if _, _, id, _ := splitName(n); prefix == "" || !strings.HasPrefix(id, prefix) {
			continue
		}
		if found != "" {
			return nil, errdefs.Conflict("several builds begin with %q", prefix)
		}
		found = n
	}
	if found == "" {
		return nil, errdefs.NotFound("no build %s is in the history", prefix)
	}
	return h.read(found, true)
}
