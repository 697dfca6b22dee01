package archive

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// DiffOptions shape a layer.
type DiffOptions struct {
	// Clamp, when not zero, is the latest modification time in the layer.
	Clamp time.Time
	// Exclude are paths relative to the root that, with all below them, are not
	// in the layer. When a directory that the parents have differs from theirs
	// by its time only and an excluded path is right in it, the time does not count.
	Exclude []string
	// Lower are the parents' directories, the topmost first, in overlayfs'
	// form (whiteouts as 0/0 devices). See the package comment on what they are for. nil
	// means that the parents are not known, an empty list that there are none.
	Lower []string
	// RecordedOwner takes the owner from OwnerXattr where a file has it. Only
	// for trees that nobody but the recorder could write: a file's owner may set
	// the attribute.
	RecordedOwner bool
	// Since, for DiffTrees, is a time after the copying of lower to upper was
	// done and before upper was given away: a file whose inode was not changed since is
	// the parents' and is not compared. Zero compares all.
	Since time.Time
	// Shared says that others may change the tree meanwhile, as in WalkOptions.
	Shared bool
	// Owners is that of WriterOptions.
	Owners Owners
}

// Diff writes what an overlay's upper directory changes as a layer. Whiteouts
// and opaque directories of overlayfs, with trusted. or user. attributes,
// become those of OCI. An upper that was written with redirect_dir or metacopy is
// ErrUnsupported, and so is a file whose name begins with ".wh.".
func Diff(ctx context.Context, upper string, w io.Writer, opts DiffOptions) error {
	return diff(ctx, upper, w, opts, true, false)
}

// DiffTrees writes what changed from the tree lower to the tree upper as a layer,
// as Diff would for the same change over an overlay.
func DiffTrees(ctx context.Context, lower, upper string, w io.Writer, opts DiffOptions) error {
	opts.Lower = []string{lower}
	return diff(ctx, upper, w, opts, false, true)
}

// Pack writes the whole tree dir as a layer.
func Pack(ctx context.Context, dir string, w io.Writer, opts DiffOptions) error {
	opts.Lower = []string{}
	return diff(ctx, dir, w, opts, false, true)
}

// diff writes dir as a layer: overlay says that it is an upper directory, complete that what is not
// in it is gone.
func diff(ctx context.Context, dir string, w io.Writer, opts DiffOptions, overlay, complete bool) error {
	low, err := openLowers(opts.Lower)
	if err != nil {
		return err
	}
	defer low.close()
	d := &differ{
		w: NewWriter(w, WriterOptions{Clamp: opts.Clamp, Owners: opts.Owners}), opts: opts, overlay: overlay,
		known: opts.Lower != nil, low: low,
		exclude: map[string]bool{}, stubs: map[string]bool{}, links: map[inode]string{},
	}
	for _, p := range opts.Exclude {
		p = strings.TrimPrefix(path.Clean("/"+p), "/")
		d.exclude[p] = true
		parent, _ := split(p)
		d.stubs[parent] = true
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	if err := d.root(ctx, fd, complete); err != nil {
		return fmt.Errorf("make a layer of %s: %w", dir, err)
	}
	return d.w.Close()
}

type inode struct{ dev, ino uint64 }

type differ struct {
	w       *Writer
	opts    DiffOptions
	overlay bool
	known   bool // what the parents hold
	low     *lowers
	exclude map[string]bool
	stubs   map[string]bool // directories right above an excluded path
	links   map[inode]string
	x       xattrReader
	bufs    [2][]byte
	// pending are the directories on the way down that are not written yet: each
	// is only if something in it is.
	pending []Entry
}

// level is a directory on the way down.
type level struct {
	name  string
	fd    int
	depth int
	low   *lowerFile // the parents' directory, nil when there is none
	// complete: the parents' names that are not here are gone.
	complete bool
	// since: inodes older than opts.Since are the parents'.
	since bool
	// marks: whiteouts in the form of attributes may be here.
	marks bool
}

// root writes the entry of the root, if need be, and what is below it. It closes fd.
func (d *differ) root(ctx context.Context, fd int, complete bool) error {
	n := Node{fd: fd, Entry: Entry{Name: "."}}
	defer n.close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat the root: %w", err)
	}
	n.fill(&st)
	var err error
	if n.Entry.Xattrs, err = d.x.read(fd); err != nil {
		return fmt.Errorf("extended attributes of the root: %w", err)
	}
	d.own(&n.Entry, &d.x)
	n.Entry.ModTime = time.Unix(0, 0)
	low, err := d.low.root()
	if err != nil {
		return fmt.Errorf("stat the parents' root: %w", err)
	}
	was := Entry{Name: ".", Type: TypeDir, Mode: 0o755}
	if low != nil {
		ln, err := d.low.node(low, ".")
		if err != nil {
			return err
		}
		ln.close()
		d.own(&ln.Entry, &d.low.x)
		was = ln.Entry
	}
	was.ModTime = n.Entry.ModTime
	// What goes without saying is said of an owner that the tar shall not have.
	if !sameEntry(&n.Entry, &was) || low == nil && d.opts.Owners != nil {
		if err := d.emit(n.Entry, nil); err != nil {
			return err
		}
	}
	return d.dir(ctx, level{
		name: ".", fd: fd, low: low, since: !d.opts.Since.IsZero(),
		complete: complete, marks: d.overlay && d.x.overlay["opaque"] == "x",
	})
}

// dir writes what changed in a directory.
func (d *differ) dir(ctx context.Context, l level) error {
	if l.depth > maxDepth {
		return errdefs.Limit("%.80s...: deeper than %d directories", l.name, maxDepth)
	}
	names, err := readNames(l.fd, l.name)
	if err != nil {
		return err
	}
	nodes, gone, err := d.sort(&l, names)
	if err != nil {
		return err
	}
	for _, name := range gone {
		if err := d.flush(); err != nil {
			return err
		}
		if err := d.w.Whiteout(name); err != nil {
			return err
		}
	}
	for i := range nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := d.node(ctx, &l, &nodes[i])
		nodes[i].close()
		if err != nil {
			return err
		}
	}
	return nil
}

// sort parts the names of a directory into files and paths that are gone.
func (d *differ) sort(l *level, names []string) (nodes []Node, gone []string, err error) {
	here := make(map[string]bool)
	for _, base := range names {
		n := Node{dirfd: l.fd, base: base, fd: -1, Entry: Entry{Name: join(l.name, base)}}
		if d.exclude[n.Entry.Name] {
			here[base] = true
			continue
		}
		kept, err := n.stat()
		if err != nil {
			return nil, nil, err
		}
		white := n.Entry.Type == TypeChar && n.Entry.Devmajor == 0 && n.Entry.Devminor == 0
		if l.marks && n.Entry.Type == TypeReg && n.Entry.Size == 0 {
			if err := n.look(&d.x, false, d.opts.Shared); err != nil {
				return nil, nil, err
			}
			n.close()
			_, white = d.x.overlay["whiteout"]
		}
		if kept && !white {
			if strings.HasPrefix(base, WhiteoutPrefix) {
				return nil, nil, errdefs.Unsupported("%s: a file whose name begins with %q would be a whiteout in a layer", n.Entry.Name, WhiteoutPrefix)
			}
			here[base] = true
			nodes = append(nodes, n)
		} else if white && d.overlay && !d.known {
			gone = append(gone, n.Entry.Name)
		} else if !l.complete {
			names, err := d.missing(l, []string{base}, nil)
			if err != nil {
				return nil, nil, err
			}
			gone = append(gone, names...)
		}
	}
	if l.complete && l.low != nil {
		names, err := d.low.names(l.low, l.name)
		if err != nil {
			return nil, nil, err
		}
		gone, err = d.missing(l, names, here)
		return nodes, gone, err
	}
	return nodes, gone, nil
}

// missing returns the paths of those names that the parents have and the directory has not.
func (d *differ) missing(l *level, names []string, here map[string]bool) (gone []string, err error) {
	for _, base := range names {
		name := join(l.name, base)
		if here[base] || d.exclude[name] {
			continue
		}
		f, err := d.low.child(l.low, name)
		if err != nil {
			return nil, err
		}
		if f != nil && TypeOf(f.st.Mode) != 0 {
			gone = append(gone, name)
		}
	}
	return gone, nil
}

// emit writes an entry after the directories above it.
func (d *differ) emit(e Entry, n *Node) error {
	if err := d.flush(); err != nil {
		return err
	}
	if n == nil {
		return d.w.Add(e, nil)
	}
	return d.w.AddNode(e, n)
}

// flush writes the directories that wait.
func (d *differ) flush() error {
	for _, e := range d.pending {
		if e.Name == "" {
			continue
		}
		if err := d.w.Add(e, nil); err != nil {
			return err
		}
	}
	for i := range d.pending {
		d.pending[i].Name = ""
	}
	return nil
}

// own replaces the owner by the recorded one.
func (d *differ) own(e *Entry, x *xattrReader) {
	if !d.opts.RecordedOwner || x.owner == "" {
		return
	}
	if uid, gid, ok := parseOwner(x.owner); ok {
		e.UID, e.GID = uid, gid
	}
}
