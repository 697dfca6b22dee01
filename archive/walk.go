package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// maxDepth bounds how deep a tree may be: a file descriptor is held per level.
const maxDepth = 2048

// Node is a file that Walk came to. It is valid during the call only.
type Node struct {
	// Entry describes the file; its Name is relative to the walked directory. It is
	// never a TypeLink: see Dev, Ino and Nlink. Xattrs are those that a
	// layer carries. Sockets are not visited.
	Entry Entry
	// Dev and Ino identify the inode, and Nlink is how many names it has.
	Dev, Ino uint64
	Nlink    uint64
	// Ctime is when the inode was last changed.
	Ctime time.Time

	dirfd int
	base  string
	fd    int // open for a regular file or a directory, -1 otherwise
}

// Open opens a regular file for reading; the caller closes it.
func (n *Node) Open() (*os.File, error) {
	fd, err := openat(n.dirfd, n.base, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", n.Entry.Name, err)
	}
	return os.NewFile(uintptr(fd), n.Entry.Name), nil
}

// AddNode adds a file that a walk came to under an entry that the caller may have
// changed; the content of a regular file is read from the node.
func (w *Writer) AddNode(e Entry, n *Node) error {
	if e.Type != TypeReg || n.Entry.Type != TypeReg {
		return w.Add(e, nil)
	}
	fd := n.fd
	if fd < 0 {
		var err error
		if fd, err = openat(n.dirfd, n.base, unix.O_RDONLY|unix.O_NONBLOCK); err != nil {
			return w.fail(fmt.Errorf("open %s: %w", n.Entry.Name, err))
		}
		defer unix.Close(fd)
	}
	return w.addFD(e, fd)
}

// WalkOptions shape a walk.
type WalkOptions struct {
	// NoXattrs leaves extended attributes unread.
	NoXattrs bool
	// RecordedOwner is as in DiffOptions.
	RecordedOwner bool
	// Shared says that others may change the tree meanwhile: that something was a regular file when it was looked at does not
	// mean that it still is when it is opened, and a device does something when it is opened. It costs two calls a file.
	Shared bool
}

// Walk calls fn for each file below dir, which is not visited itself: depth
// first, the names of a directory sorted bytewise, a directory before what is in
// it. It follows no symbolic link below dir. fn returns fs.SkipDir to pass over
// a directory's inside; any other error ends the walk and is returned.
func Walk(ctx context.Context, dir string, opts WalkOptions, fn func(*Node) error) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	return WalkFD(ctx, fd, opts, fn)
}

// WalkFD is Walk over an open directory, which it closes.
func WalkFD(ctx context.Context, dirfd int, opts WalkOptions, fn func(*Node) error) error {
	w := walker{opts: opts, fn: fn}
	return w.dir(ctx, dirfd, ".", 0)
}

type walker struct {
	opts WalkOptions
	fn   func(*Node) error
	x    xattrReader
}

// dir visits what is in the directory fd, and closes it.
func (w *walker) dir(ctx context.Context, fd int, name string, depth int) error {
	names, err := readNames(fd, name)
	if err != nil {
		unix.Close(fd)
		return err
	}
	defer unix.Close(fd)
	if depth > maxDepth {
		return errdefs.Limit("%.80s...: deeper than %d directories", name, maxDepth)
	}
	for _, base := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := Node{dirfd: fd, base: base, fd: -1, Entry: Entry{Name: join(name, base)}}
		if err := w.visit(ctx, &n, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) visit(ctx context.Context, n *Node, depth int) error {
	ok, err := n.stat()
	if err != nil || !ok {
		return err
	}
	if err := n.look(&w.x, w.opts.NoXattrs, w.opts.Shared); err != nil {
		n.close()
		return err
	}
	if uid, gid, ok := parseOwner(w.x.owner); ok && w.opts.RecordedOwner {
		n.Entry.UID, n.Entry.GID = uid, gid
	}
	err = w.fn(n)
	if n.Entry.Type != TypeDir {
		n.close()
		return err
	}
	if err != nil {
		n.close()
		if errors.Is(err, fs.SkipDir) {
			return nil
		}
		return err
	}
	fd := n.fd
	n.fd = -1
	return w.dir(ctx, fd, n.Entry.Name, depth+1)
}

func (n *Node) close() {
	if n.fd >= 0 {
		unix.Close(n.fd)
		n.fd = -1
	}
}

// stat fills in what the inode says. Not ok means a file that no layer holds.
func (n *Node) stat() (ok bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(n.dirfd, n.base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, fmt.Errorf("stat %s: %w", n.Entry.Name, err)
	}
	return n.fill(&st), nil
}

func (n *Node) fill(st *unix.Stat_t) (ok bool) {
	e := &n.Entry
	if e.Type = TypeOf(st.Mode); e.Type == 0 {
		return false
	}
	e.Mode = st.Mode & 0o7777
	e.UID, e.GID = int(st.Uid), int(st.Gid)
	e.ModTime = time.Unix(st.Mtim.Unix())
	n.Ctime = time.Unix(st.Ctim.Unix())
	n.Dev, n.Ino, n.Nlink = uint64(st.Dev), st.Ino, uint64(st.Nlink) //nolint:unconvert // the widths differ between architectures
	switch e.Type {
	case TypeReg:
		e.Size = st.Size
	case TypeChar, TypeBlock:
		e.Devmajor, e.Devminor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)) //nolint:unconvert // as above
	}
	return true
}

// look is detail, with a second look where others may change the tree.
func (n *Node) look(x *xattrReader, noXattrs, shared bool) error {
	if shared && n.Entry.Type == TypeReg {
		if err := n.openShared(); err != nil {
			return err
		}
	}
	return n.detail(x, noXattrs)
}

// openShared opens a regular file, and looks at it again: it may be another one than before.
func (n *Node) openShared() error {
	at, err := openat(n.dirfd, n.base, unix.O_PATH)
	if err != nil {
		return fmt.Errorf("open %s: %w", n.Entry.Name, err)
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return fmt.Errorf("stat %s: %w", n.Entry.Name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errdefs.Conflict("%s was changed by somebody else", n.Entry.Name)
	}
	n.fill(&st)
	if n.fd, err = unix.Open(procFD(at), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		n.fd = -1
		return fmt.Errorf("open %s: %w", n.Entry.Name, err)
	}
	return nil
}

// detail reads what takes more than a stat: link targets and extended attributes. A
// regular file or directory stays open.
func (n *Node) detail(x *xattrReader, noXattrs bool) (err error) {
	e := &n.Entry
	x.owner, x.overlay = "", nil
	switch e.Type {
	case TypeSymlink:
		e.Mode = 0o777
		e.Linkname, err = readlinkat(n.dirfd, n.base)
	case TypeDir:
		n.fd, err = openat(n.dirfd, n.base, unix.O_RDONLY|unix.O_DIRECTORY)
	case TypeReg:
		if n.fd < 0 {
			n.fd, err = openat(n.dirfd, n.base, unix.O_RDONLY|unix.O_NONBLOCK)
		}
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", e.Name, err)
	}
	if noXattrs || n.fd < 0 {
		return nil
	}
	if e.Xattrs, err = x.read(n.fd); err != nil {
		return fmt.Errorf("extended attributes of %s: %w", e.Name, err)
	}
	return nil
}

// TypeOf is the entry type of a file mode (st_mode); 0 for sockets, which no archive holds.
func TypeOf(mode uint32) byte {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return TypeReg
	case unix.S_IFDIR:
		return TypeDir
	case unix.S_IFLNK:
		return TypeSymlink
	case unix.S_IFCHR:
		return TypeChar
	case unix.S_IFBLK:
		return TypeBlock
	case unix.S_IFIFO:
		return TypeFifo
	}
	return 0
}

// openat opens without following a symbolic link in the last place.
func openat(dirfd int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func readlinkat(dirfd int, name string) (string, error) {
	var buf [maxPath + 1]byte
	n, err := unix.Readlinkat(dirfd, name, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// readNames lists the names in a directory, sorted.
func readNames(fd int, name string) ([]string, error) {
	buf := make([]byte, 16<<10)
	var names []string
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read directory %s: %w", name, err)
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	slices.Sort(names)
	return names, nil
}

// parseOwner reads an OwnerXattr.
func parseOwner(s string) (uid, gid int, ok bool) {
	us, gs, found := strings.Cut(s, ":")
	u, err := strconv.ParseUint(us, 10, 32)
	g, err2 := strconv.ParseUint(gs, 10, 32)
	return int(u), int(g), found && err == nil && err2 == nil
}
