package op

import (
	"context"
	"errors"
	"path"
	"strings"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/build/source"
	"github.com/camada/camada/errdefs"
)

// Item is one source of a copy after patterns and archives were looked at.
type Item struct {
	// Tree is where Match is.
	Tree  *source.Tree
	Match source.Match
	// Unpacked tells that Tree is what an archive held: its owners are kept, and
	// it replaces what is in its way.
	Unpacked bool
	// Source is which of Copy.Sources this comes from.
	Source int
	// Dated tells that the files' times are to be kept when they are before the epoch.
	Dated bool
}

// CopyInput is what a Copy is executed with.
type CopyInput struct {
	// Items in the order of Copy.Sources.
	Items []Item
	// Target is the parent's file system; nil for an empty one.
	Target *source.Tree
	// Epoch is the time of the files; see the package build.
	Epoch time.Time
}

// copier is one execution of a Copy.
type copier struct {
	*Plan
	op       *Copy
	own      owner
	uid, gid int
	mode     modeChange
}

// Plan looks at the sources and at the target and decides what the layer holds. The layer depends
// on the operation and the content of the input alone.
func (c *Copy) Plan(ctx context.Context, in CopyInput) (*Plan, error) {
	x := &copier{op: c, Plan: newPlan(in)}
	if c.Link {
		x.target = nil
	}
	var err error
	if x.mode, err = parseMode(c.Chmod); err != nil {
		return nil, err
	}
	if x.own, err = parseOwner(c.Chown); err != nil {
		return nil, err
	}
	if x.uid, x.gid, err = x.ownerOf(ctx, x.own, false); err != nil {
		return nil, err
	}
	x.dirUID, x.dirGID = x.uid, x.gid
	for _, it := range in.Items {
		x.dirPerm = x.newDirs(it.Unpacked)
		if err := x.item(ctx, it); err != nil {
			return nil, err
		}
	}
	x.dirPerm = x.newDirs(false)
	for _, f := range c.Files {
		if err := x.file(f); err != nil {
			return nil, err
		}
	}
	return x.Plan, nil
}

// newDirs is the mode of directories that are made for files to be in. --chmod means
// them too when it is a number, but not what an archive held, nor its directory.
func (x *copier) newDirs(unpacked bool) uint32 {
	if unpacked || !x.mode.set || x.mode.clauses != nil {
		return 0o755
	}
	return x.mode.octal & 0o777 // BuildKit's have no more
}

// destination makes the directory that the files go to or into, and returns the path
// without links and what is there.
func (x *copier) destination() (string, *found, error) {
	dest := strings.TrimPrefix(x.op.Dest, "/")
	dir := parentOf(strings.TrimSuffix(dest, "/"))
	if strings.HasSuffix(dest, "/") {
		dir = strings.TrimSuffix(dest, "/")
	}
	real, _, err := x.follow(dir)
	if err != nil {
		return "", nil, err
	}
	if err := x.mkdirAll(real); err != nil {
		return "", nil, err
	}
	return x.follow(strings.TrimSuffix(dest, "/"))
}

// item copies one source.
func (x *copier) item(ctx context.Context, it Item) error {
	dest, there, err := x.destination()
	if err != nil {
		return err
	}
	src := it.Match.Entry
	if src.IsDir() {
		// What is in the directory is copied, and the directory itself is the
		// destination, which keeps what it is when it is there.
		if there != nil && there.typ != archive.TypeDir {
			return errdefs.Invalid("%s is a directory, and /%s is not", it.Match, dest)
		}
		if err := x.mkdirAll(dest); err != nil {
			return err
		}
		return it.Tree.Walk(ctx, it.Match, func(rel string, e *source.Entry) error {
			if rel == "" {
				return nil
			}
			to := path.Join(dest, rel)
			if it.Match.OnlyWay(rel) {
				if there, err := x.at(to); err != nil || there != nil && there.typ == archive.TypeDir {
					return errors.Join(err, x.keepMode(to, e))
				}
			}
			return x.add(it, path.Join(it.Match.Path, rel), to, e)
		})
	}
	if there != nil && there.typ == archive.TypeDir {
		dest = path.Join(dest, path.Base("/"+it.Match.Name))
	} else if err := x.mkdirAll(parentOf(dest)); err != nil { // when a link led elsewhere
		return err
	}
	return x.add(it, it.Match.Path, dest, src)
}

// add puts one file of a tree at dest.
func (x *copier) add(it Item, from, dest string, e *source.Entry) error {
	typ := entryType(e)
	if typ == 0 {
		return nil // a socket means nothing without the process behind it
	}
	keep := x.op.From || it.Unpacked
	there, err := x.at(dest)
	if err != nil {
		return err
	}
	if there != nil && !it.Unpacked {
		if typ == archive.TypeDir && there.typ != archive.TypeDir {
			return errdefs.Invalid("/%s is a directory, and /%s in the image is not", from, dest)
		}
		if typ != archive.TypeDir && there.typ == archive.TypeDir {
			return errdefs.Invalid("/%s is a file, and /%s in the image is a directory", from, dest)
		}
	}
	n := &node{typ: typ, perm: e.Mode & permMask, tree: it.Tree, path: from, from: e, copied: from, oldTime: keep, dated: it.Dated}
	n.fresh = typ == archive.TypeDir && (there == nil || there.typ != archive.TypeDir || x.isFresh(dest))
	switch {
	case x.own.set:
		n.uid, n.gid = x.uid, x.gid
	case keep:
		n.uid, n.gid = int(e.UID), int(e.GID)
	}
	if typ != archive.TypeSymlink && !it.Unpacked {
		n.perm = x.mode.apply(n.perm, typ == archive.TypeDir)
	}
	return x.place(dest, n, it.Match.Name)
}

// keepMode gives a directory that is there the mode of the one on the way to a source, and
// leaves its owner.
func (x *copier) keepMode(dest string, from *source.Entry) error {
	old := x.nodes[dest]
	if old == nil {
		e, err := x.target.Lstat(dest)
		if err != nil {
			return err
		}
		if e.Mode&permMask == from.Mode&permMask {
			return nil
		}
		old = x.kept(dest, e)
		if err := x.put(dest, old); err != nil {
			return err
		}
	}
	n := *old
	n.perm = from.Mode & permMask
	x.nodes[dest] = &n
	return nil
}

// isFresh keeps what is known of a directory that is copied over a new one.
func (x *copier) isFresh(name string) bool {
	n := x.nodes[name]
	return n != nil && n.fresh
}

// place puts a node, unless two sources of one COPY meet in one file because
// the destination was not said to be a directory.
func (x *copier) place(dest string, n *node, source string) error {
	old := x.nodes[dest]
	if old != nil && old.copied != "" && old.copied != n.copied && n.typ != archive.TypeDir && x.isExact(dest) {
		return errdefs.Invalid("%s and %s would both become /%s; with more than one source the destination is a directory and ends with /", old.copied, source, dest)
	}
	if old != nil && old.typ == archive.TypeDir && n.typ != archive.TypeDir {
		for name := range x.nodes { // only an archive replaces a directory
			if strings.HasPrefix(name, dest+"/") {
				delete(x.nodes, name)
			}
		}
	}
	return x.put(dest, n)
}

// isExact reports whether dest is the destination itself, not in it.
func (x *copier) isExact(dest string) bool {
	real, _, err := x.follow(strings.Trim(x.op.Dest, "/"))
	return err == nil && real == dest
}

// file copies one file that stands in the Dockerfile.
func (x *copier) file(f File) error {
	dest, there, err := x.destination()
	if err != nil {
		return err
	}
	if there != nil && there.typ == archive.TypeDir {
		dest = path.Join(dest, f.Name)
		if there, err = x.at(dest); err != nil {
			return err
		}
		if there != nil && there.typ == archive.TypeDir {
			return errdefs.Invalid("/%s in the image is a directory", dest)
		}
	} else if err := x.mkdirAll(parentOf(dest)); err != nil {
		return err
	}
	n := &node{typ: archive.TypeReg, perm: x.mode.apply(0o644, false), uid: x.uid, gid: x.gid, data: f.Data, copied: "<<" + f.Name}
	return x.place(dest, n, n.copied)
}
