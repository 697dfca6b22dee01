package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/anatomy/manual"
	"github.com/camada/camada/build/history"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/semver"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/opencontainers/go-digest"
)

// DocReport is what DocCheck found.
type DocReport struct {
	Image string
	// Undocumented is what nothing describes.
	Undocumented []manual.Missing
	// Against is the image that it was compared with; "" when there was none. Was and Version are the two versions, "" for one that is not known.
	Against, Was, Version string
	// Changes are what is different since then, Needed is how much of a version they ask for, and Fitting tells that the version does.
	Changes []manual.Change
	Needed  manual.Needed
	Fitting bool
}

// DocCheck looks for what is not described, and for changes that the version does not tell of. Against is the image to compare with; "" is, for a tag that is a version, the
// one before it, and otherwise what the tag was before; an image elsewhere than in the store is compared with nothing then.
func (e *Engine) DocCheck(ctx context.Context, name, against, forPlatform string, sink progress.Sink) (*DocReport, error) {
	none := false
	o := DocOptions{Platform: forPlatform, Packages: &none}
	is, err := e.document(ctx, name, o, progress.Or(sink))
	if err != nil {
		return nil, err
	}
	r := &DocReport{Image: name, Undocumented: manual.Undocumented(is.page), Fitting: true}
	b, err := e.buildOf(ctx, is.image.ID())
	if err != nil {
		return nil, err
	}
	r.place(b)
	if against == "" {
		if against, err = e.before(ctx, name); err != nil || against == "" {
			return r, err
		}
	}
	if o.Platform == "" {
		o.Platform = is.page.Platform
	}
	was, err := e.document(ctx, against, o, progress.Or(sink))
	if err != nil {
		return nil, err
	}
	r.Against = against
	if r.Was, err = e.versionOf(ctx, was); err != nil {
		return nil, err
	}
	if r.Version, err = e.versionOf(ctx, is); err != nil {
		return nil, err
	}
	r.Changes = manual.Changes(&was.image.Config, &is.image.Config)
	r.Needed, r.Fitting = manual.Judge(r.Changes, r.Was, r.Version)
	return r, nil
}

// place tells where in the Dockerfile the things stand, when the build is known. Variables in names are not expanded: what is named by one has no line.
func (r *DocReport) place(b *history.Build) {
	if b == nil {
		return
	}
	f, err := dockerfile.Parse(b.Plan.Name, []byte(b.Plan.Source))
	if err != nil {
		return // it was read once, by another version perhaps
	}
	lines := map[string]int{}
	for _, s := range f.Stages {
		for _, c := range s.Commands {
			for _, key := range declares(c) {
				if loc := c.Location(); len(loc) > 0 {
					lines[key] = loc[0].Start.Line
				}
			}
		}
	}
	for i := range r.Undocumented {
		if m := &r.Undocumented[i]; lines[m.Key] > 0 {
			m.Dockerfile, m.Line = b.Plan.Name, lines[m.Key]
		}
	}
}

// declares are the keys of what an instruction declares.
func declares(c instructions.Command) (keys []string) {
	switch c := c.(type) {
	case *instructions.EnvCommand:
		for _, kv := range c.Env {
			keys = append(keys, dockerfile.DocKey(dockerfile.DocEnv, kv.Key))
		}
	case *instructions.ExposeCommand:
		for _, p := range c.Ports {
			keys = append(keys, dockerfile.DocKey(dockerfile.DocPort, strings.ToLower(p)))
		}
	case *instructions.VolumeCommand:
		for _, v := range c.Volumes {
			keys = append(keys, dockerfile.DocKey(dockerfile.DocVolume, v))
		}
	case *instructions.UserCommand:
		keys = append(keys, dockerfile.DocKey(dockerfile.DocUser, ""))
	}
	return keys
}

// before is the image that came before one of the store; "" when none is known.
func (e *Engine) before(ctx context.Context, name string) (string, error) {
	f, err := e.resolve(ctx, name)
	if errdefs.IsNotFound(err) || errdefs.IsInvalid(err) || err == nil && f.ref.Repository == "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if v, ok := semver.ParseWhole(f.ref.Tag); ok {
		return e.versionBefore(ctx, f.ref, v)
	}
	log, err := e.refs.Log(ctx, f.ref)
	if err != nil {
		if errdefs.IsNotFound(err) {
			return "", nil
		}
		return "", err
	}
	reached := false
	for i, entry := range log {
		if entry.To.Digest == f.descriptor.Digest {
			reached = true
			continue
		}
		if !reached || entry.To.Digest == "" {
			continue
		}
		if _, err := e.content.Stat(ctx, entry.To.Digest); err == nil {
			return fmt.Sprintf("%s@{%d}", f.ref.Familiar(), i), nil
		}
	}
	return "", nil
}

// versionBefore is the tag of the highest version that is lower; "" for none. Before a release that is the last release.
func (e *Engine) versionBefore(ctx context.Context, ref reference.Reference, v semver.Version) (string, error) {
	tags, err := e.refs.List(ctx)
	if err != nil {
		return "", err
	}
	best, name := semver.Version{}, ""
	for _, t := range tags {
		w, ok := semver.ParseWhole(t.Reference.Tag)
		if !ok || t.Reference.Name() != ref.Name() || w.Compare(v) >= 0 || v.Pre() == "" && w.Pre() != "" || name != "" && w.Compare(best) <= 0 {
			continue
		}
		best, name = w, t.Reference.Familiar()
	}
	return name, nil
}

// versionOf is the version of an image: its tag's, or that of another tag of the store that leads to it, or what it says itself; "" for none.
func (e *Engine) versionOf(ctx context.Context, d *documented) (string, error) {
	var own reference.Reference
	if f, err := e.resolve(ctx, d.name); err == nil {
		own = f.ref
	} else if ref, err := reference.Parse(strings.TrimPrefix(d.name, "docker://")); err == nil {
		own = ref
	}
	if _, _, isLog := logEntry(d.name); !isLog {
		if _, ok := semver.ParseWhole(own.Tag); ok {
			return own.Tag, nil
		}
	}
	best, err := e.versionTag(ctx, own, d.root.Digest)
	if best != "" || err != nil {
		return best, err
	}
	if _, ok := semver.ParseWhole(d.page.About.Version); ok {
		return d.page.About.Version, nil
	}
	return "", nil
}

// versionTag is the highest version among the tags of a repository that lead to a manifest or an index.
func (e *Engine) versionTag(ctx context.Context, repository reference.Reference, target digest.Digest) (string, error) {
	names, err := e.namesOf(ctx, target)
	if err != nil {
		return "", err
	}
	var found []string
	for _, n := range names {
		ref, err := reference.Parse(n)
		if err != nil || repository.Repository != "" && ref.Name() != repository.Name() {
			continue
		}
		if _, ok := semver.ParseWhole(ref.Tag); ok {
			found = append(found, ref.Tag)
		}
	}
	if len(found) == 0 {
		return "", nil
	}
	return slices.MaxFunc(found, func(a, b string) int {
		v, _ := semver.ParseWhole(a)
		w, _ := semver.ParseWhole(b)
		return v.Compare(w)
	}), nil
}
