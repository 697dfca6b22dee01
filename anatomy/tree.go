package anatomy

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer/index"
)

// Change is what a layer did to a path.
type Change byte

// The changes.
const (
	// Added: nothing was there.
	Added Change = iota
	// Replaced: another content, link target or type.
	Replaced
	// Meta: the same content with another mode, owner, or other attributes.
	Meta
	// Repeated: the same again.
	Repeated
	// Gone: the path is not there any more.
	Gone
)

// String is a word for people.
func (c Change) String() string {
	return [...]string{"added", "replaced", "metadata", "repeated", "removed"}[c]
}

// Version is what a layer says of a path.
type Version struct {
	// Layer counts from 0.
	Layer  int
	Change Change
	// Entry is nil when the path is Gone, and for directories that are there only because something is in them.
	Entry *index.Entry
	// Target is the file that a hard link is another name of; nil when it is not known, or this is no link.
	Target *index.Entry
	// By is the path of the whiteout, opaque directory or file that removed it.
	By string
}

// File is the entry with the content: that of the target for a hard link.
func (v *Version) File() *index.Entry {
	if v.Target != nil {
		return v.Target
	}
	return v.Entry
}

// IsDir reports whether the version is a directory.
func (v *Version) IsDir() bool {
	return v.Change != Gone && (v.Entry == nil || v.Entry.Kind == index.Dir)
}

// Node is a path that is, or was, in an image.
type Node struct {
	Name   string
	Parent *Node
	// Versions has what the layers say, the oldest first. A layer that removes a path
	// and puts another there has two.
	Versions []Version
	kids     map[string]*Node
	depth    int32
}

// Path is the clean path from the root, which is "." itself.
func (n *Node) Path() string {
	if n.Parent == nil {
		return "."
	}
	if n.Parent.Parent == nil {
		return n.Name
	}
	return n.Parent.Path() + "/" + n.Name
}

// Children are sorted by name. Those that are gone are among them.
func (n *Node) Children() []*Node {
	return slices.SortedFunc(maps.Values(n.kids), func(a, b *Node) int { return strings.Compare(a.Name, b.Name) })
}

// EachChild calls fn for each child, in no order.
func (n *Node) EachChild(fn func(*Node)) {
	for _, k := range n.kids {
		fn(k)
	}
}

// At is what the path is when layer and those below it are stacked; nil when it is not there.
func (n *Node) At(layer int) *Version {
	for i := len(n.Versions) - 1; i >= 0; i-- {
		if v := &n.Versions[i]; v.Layer <= layer {
			if v.Change == Gone {
				return nil
			}
			return v
		}
	}
	return nil
}

// top is what is there so far.
func (n *Node) top() *Version {
	if k := len(n.Versions); k > 0 && n.Versions[k-1].Change != Gone {
		return &n.Versions[k-1]
	}
	return nil
}

// Now is what the path is in the whole image; nil when it is not there.
func (n *Node) Now() *Version { return n.top() }

// Source is the layer, from 0, that put what shows there: what came after it changed attributes only, or nothing.
func (n *Node) Source() int {
	at := 0
	for i := range n.Versions {
		if v := &n.Versions[i]; v.Change == Added || v.Change == Replaced {
			at = v.Layer
		}
	}
	return at
}

// Root is the root directory.
func (a *Image) Root() *Node { return a.root }

// Lookup finds a clean path as it is, through no link; nil when no layer has it.
func (a *Image) Lookup(name string) *Node {
	n := a.root
	if name == "." || name == "" {
		return n
	}
	for part := range strings.SplitSeq(name, "/") {
		if n = n.kids[part]; n == nil {
			return nil
		}
	}
	return n
}

// merge makes the tree.
func (a *Image) merge(ctx context.Context) error {
	a.root = &Node{}
	m := &merger{a: a}
	for i := range a.Layers {
		if err := m.layer(ctx, i); err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	a.measure()
	return nil
}

const (
	// maxNodes is how many paths an image may have: a hostile one has many in few bytes.
	maxNodes = 8 << 20
	// maxDepth is how deep they may be. Links can lead deeper than one path is long.
	maxDepth = 4096
)

// merger puts layers on top of each other.
type merger struct {
	a *Image
	i int
	// dir is the directory of the last entry, by the name that the layer calls it: most entries lie beside the one before.
	dir     *Node
	dirName string
	links   int // that the current name went through
	// Nodes and their first versions are made in blocks: there are as many as files.
	nodes    []Node
	versions []Version
	count    int   // of nodes
	err      error // what ends the merging
}

// block is how many nodes are made at once.
const block = 512

// kid returns a child, made when it is not there.
func (m *merger) kid(n *Node, name string) *Node {
	k := n.kids[name]
	if k != nil {
		return k
	}
	if m.count++; m.count > maxNodes || n.depth >= maxDepth {
		m.err = errdefs.Limit("more than %d paths, or paths deeper than %d directories", maxNodes, maxDepth)
		return &Node{Name: name, Parent: n}
	}
	if n.kids == nil {
		n.kids = make(map[string]*Node)
	}
	if len(m.nodes) == 0 {
		m.nodes = make([]Node, block)
	}
	k, m.nodes = &m.nodes[0], m.nodes[1:]
	k.Name, k.Parent, k.depth = name, n, n.depth+1
	n.kids[name] = k
	return k
}

// push gives a node one more version.
func (m *merger) push(n *Node, v Version) {
	if n.Versions != nil {
		n.Versions = append(n.Versions, v)
		return
	}
	if len(m.versions) == 0 {
		m.versions = make([]Version, block)
	}
	m.versions[0] = v
	n.Versions, m.versions = m.versions[:1:1], m.versions[1:]
}

func (m *merger) layer(ctx context.Context, i int) error {
	m.i, m.dir, m.dirName = i, m.a.root, "."
	entries := m.a.Layers[i].Index.Entries
	for k := range entries {
		if m.err != nil {
			return m.err
		}
		if k%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e := &entries[k]
		switch e.Kind {
		case index.Opaque:
			// A mark lies in its directory, which is made by it when it is not there.
			m.hideKids(m.parent(e.Path, true), e.Path)
			m.dir, m.dirName = m.a.root, "."
		case index.Whiteout:
			dir, base := split(e.Path)
			if n := m.parent(dir, true).kids[base]; n != nil {
				m.hide(n, e.Path)
			}
			m.dir, m.dirName = m.a.root, "."
		default:
			m.add(e)
		}
	}
	return m.err
}

// find looks a path up, through the links of the layers below.
func (m *merger) find(name string) *Node {
	if name == "." {
		return m.a.root
	}
	dir, base := split(name)
	n := m.parent(dir, false)
	if n == nil {
		return nil
	}
	return n.kids[base]
}

// split parts a clean path at its last slash.
func split(name string) (dir, base string) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return ".", name
}

// parent returns the directory that name leads to, through symbolic links as an extraction goes. With create it is made.
func (m *merger) parent(name string, create bool) *Node {
	if name == m.dirName {
		return m.dir
	}
	m.links = 0
	n := m.walk(m.a.root, name, create)
	if n != nil {
		m.dir, m.dirName = n, name
	}
	return n
}

// maxLinks is how many links one path may go through, as in the kernel.
const maxLinks = 40

func (m *merger) walk(n *Node, name string, create bool) *Node {
	for part := range strings.SplitSeq(name, "/") {
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
		var v *Version
		if next != nil {
			v = next.top()
		}
		if v != nil && v.Entry != nil && v.Entry.Kind == index.Symlink && m.links < maxLinks {
			m.links++
			from := n
			if path.IsAbs(v.Entry.Link) {
				from = m.a.root
			}
			if next = m.walk(from, v.Entry.Link, create); next == nil {
				return nil
			}
			n = next
			continue
		}
		if v == nil || !v.IsDir() {
			if !create {
				return nil
			}
			if next == nil {
				next = m.kid(n, part)
			}
			change := Added
			if v != nil {
				change = Replaced
			}
			m.push(next, Version{Layer: m.i, Change: change})
		}
		n = next
	}
	return n
}

func (m *merger) hide(n *Node, by string) {
	if n.top() != nil {
		m.push(n, Version{Layer: m.i, Change: Gone, By: by})
		m.hideKids(n, by)
	}
}

func (m *merger) hideKids(n *Node, by string) {
	for _, k := range n.kids {
		m.hide(k, by)
	}
}

// add puts an entry over what is there.
func (m *merger) add(e *index.Entry) {
	n := m.a.root
	if e.Path != "." {
		dir, base := split(e.Path)
		n = m.kid(m.parent(dir, true), base)
	}
	v := Version{Layer: m.i, Entry: e}
	if e.Kind == index.Link {
		v.Target = m.target(e)
	}
	old := n.top()
	v.Change = changeOf(old, &v)
	if old != nil && old.IsDir() && e.Kind != index.Dir {
		m.hideKids(n, e.Path)
	}
	if e.Kind == index.Symlink || e.Kind != index.Dir && m.dir == n {
		m.dir, m.dirName = m.a.root, "." // names may lead elsewhere from now on
	}
	// A directory that was only implied in this layer is the same one.
	if old != nil && old.Layer == m.i && old.Entry == nil && e.Kind == index.Dir {
		old.Entry = e
		return
	}
	m.push(n, v)
}

// target finds the file that a hard link means: in its own layer, or below.
func (m *merger) target(e *index.Entry) *index.Entry {
	for range maxLinks {
		t := m.a.Layers[m.i].Index.Lookup(e.Link)
		if t == nil {
			if n := m.find(e.Link); n != nil && n.top() != nil {
				return n.top().File()
			}
			return nil
		}
		if t.Kind != index.Link {
			return t
		}
		e = t
	}
	return nil
}

// changeOf compares a version with the one that it comes over, which may be nil.
func changeOf(old, v *Version) Change {
	if old == nil {
		return Added
	}
	if old.IsDir() && v.IsDir() {
		if old.Entry == nil || v.Entry == nil || sameMeta(old.Entry, v.Entry) {
			return Repeated
		}
		return Meta
	}
	a, b := old.File(), v.File()
	if a == nil || b == nil || !sameContent(a, b) {
		return Replaced
	}
	if !sameMeta(a, b) {
		return Meta
	}
	return Repeated
}

// sameContent compares type and content.
func sameContent(a, b *index.Entry) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case index.Reg:
		return a.Size == b.Size && a.HasSum && b.HasSum && a.Sum == b.Sum
	case index.Char, index.Block:
		return a.Major == b.Major && a.Minor == b.Minor
	case index.Link, index.Symlink:
		return a.Link == b.Link
	}
	return true
}

// sameMeta compares all that is neither content nor time.
func sameMeta(a, b *index.Entry) bool {
	return a.UID == b.UID && a.GID == b.GID && (a.Mode == b.Mode || a.Kind == index.Symlink) && maps.Equal(a.Xattrs, b.Xattrs)
}
