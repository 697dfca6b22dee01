package origin

import (
	"context"
	"encoding/hex"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/build/history"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer/index"
)

// The kinds of a Source.
const (
	Context    = "context"
	Stage      = "stage"
	Image      = "image"
	Dockerfile = "Dockerfile"
	Archive    = "archive"
	Remote     = "remote"
)

// Source is where a COPY or ADD took a file from.
type Source struct {
	// Kind is one of the kinds above; From is the name of the stage or image.
	Kind string
	From string `json:",omitempty"`
	// Path is the file's in the context, stage or image; of an archive the archive's. It is "" when it is not known.
	Path string `json:",omitempty"`
	// Origin is what put the file into the stage, Via where it came from in turn.
	Origin *Origin `json:",omitempty"`
	Via    *Source `json:",omitempty"`
}

// maxVia is how many copies from stage to stage are followed.
const maxVia = 16

// Source finds where a file of the layer that o made came from; nil when its instruction copies nothing. name is the file's path
// in the image, e what the layer says of it. dest tells what a path of the image leads to without links.
func (f *Finder) Source(ctx context.Context, o *Origin, name string, e *index.Entry, dest func(string) string) (*Source, error) {
	return f.source(ctx, o, name, e, dest, 0)
}

func (f *Finder) source(ctx context.Context, o *Origin, name string, e *index.Entry, dest func(string) string, depth int) (*Source, error) {
	c := copyOf(o.b.DefinitionOf(o.id))
	if c == nil {
		return nil, nil
	}
	m := mapping{c: c, name: name, dests: []string{strings.Trim(c.Dest, "/")}}
	if real := strings.Trim(dest(c.Dest), "/"); real != m.dests[0] {
		m.dests = append(m.dests, real)
	}
	for _, file := range slices.Backward(c.Files) {
		if m.isAt(file.Name) {
			return &Source{Kind: Dockerfile, Path: file.Name}, nil
		}
	}
	if c.From {
		return f.fromVertex(ctx, o, m, e, depth)
	}
	return f.fromContext(o, m, e)
}

// fromContext looks for the file in the list of those that the step read.
func (f *Finder) fromContext(o *Origin, m mapping, e *index.Entry) (*Source, error) {
	best, rank := "", 0
	archive := ""
	if s := o.b.Steps[o.id]; s != nil && s.Files != "" {
		want := hex.EncodeToString(e.Sum[:])
		files := map[string]string{}
		var names []string
		err := f.builds.Files("", s.Files, func(x history.File, _ bool) error {
			files[x.Path] = x.Digest
			names = append(names, x.Path)
			return nil
		})
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		for _, c := range m.candidates(names) {
			sum, ok := files[c]
			switch {
			case !ok:
			case e.HasSum && sum == want:
				best, rank = c, 2
			case rank < 2 && !e.HasSum && sum == "":
				best, rank = c, 1
			}
		}
		if best == "" && m.c.Unpack {
			for _, n := range names {
				if isArchive(n) {
					archive = n
				}
			}
		}
	}
	switch {
	case best != "":
		return &Source{Kind: Context, Path: best}, nil
	case archive != "":
		return &Source{Kind: Archive, Path: archive}, nil
	case len(m.c.Remotes) > 0:
		return &Source{Kind: Remote}, nil
	}
	return &Source{Kind: Context}, nil
}

func isArchive(name string) bool {
	for _, end := range []string{".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.zst"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// fromVertex looks for the file in the stage or image that the step copied from, and then for what put it there.
func (f *Finder) fromVertex(ctx context.Context, o *Origin, m mapping, e *index.Entry, depth int) (*Source, error) {
	plan := &o.b.Plan
	sources := plan.Vertices[o.id].Sources
	if len(sources) == 0 || sources[0] < 0 {
		return &Source{Kind: Stage, From: "scratch"}, nil
	}
	at := sources[0]
	src := &Source{Kind: Stage, From: plan.Vertices[at].Stage}
	if v := plan.Vertices[at]; v.Base != "" && v.Stage == "" {
		src.Kind, src.From = Image, v.Base
	}
	layers, ids, err := f.layersOf(ctx, o, at)
	if err != nil || layers == nil {
		return src, ignoreMissing(err)
	}
	a, err := f.stacks.Stack(ctx, layers)
	if err != nil {
		return src, ignoreMissing(err)
	}
	node := m.search(a, e)
	if node == nil {
		return src, nil
	}
	src.Path = node.Path()
	v := node.Now()
	id := ids[v.Layer]
	if id < 0 || depth == maxVia {
		return src, nil
	}
	src.Origin = originOf(o.b, id)
	if v.Entry != nil {
		dest := func(p string) string {
			if found, err := a.Find(p); err == nil {
				return found.Node.Path()
			}
			return p
		}
		src.Via, err = f.source(ctx, src.Origin, node.Path(), v.File(), dest, depth+1)
	}
	return src, err
}

// ignoreMissing is nil for what garbage collection took.
func ignoreMissing(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// layersOf lists the layers of a vertex of a build, and which vertex made each; -1 for those of base images. It
// returns nil when they are not all known.
func (f *Finder) layersOf(ctx context.Context, o *Origin, at int) (layers []LayerRef, ids []int, err error) {
	for at >= 0 {
		v, s := o.b.Plan.Vertices[at], o.b.Steps[at]
		if v.Base != "" {
			base, err := f.stacks.Image(ctx, v.Digest)
			if err != nil {
				return nil, nil, err
			}
			for _, l := range slices.Backward(base) {
				layers, ids = append(layers, l), append(ids, -1)
			}
			break
		}
		if s == nil || s.DiffID == "" {
			return nil, nil, nil
		}
		layers, ids = append(layers, LayerRef{s.DiffID, s.Layer, s.Size}), append(ids, at)
		at = v.Parent
	}
	slices.Reverse(layers)
	slices.Reverse(ids)
	return layers, ids, nil
}

// mapping finds which source of a copy becomes a path of the image.
type mapping struct {
	c     *op.Copy
	name  string
	dests []string // where the copy goes to, as it is written and without links
}

// isAt reports whether a file called base goes to the path.
func (m *mapping) isAt(base string) bool {
	return slices.Contains(m.dests, m.name) || slices.ContainsFunc(m.dests, func(d string) bool { return path.Join(d, base) == m.name })
}

// below is the path relative to each destination that it lies below.
func (m *mapping) below() (out []string) {
	for _, d := range m.dests {
		if d == "" {
			out = append(out, m.name)
		} else if rest, ok := strings.CutPrefix(m.name, d+"/"); ok {
			out = append(out, rest)
		}
	}
	return out
}

// candidates are the paths that could have become the file, the likeliest last. names are all that the copy read.
func (m *mapping) candidates(names []string) (out []string) {
	for _, s := range m.c.Sources {
		out = append(out, m.of(clean(s), s)...)
		if anatomy.IsPattern(s) {
			depth := strings.Count(clean(s), "/") + 1
			seen := map[string]bool{}
			for _, n := range names {
				parts := strings.SplitN(n, "/", depth+1)
				if len(parts) < depth {
					continue
				}
				head := strings.Join(parts[:depth], "/")
				if ok, _ := path.Match(clean(s), head); ok && !seen[head] {
					seen[head] = true
					out = append(out, m.of(head, s)...)
				}
			}
		}
	}
	return out
}

// of is what a source gives that was written as raw, when it stands for the path source.
func (m *mapping) of(source, raw string) (out []string) {
	for _, rel := range m.below() {
		switch {
		case m.c.Parents:
			out = append(out, rel)
			if before, _, ok := strings.Cut("/"+raw, "/./"); ok {
				out = append(out, clean(path.Join(before, rel)))
			}
		default:
			out = append(out, strings.TrimPrefix(path.Join(source, rel), "/")) // what is in a directory
		}
	}
	if m.isAt(path.Base(source)) {
		out = append(out, source)
	}
	return out
}

func clean(source string) string {
	return strings.TrimPrefix(path.Clean("/"+source), "/")
}

// search finds the file in the tree that was copied from.
func (m *mapping) search(a *anatomy.Image, e *index.Entry) *anatomy.Node {
	var names []string
	if slices.ContainsFunc(m.c.Sources, anatomy.IsPattern) {
		for _, s := range m.c.Sources {
			nodes, err := a.Glob(s)
			if err != nil {
				continue
			}
			for _, n := range nodes {
				names = append(names, n.Path())
			}
		}
	}
	var found *anatomy.Node
	for _, c := range m.candidates(names) {
		at, err := a.Find(path.Dir(c)) // the last component is copied as it is, a link or not
		if err != nil {
			continue
		}
		n := a.Lookup(strings.TrimPrefix(path.Join(at.Node.Path(), path.Base(c)), "./"))
		if c == "" {
			n = a.Root()
		}
		if n == nil || n.Now() == nil {
			continue
		}
		if t := n.Now().File(); t != nil && t.Kind == index.Symlink && e.Kind != index.Symlink {
			if real, err := a.Find(c); err == nil {
				n = real.Node
			}
		}
		v := n.Now()
		if v == nil {
			continue
		}
		if t := v.File(); t == nil && e.Kind == index.Dir || t != nil && t.Kind == e.Kind && (e.Kind != index.Reg || t.Sum == e.Sum) {
			found = n
		}
	}
	return found
}
