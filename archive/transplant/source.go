package transplant

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/hostile"
	"golang.org/x/sys/unix"
)

// Source is a file or a directory that is to be copied.
type Source struct {
	// Base is the last part of its name; "/" for the tree itself.
	Base string
	// Size of a regular file in bytes.
	Size int64

	tree     *Tree
	spot     *spot
	name     string
	contents bool
}

// Source finds what is at name. A link at its end is itself what is copied, unless follow is set or the name ends with a slash. ErrNotFound
// when nothing is there. The caller closes it.
func (t *Tree) Source(name string, follow bool) (*Source, error) {
	s, err := t.find(name, follow || wantsDirectory(name))
	if err != nil {
		return nil, err
	}
	src := &Source{Base: path.Base(path.Clean("/" + name)), Size: s.st.Size, tree: t, spot: s, name: name, contents: wantsContents(name)}
	switch {
	case !s.exists:
		err = errdefs.NotFound("no such file or directory: %s", name)
	case wantsDirectory(name) && !src.IsDir():
		err = errdefs.Invalid("not a directory: %s", name)
	case s.is(unix.S_IFSOCK):
		err = errdefs.Unsupported("%s is a socket, which cannot be copied", name)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return src, nil
}

// Close closes the source.
func (s *Source) Close() { s.spot.close() }

// IsDir reports whether it is a directory.
func (s *Source) IsDir() bool { return s.spot.is(unix.S_IFDIR) }

// Contents reports whether its name means what is in the directory.
func (s *Source) Contents() bool { return s.contents }

// Write writes the source, with all below it, as an uncompressed tar. name is the first part of all names; "." leaves it out. Times,
// modes, owners and the attributes that images carry are as they are; several names of one file are hard links. Sockets are left out.
func (s *Source) Write(ctx context.Context, w io.Writer, name string) error {
	t := &tarring{w: archive.NewWriter(w, archive.WriterOptions{Owners: s.tree.owners.Inside}), first: path.Clean(strings.TrimLeft(name, "/")), links: map[inode]string{}}
	var err error
	if s.IsDir() {
		err = t.directory(ctx, s.spot)
	} else {
		err = t.file(s.spot)
	}
	if err != nil {
		return fmt.Errorf("copy %s: %w", s.name, err)
	}
	return t.w.Close()
}

// inode identifies a file that has several names.
type inode struct{ dev, ino uint64 }

type tarring struct {
	w     *archive.Writer
	first string
	links map[inode]string
}

func (t *tarring) directory(ctx context.Context, s *spot) error {
	fd, err := unix.Openat(s.dir, s.base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	attrs, _, err := archive.Xattrs(fd)
	if err == nil {
		e := entryOf(&s.st, t.first)
		e.Xattrs = attrs
		err = t.w.Add(e, nil)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	return archive.WalkFD(ctx, fd, archive.WalkOptions{Shared: true}, func(n *archive.Node) error {
		e := n.Entry
		e.Name = path.Join(t.first, e.Name)
		if n.Nlink > 1 && e.Type == archive.TypeReg {
			id := inode{n.Dev, n.Ino}
			if first, ok := t.links[id]; ok {
				return t.w.Add(archive.Entry{Name: e.Name, Type: archive.TypeLink, Linkname: first, Mode: e.Mode, UID: e.UID, GID: e.GID, ModTime: e.ModTime}, nil)
			}
			t.links[id] = e.Name
		}
		return t.w.AddNode(e, n)
	})
}

// file writes the entry of something that is no directory.
func (t *tarring) file(s *spot) error {
	e := entryOf(&s.st, t.first)
	switch s.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return t.regular(s, e)
	case unix.S_IFLNK:
		target, err := readlinkat(s.dir, s.base)
		if err != nil {
			return err
		}
		e.Type, e.Linkname = archive.TypeSymlink, target
	case unix.S_IFIFO:
		e.Type = archive.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Type, e.Devmajor, e.Devminor = archive.TypeChar, unix.Major(s.st.Rdev), unix.Minor(s.st.Rdev)
		if s.is(unix.S_IFBLK) {
			e.Type = archive.TypeBlock
		}
	default:
		return errdefs.Unsupported("it is of a kind that cannot be copied")
	}
	return t.w.Add(e, nil)
}

func (t *tarring) regular(s *spot, e archive.Entry) error {
	// Of a device that was put in its place, O_PATH opens nothing, and what is then opened is what was looked at.
	at, err := unix.Openat(s.dir, s.base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	f, err := hostile.Regular(at, s.base)
	if errdefs.IsInvalid(err) {
		return errdefs.Conflict("it was changed by somebody else")
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	attrs, _, err := archive.Xattrs(int(f.Fd()))
	if err != nil {
		return err
	}
	e = entryOf(&st, e.Name)
	e.Type, e.Size, e.Xattrs = archive.TypeReg, st.Size, attrs
	return t.w.Add(e, f)
}

// entryOf is what a file's metadata say; a directory's, unless the caller says otherwise.
func entryOf(st *unix.Stat_t, name string) archive.Entry {
	return archive.Entry{Name: name, Type: archive.TypeDir, Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid), ModTime: time.Unix(st.Mtim.Unix())}
}
