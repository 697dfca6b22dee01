package op

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/build/source"
	"github.com/camada/camada/errdefs"
)

// Plan is the tree of a layer that is being put together: what will be in it over
// what the target, the file system below, has. It is used by one goroutine, and as long
// as the trees that it was made of are open.
type Plan struct {
	epoch time.Time
	// target is nil for an empty file system.
	target *source.Tree
	nodes  map[string]*node
	// dirUID, dirGID and dirPerm are what new directories on the way get.
	dirUID, dirGID int
	dirPerm        uint32
}

func newPlan(in CopyInput) *Plan {
	return &Plan{epoch: in.Epoch, target: in.Target, nodes: make(map[string]*node), dirPerm: 0o755}
}

// node is one entry of the layer to be.
type node struct {
	typ      byte // of the archive.Type constants
	perm     uint32
	uid, gid int
	// content of a regular file, and link target or device numbers of others: from
	// tree at path, or data when tree is nil.
	tree *source.Tree
	path string
	from *source.Entry
	data string
	// keep tells that the directory is the target's: its attributes are read there.
	keep bool
	// fresh tells that the target has nothing below this directory.
	fresh bool
	// copied tells that a file came here in this operation, from where.
	copied string
	// oldTime keeps times that are before the epoch.
	oldTime bool
	// dated does so too, for files whose attributes and hard links do not count.
	dated bool
}

// found is what is at a path, in the plan or in the target.
type found struct {
	typ  byte
	link string
}

func (n *node) found() *found {
	f := &found{typ: n.typ}
	if n.from != nil {
		f.link = n.from.Link
	}
	return f
}

// at looks at one path without following a link; nil when nothing is there.
func (p *Plan) at(name string) (*found, error) {
	if name == "" {
		return &found{typ: archive.TypeDir}, nil
	}
	if n := p.nodes[name]; n != nil {
		return n.found(), nil
	}
	if p.target == nil {
		return nil, nil
	}
	if parent := p.nodes[parentOf(name)]; parent != nil && (parent.fresh || parent.typ != archive.TypeDir) {
		return nil, nil
	}
	e, err := p.target.Lstat(name)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &found{typ: entryType(&e), link: e.Link}, nil
}

// maxLinks is how many links one path may go through, as in the kernel.
const maxLinks = 40

// follow resolves a path as in a chroot, its last component too, and tells what is
// there: nil for nothing. Missing components stay as they are.
func (p *Plan) follow(name string) (string, *found, error) {
	rest := strings.Split(name, "/")
	at, here := "", &found{typ: archive.TypeDir}
	links := 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			at = parentOf(at)
			var err error
			if here, err = p.at(at); err != nil {
				return "", nil, err
			}
			continue
		}
		child := path.Join(at, part)
		if here == nil {
			at = child
			continue
		}
		next, err := p.at(child)
		if err != nil {
			return "", nil, err
		}
		if next == nil || next.typ != archive.TypeSymlink {
			at, here = child, next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, errdefs.Invalid("%s: too many symbolic links", name)
		}
		if path.IsAbs(next.link) {
			at, here = "", &found{typ: archive.TypeDir}
		}
		rest = append(strings.Split(next.link, "/"), rest...)
	}
	return at, here, nil
}

// mkdirAll makes the directory name, which goes through no link, and those above it.
func (p *Plan) mkdirAll(name string) error {
	if name == "" {
		return nil
	}
	f, err := p.at(name)
	if err != nil {
		return err
	}
	if f != nil {
		if f.typ != archive.TypeDir {
			return errdefs.Invalid("/%s is not a directory", name)
		}
		return nil
	}
	if err := p.mkdirAll(parentOf(name)); err != nil {
		return err
	}
	return p.put(name, &node{typ: archive.TypeDir, perm: p.dirPerm, uid: p.dirUID, gid: p.dirGID, fresh: true})
}

// maxName is the longest file name that Linux has.
const maxName = 255

// put adds a node and, as the target has them, the directories above it: a layer says what
// the directories on the way are, because not every reader of layers asks below.
func (p *Plan) put(name string, n *node) error {
	base := path.Base(name)
	if len(base) > maxName {
		return errdefs.Invalid("/%.50s...: a name has more than %d bytes", name, maxName)
	}
	if strings.HasPrefix(base, archive.WhiteoutPrefix) {
		return errdefs.Invalid("/%s: in a layer, a name that begins with %s says that a file is gone; leave it out with .dockerignore or --exclude", name, archive.WhiteoutPrefix)
	}
	p.nodes[name] = n
	for dir := parentOf(name); dir != "" && p.nodes[dir] == nil; dir = parentOf(dir) {
		if p.target == nil {
			return errdefs.Invalid("/%s is not there", dir)
		}
		e, err := p.target.Lstat(dir)
		if err != nil {
			return err
		}
		p.nodes[dir] = p.kept(dir, e)
	}
	return nil
}

// kept is a directory of the target as it is there.
func (p *Plan) kept(name string, e source.Entry) *node {
	return &node{
		typ: archive.TypeDir, perm: e.Mode & permMask, uid: int(e.UID), gid: int(e.GID),
		tree: p.target, path: name, from: &e, keep: true, oldTime: true,
	}
}

// parentOf is the directory of a clean relative path, "" for the root.
func parentOf(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

// entryType is the archive's type of a file; 0 for a socket, which no archive holds.
func entryType(e *source.Entry) byte { return archive.TypeOf(e.Mode) }

// ownerOf resolves user[:group] with the target's files.
func (p *Plan) ownerOf(ctx context.Context, o owner, lenient bool) (uid, gid int, err error) {
	return o.resolve(func(name string) ([]byte, error) {
		if p.target == nil {
			return nil, errdefs.NotFound("%s does not exist", name)
		}
		return p.target.ReadSmall(ctx, name, maxUserFile)
	}, lenient)
}
