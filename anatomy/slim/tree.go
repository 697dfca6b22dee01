package slim

import (
	"context"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
)

// Tree is the root file system of an image, open for reading. Close it.
type Tree struct {
	dir   string
	opts  TreeOptions
	root  *node
	files *os.Root
}

// TreeOptions say how the tree is kept.
type TreeOptions struct {
	// RecordedOwner is as in archive.DiffOptions.
	RecordedOwner bool
}

// node is a file of the tree.
type node struct {
	name   string
	parent *node
	kids   map[string]*node
	typ    byte
	mode   uint32
	size   int64
	link   string
	mtime  time.Time
	id     inode
	links  uint64

	kept, excluded bool
	reason         string
	// below is how many regular files in the directory are kept.
	below int
	// owner is the package that the file is of, from 1; 0 for none.
	owner int
}

type inode struct{ dev, ino uint64 }

const (
	// maxNodes is how many files a tree may have.
	maxNodes = 8 << 20
	// maxLinks is how many links one path may go through, as in the kernel.
	maxLinks = 40
)

// ReadTree lists the tree in dir, which is a snapshot's view.
func ReadTree(ctx context.Context, dir string, opts TreeOptions) (*Tree, error) {
	t := &Tree{dir: dir, opts: opts, root: &node{typ: archive.TypeDir}}
	last, lastName, count := t.root, ".", 0
	err := archive.Walk(ctx, dir, archive.WalkOptions{NoXattrs: true}, func(n *archive.Node) error {
		if count++; count > maxNodes {
			return errdefs.Limit("more than %d files", maxNodes)
		}
		parent, base := path.Split(n.Entry.Name)
		parent = path.Clean(parent)
		if parent != lastName { // most files lie beside the one before
			last, lastName = t.exact(parent), parent
		}
		e := &n.Entry
		k := &node{name: base, parent: last, typ: e.Type, mode: e.Mode, size: e.Size, link: e.Linkname, mtime: e.ModTime, id: inode{n.Dev, n.Ino}, links: n.Nlink}
		if last.kids == nil {
			last.kids = map[string]*node{}
		}
		last.kids[base] = k
		return nil
	})
	if err != nil {
		return nil, err
	}
	if t.files, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	return t, nil
}

// Close closes the tree.
func (t *Tree) Close() error { return t.files.Close() }

// path is that of a node, relative and clean: "." is the root.
func (n *node) path() string {
	if n.parent == nil {
		return "."
	}
	parts := []string{}
	for ; n.parent != nil; n = n.parent {
		parts = append(parts, n.name)
	}
	slices.Reverse(parts)
	return strings.Join(parts, "/")
}

// isDir and isFile tell directories and regular files.
func (n *node) isDir() bool  { return n.typ == archive.TypeDir }
func (n *node) isFile() bool { return n.typ == archive.TypeReg }

// children are sorted by name.
func (n *node) children() []*node {
	return slices.SortedFunc(maps.Values(n.kids), func(a, b *node) int { return strings.Compare(a.name, b.name) })
}

// each calls fn for all below n, a directory before what is in it.
func (n *node) each(fn func(*node)) {
	for _, k := range n.children() {
		fn(k)
		k.each(fn)
	}
}

// exact finds a clean relative path through no link; nil when it is not there.
func (t *Tree) exact(name string) *node {
	n := t.root
	if name == "." {
		return n
	}
	for part := range strings.SplitSeq(name, "/") {
		if n = n.kids[part]; n == nil {
			return nil
		}
	}
	return n
}

// way is where a path leads.
type way struct {
	// end is what it leads to, nil for nothing.
	end *node
	// through are the directories and links on the way, as far as it goes.
	through []*node
}

// find follows a path as the kernel does in the tree. With noFollow a link in the last place is meant itself.
func (t *Tree) find(name string, noFollow bool) way {
	var w way
	n, links := t.root, 0
	rest := strings.Split(name, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if w.through = append(w.through, n); n.parent != nil {
				n = n.parent
			}
			continue
		}
		w.through = append(w.through, n)
		next := n.kids[part]
		if next == nil {
			return w
		}
		if next.typ != archive.TypeSymlink || noFollow && len(rest) == 0 {
			n = next
			continue
		}
		w.through = append(w.through, next)
		if links++; links > maxLinks {
			return w
		}
		if path.IsAbs(next.link) {
			n = t.root
		}
		rest = append(strings.Split(next.link, "/"), rest...)
	}
	w.end = n
	return w
}

// open opens a regular file.
func (t *Tree) open(n *node) (*os.File, error) {
	f, err := t.files.Open(n.path())
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, errdefs.Invalid("/%s is no regular file", n.path())
	}
	return f, nil
}

// read reads a regular file of at most limit bytes; nil when the path leads to none.
func (t *Tree) read(name string, limit int64) ([]byte, error) {
	n := t.find(name, false).end
	if n == nil || !n.isFile() {
		return nil, nil
	}
	if n.size > limit {
		return nil, errdefs.Limit("/%s is larger than %d bytes", n.path(), limit)
	}
	f, err := t.open(n)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
