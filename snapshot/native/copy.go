package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/camada/camada/archive"
	"golang.org/x/sys/unix"
)

// copyTree copies what is in the directory from into the empty directory to: hard links
// stay linked, holes stay holes, and where the file system can share blocks between
// files it does. Ownership is kept, or the record of it when squash is set.
func copyTree(ctx context.Context, from, to string, squash bool) error {
	root, err := unix.Open(to, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", to, err)
	}
	c := copier{
		from: from, root: root, squash: squash, uid: os.Geteuid(), gid: os.Getegid(),
		links: map[inode]string{}, dirs: []dir{{name: ".", fd: root}},
	}
	defer c.close()
	if err := archive.Walk(ctx, from, archive.WalkOptions{}, c.copy); err != nil {
		return err
	}
	for len(c.dirs) > 1 {
		if err := c.leave(); err != nil {
			return err
		}
	}
	return nil
}

type inode struct{ dev, ino uint64 }

// dir is a directory of the copy that is being filled.
type dir struct {
	name  string
	fd    int
	entry archive.Entry
}

type copier struct {
	from     string
	root     int
	squash   bool
	uid, gid int
	links    map[inode]string // the first name in the copy
	dirs     []dir            // from the root down to where the walk is
	noClone  bool             // the file system shares no blocks
	buf      []byte
}

func (c *copier) close() {
	for _, d := range c.dirs {
		unix.Close(d.fd)
	}
}

// leave completes the innermost directory.
func (c *copier) leave() error {
	d := c.dirs[len(c.dirs)-1]
	c.dirs = c.dirs[:len(c.dirs)-1]
	defer unix.Close(d.fd)
	if err := unix.Fchmod(d.fd, d.entry.Mode); err != nil {
		return fmt.Errorf("copy %s: %w", d.name, err)
	}
	return c.times(d.fd, ".", d.entry)
}

// copy is called for each file, depth first.
func (c *copier) copy(n *archive.Node) error {
	parent, base := ".", n.Entry.Name
	if i := strings.LastIndexByte(base, '/'); i >= 0 {
		parent, base = base[:i], base[i+1:]
	}
	for c.dirs[len(c.dirs)-1].name != parent {
		if err := c.leave(); err != nil {
			return err
		}
	}
	if err := c.node(n, c.dirs[len(c.dirs)-1].fd, base); err != nil {
		return fmt.Errorf("copy %s: %w", n.Entry.Name, err)
	}
	return nil
}

func (c *copier) node(n *archive.Node, at int, base string) error {
	e := n.Entry
	if e.Type != archive.TypeDir && n.Nlink > 1 {
		key := inode{n.Dev, n.Ino}
		if first, ok := c.links[key]; ok {
			return unix.Linkat(c.root, first, at, base, 0)
		}
		c.links[key] = e.Name
	}
	switch e.Type {
	case archive.TypeDir:
		return c.mkdir(n, at, base)
	case archive.TypeReg:
		return c.file(n, at, base)
	case archive.TypeSymlink:
		if err := unix.Symlinkat(e.Linkname, at, base); err != nil {
			return err
		}
	default:
		if err := mknod(e, at, base); err != nil {
			return err
		}
	}
	if err := c.own(at, base, e); err != nil {
		return err
	}
	if e.Type != archive.TypeSymlink {
		if err := unix.Fchmodat(at, base, e.Mode, 0); err != nil {
			return err
		}
	}
	return c.times(at, base, e)
}

func mknod(e archive.Entry, at int, base string) error {
	mode := uint32(unix.S_IFIFO)
	switch e.Type {
	case archive.TypeChar:
		mode = unix.S_IFCHR
	case archive.TypeBlock:
		mode = unix.S_IFBLK
	}
	return unix.Mknodat(at, base, mode|0o600, int(unix.Mkdev(e.Devmajor, e.Devminor))) //nolint:gosec // what mkdev makes fits
}

// mkdir makes a directory that only this process can use until leave.
func (c *copier) mkdir(n *archive.Node, at int, base string) error {
	if err := unix.Mkdirat(at, base, 0o700); err != nil {
		return err
	}
	fd, err := unix.Openat(at, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c.dirs = append(c.dirs, dir{name: n.Entry.Name, fd: fd, entry: n.Entry})
	if err := c.own(at, base, n.Entry); err != nil {
		return err
	}
	return c.xattrs(n, fd)
}

func (c *copier) file(n *archive.Node, at int, base string) error {
	src, err := n.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	fd, err := unix.Openat(at, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	dst := os.NewFile(uintptr(fd), n.Entry.Name)
	defer dst.Close()
	if err := c.content(dst, src, n.Entry.Size); err != nil {
		return err
	}
	if err := c.own(at, base, n.Entry); err != nil {
		return err
	}
	if err := c.xattrs(n, fd); err != nil { // after chown, which drops capabilities
		return err
	}
	if err := unix.Fchmod(fd, n.Entry.Mode); err != nil {
		return err
	}
	return c.times(at, base, n.Entry)
}

// own gives a file to its owner.
func (c *copier) own(at int, base string, e archive.Entry) error {
	if c.squash || e.UID == c.uid && e.GID == c.gid {
		return nil
	}
	return unix.Fchownat(at, base, e.UID, e.GID, unix.AT_SYMLINK_NOFOLLOW)
}

func (c *copier) times(at int, base string, e archive.Entry) error {
	t, err := unix.TimeToTimespec(e.ModTime)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(at, base, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
}

func (c *copier) xattrs(n *archive.Node, fd int) error {
	for name, value := range n.Entry.Xattrs {
		if err := unix.Fsetxattr(fd, name, []byte(value), 0); err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	if !c.squash {
		return nil
	}
	var value [64]byte
	size, err := unix.Lgetxattr(c.from+"/"+n.Entry.Name, archive.OwnerXattr, value[:])
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return err
	}
	return unix.Fsetxattr(fd, archive.OwnerXattr, value[:size], 0)
}

// content copies the bytes of a file.
func (c *copier) content(dst, src *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	if !c.noClone {
		if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
			return nil
		}
		c.noClone = true
	}
	if err := dst.Truncate(size); err != nil {
		return err
	}
	for off := int64(0); off < size; {
		data, hole, err := extent(src, off, size)
		if err != nil {
			return err
		}
		if err := c.rangeOf(dst, src, data, hole); err != nil {
			return err
		}
		off = hole
	}
	return nil
}

// extent is where the next data at or after off begins and ends.
func extent(f *os.File, off, size int64) (data, hole int64, err error) {
	data, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return off, size, nil
	case err != nil:
		return 0, 0, err
	}
	hole, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
	return data, min(hole, size), err
}

// rangeOf copies the bytes from off up to end, in the kernel where it can.
func (c *copier) rangeOf(dst, src *os.File, off, end int64) error {
	for off < end {
		in, out := off, off
		n, err := unix.CopyFileRange(int(src.Fd()), &in, int(dst.Fd()), &out, int(min(end-off, 1<<30)), 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			break
		}
		off += int64(n)
	}
	if off >= end {
		return nil
	}
	if c.buf == nil {
		c.buf = make([]byte, 256<<10)
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{io.NewOffsetWriter(dst, off)}, io.NewSectionReader(src, off, end-off), c.buf)
	return err
}
