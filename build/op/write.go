package op

import (
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/build/source"
	"github.com/camada/camada/layer/index"
)

// inode identifies a file of a source tree with several names.
type inode struct {
	tree     *source.Tree
	dev, ino uint64
}

// layerWriter writes a plan.
type layerWriter struct {
	w     *archive.Writer
	epoch time.Time
	links map[inode]string
	known index.Known
}

// Write writes the layer as an uncompressed tar, sorted. known, when not nil, is told the SHA-256 of a
// file before the file is written, if it is known.
func (p *Plan) Write(ctx context.Context, w io.Writer, known index.Known) error {
	names := make([]string, 0, len(p.nodes))
	for name := range p.nodes {
		names = append(names, name)
	}
	slices.SortFunc(names, comparePaths)
	l := &layerWriter{w: archive.NewWriter(w, archive.WriterOptions{Clamp: p.epoch}), epoch: p.epoch, links: make(map[inode]string), known: known}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.add(name, p.nodes[name]); err != nil {
			return err
		}
	}
	return l.w.Close()
}

func (l *layerWriter) add(name string, n *node) error {
	e := archive.Entry{Name: name, Type: n.typ, Mode: n.perm, UID: n.uid, GID: n.gid, ModTime: l.epoch}
	if n.oldTime || n.dated {
		e.ModTime = time.Unix(0, n.from.Mtime).UTC() // the Writer clamps it
	}
	switch n.typ {
	case archive.TypeSymlink:
		e.Linkname, e.Mode = n.from.Link, 0o777
	case archive.TypeChar, archive.TypeBlock:
		e.Devmajor, e.Devminor = n.from.Major, n.from.Minor
	}
	if n.keep {
		e.ModTime = l.epoch
	}
	if n.tree == nil {
		e.Size = int64(len(n.data))
		return l.w.Add(e, strings.NewReader(n.data))
	}
	if n.oldTime { // a file of an image: attributes and hard links count
		if first, ok := l.linked(name, n); ok {
			e.Type, e.Linkname, e.Size = archive.TypeLink, first, 0
			return l.w.Add(e, nil)
		}
		var err error
		if e.Xattrs, err = n.tree.Xattrs(n.path, n.from); err != nil {
			return err
		}
	}
	if n.typ != archive.TypeReg {
		return l.w.Add(e, nil)
	}
	e.Size = n.from.Size
	f, err := n.tree.File(n.path, n.from)
	if err != nil {
		return err
	}
	defer f.Close()
	if sum, ok := n.from.SHA256(); ok && l.known != nil {
		l.known(name, sum)
	}
	if err := l.w.Add(e, f); err != nil {
		// Content that became short is a file that was changed: say that.
		if changed := n.tree.Unchanged(f, n.from); changed != nil {
			return changed
		}
		return err
	}
	return n.tree.Unchanged(f, n.from)
}

// linked returns the name under which the inode of n was written before.
func (l *layerWriter) linked(name string, n *node) (string, bool) {
	if n.from.Nlink < 2 || n.typ == archive.TypeDir {
		return "", false
	}
	id := inode{n.tree, n.from.Dev, n.from.Ino}
	first, ok := l.links[id]
	if !ok {
		l.links[id] = name
	}
	return first, ok
}

// comparePaths orders paths so that a directory comes before what is in it, and
// names of one directory are sorted bytewise.
func comparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x == '/' {
			return -1
		}
		if y == '/' {
			return 1
		}
		return int(x) - int(y)
	}
	return len(a) - len(b)
}

// Plan decides what directories are to be made: none when the directory is there.
func (m *Mkdir) Plan(ctx context.Context, in CopyInput) (*Plan, error) {
	p := newPlan(in)
	o, err := parseOwner(m.User)
	if err != nil {
		return nil, err
	}
	if p.dirUID, p.dirGID, err = p.ownerOf(ctx, o, true); err != nil {
		return nil, err
	}
	real, _, err := p.follow(strings.TrimPrefix(path.Clean(m.Path), "/"))
	if err != nil {
		return nil, err
	}
	return p, p.mkdirAll(real)
}
