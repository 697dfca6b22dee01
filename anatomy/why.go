package anatomy

import (
	"path"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer/index"
)

// Hop is a symbolic link that a path led through.
type Hop struct {
	// Path is where the link lies, Target what it says, Layer (from 0) who put it there.
	Path, Target string
	Layer        int
}

// Found is what a path leads to.
type Found struct {
	Node *Node
	Hops []Hop
}

// Find follows a path as the kernel does in a root directory, through symbolic links, the last component's too. A
// path that was removed is found as well, as long as the directory that it lay in is not another one by now. A path that no layer ever had, or
// a link that leads nowhere, is ErrNotFound; the hops say how far it went.
func (a *Image) Find(name string) (Found, error) {
	var f Found
	n := a.root
	rest := strings.Split(name, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if n.Parent != nil {
				n = n.Parent
			}
			continue
		}
		next := n.kids[part]
		if next == nil {
			at := path.Join("/", n.Path(), part)
			if len(f.Hops) > 0 {
				last := f.Hops[len(f.Hops)-1]
				return f, errdefs.NotFound("/%s is a symbolic link to %s, and no layer has %s", last.Path, last.Target, at)
			}
			return f, errdefs.NotFound("no layer has %s", at)
		}
		v := next.top()
		if v == nil || v.Entry == nil || v.Entry.Kind != index.Symlink {
			n = next
			continue
		}
		f.Hops = append(f.Hops, Hop{Path: next.Path(), Target: v.Entry.Link, Layer: v.Layer})
		if len(f.Hops) > maxLinks {
			return f, errdefs.Invalid("%s: too many symbolic links", name)
		}
		if path.IsAbs(v.Entry.Link) {
			n = a.root
		}
		rest = append(strings.Split(v.Entry.Link, "/"), rest...)
	}
	f.Node = n
	return f, nil
}

// Glob returns the nodes whose paths match a pattern of path.Match, in which a component ** stands for
// any number of components, sorted by path. Those that are gone are left out, links are not followed.
func (a *Image) Glob(pattern string) ([]*Node, error) {
	parts, err := patternParts(pattern)
	if err != nil {
		return nil, err
	}
	var out []*Node
	var comps []string
	var visit func(n *Node)
	visit = func(n *Node) {
		for _, k := range n.Children() {
			if k.top() == nil {
				continue
			}
			comps = append(comps, k.Name)
			if matchParts(parts, comps) {
				out = append(out, k)
			}
			visit(k)
			comps = comps[:len(comps)-1]
		}
	}
	visit(a.root)
	return out, nil
}

// Pattern returns what tells whether a clean relative path matches a pattern as Glob has it.
func Pattern(pattern string) (func(name string) bool, error) {
	parts, err := patternParts(pattern)
	return func(name string) bool { return matchParts(parts, strings.Split(name, "/")) }, err
}

// patternParts are the components of a pattern.
func patternParts(pattern string) ([]string, error) {
	parts := strings.Split(strings.Trim(path.Clean("/"+pattern), "/"), "/")
	for _, p := range parts {
		if _, err := path.Match(p, ""); err != nil {
			return nil, errdefs.Invalid("%q is not a pattern: %w", pattern, err)
		}
	}
	return parts, nil
}

// matchParts matches components; what follows a ** is tried at the next place when it does not fit.
func matchParts(parts, comps []string) bool {
	star, mark, p, c := -1, 0, 0, 0
	for c < len(comps) {
		if p < len(parts) && parts[p] == "**" {
			star, mark = p, c
			p++
			continue
		}
		if p < len(parts) {
			if ok, _ := path.Match(parts[p], comps[c]); ok {
				p, c = p+1, c+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, c = star+1, mark
	}
	for p < len(parts) && parts[p] == "**" {
		p++
	}
	return p == len(parts) && !(len(parts) > 0 && parts[len(parts)-1] == "**" && len(comps) == len(parts)-1)
}

// IsPattern reports whether a path has wildcards.
func IsPattern(name string) bool { return strings.ContainsAny(name, "*?[") }
