package explain

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/build/history"
	"github.com/opencontainers/go-digest"
)

// LayerFile is what a layer says of one path.
type LayerFile struct {
	// Path is relative and clean.
	Path string
	// Gone says that what lower layers have at the path, and below it, is gone; Opaque that only what is below it is.
	Gone, Opaque bool
	// Mode is the kernel's st_mode; Digest the hex SHA-256 of a regular file, Link a link's target, Owner "uid:gid".
	Mode                uint32
	Digest, Link, Owner string
}

// maxLayers bounds how many layers are compared for one reason.
const maxLayers = 64

// copied tells which of the files that step i copies from a stage differ. It is false when the layers' lists are not there.
func (x *explainer) copied(i, id int, o *history.Build, oldID int) ([]FileChange, bool) {
	patterns := sourcesOf(x.cur.DefinitionOf(i))
	if x.layer == nil || patterns == nil || id < 0 || oldID < 0 {
		return nil, false
	}
	mine, theirs, below, ok := x.above(id, o, oldID)
	if !ok {
		return nil, false
	}
	is, isOK := x.pathsIn(mine, patterns)
	was, wasOK := x.pathsIn(theirs, patterns)
	if !isOK || !wasOK {
		return nil, false
	}
	var out []FileChange
	for _, p := range keysOf(was, is) {
		a, before := was[p]
		b, after := is[p]
		if !before {
			a = x.lookup(below, p)
		}
		if !after {
			b = x.lookup(below, p)
		}
		if c, differ := layerChange(p, a, b); differ {
			out = append(out, c)
		}
	}
	return out, true
}

// layerChange tells how a path differs; Gone stands for nothing there.
func layerChange(p string, a, b LayerFile) (FileChange, bool) {
	c := FileChange{Path: "/" + p}
	if a == b || a.Gone && b.Gone {
		return c, false
	}
	old, cur := history.File{Mode: a.Mode, Digest: a.Digest, Link: a.Link}, history.File{Mode: b.Mode, Digest: b.Digest, Link: b.Link}
	switch {
	case a.Gone:
		c.Change = "added"
	case b.Gone:
		c.Change = "removed"
	default:
		c.Change = "changed"
		if c.What = differences(old, cur); a.Owner != b.Owner {
			c.What = append(c.What, "owner")
		}
	}
	if !a.Gone {
		c.OldDigest, c.OldLink, c.OldMode = a.Digest, a.Link, mode(old)
	}
	if !b.Gone {
		c.NewDigest, c.NewLink, c.NewMode = b.Digest, b.Link, mode(cur)
	}
	return c, true
}

// lookup finds a path in layers that both have, the lowest first. Those of a base image are not looked into.
func (x *explainer) lookup(layers []digest.Digest, p string) LayerFile {
	for _, l := range slices.Backward(layers) {
		files, err := x.layer(l)
		if err != nil {
			break
		}
		for _, f := range files {
			if f.Path == p && !f.Opaque {
				return f
			}
		}
	}
	return LayerFile{Path: p, Gone: true}
}

// above are the layers of two vertices above those that they have in common, and these, the lowest first.
func (x *explainer) above(id int, o *history.Build, oldID int) (mine, theirs, below []digest.Digest, ok bool) {
	chain := func(b *history.Build, i int) (steps []*history.Step, whole bool) {
		for ; i >= 0; i = b.Plan.Vertices[i].Parent {
			s := b.Steps[i]
			if s == nil || s.ChainID == "" {
				return nil, false
			}
			steps = append(steps, s)
		}
		return steps, true
	}
	a, ok1 := chain(x.cur, id)
	b, ok2 := chain(o, oldID)
	if !ok1 || !ok2 {
		return nil, nil, nil, false
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1].ChainID == b[len(b)-1].ChainID {
		below = append(below, a[len(a)-1].DiffID)
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	bases := func(i int, v []history.Vertex, n int) bool { // an image has more layers than the step tells
		for ; n > 0; n-- {
			if v[i].Base != "" {
				return true
			}
			i = v[i].Parent
		}
		return false
	}
	if len(a)+len(b) > maxLayers || bases(id, x.cur.Plan.Vertices, len(a)) || bases(oldID, o.Plan.Vertices, len(b)) {
		return nil, nil, nil, false
	}
	return diffIDs(a), diffIDs(b), below, true
}

func diffIDs(steps []*history.Step) []digest.Digest {
	var out []digest.Digest
	for _, s := range slices.Backward(steps) {
		out = append(out, s.DiffID)
	}
	return out
}

// pathsIn is what some layers, the lowest first, say of the paths that patterns choose.
func (x *explainer) pathsIn(layers []digest.Digest, patterns []string) (map[string]LayerFile, bool) {
	out := map[string]LayerFile{}
	for _, l := range layers {
		files, err := x.layer(l)
		if err != nil {
			return nil, false
		}
		for _, f := range files {
			if f.Gone || f.Opaque {
				for p := range out {
					if strings.HasPrefix(p, f.Path+"/") {
						delete(out, p)
					}
				}
			}
			if !f.Opaque && chosen(patterns, f.Path) {
				out[f.Path] = f
			}
		}
	}
	return out, true
}

// sourcesOf are the patterns of a copy; nil for another operation.
func sourcesOf(definition string) []string {
	kind, _ := fields(definition)
	_, text, _ := strings.Cut(definition, " ")
	var c struct {
		Sources []string `json:"sources"`
	}
	if kind != "copy" || json.Unmarshal([]byte(text), &c) != nil {
		return nil
	}
	return c.Sources
}

// chosen reports whether a path, or a directory above it, matches a pattern.
func chosen(patterns []string, name string) bool {
	parts := strings.Split(name, "/")
	return slices.ContainsFunc(patterns, func(p string) bool {
		p = strings.Trim(path.Clean("/"+p), "/")
		n := strings.Count(p, "/") + 1
		if p == "" {
			return true
		}
		if n > len(parts) {
			return false
		}
		ok, _ := path.Match(p, strings.Join(parts[:n], "/"))
		return ok
	})
}
