// Package transplant copies files between trees by the rules of docker cp, where either tree can be the work of strangers.
//
//	from, err := transplant.Open("/proc/self/fd/7")        // a tree, whose links are followed inside it
//	src, err := from.Source("/etc/ssl/.", false)      // what is there
//	dst, err := to.Target("./ssl")                    // what is there, or where it would be made
//	name, err := transplant.Rule(src, dst)                 // how the two fit together
//	err = src.Write(ctx, w, name)                     // a tar, whose first part of each name is name
//	err = dst.Extract(ctx, r, transplant.Options{})
//
// # Why it is safe
//
// Names are looked up by the kernel from the descriptor of the tree (openat2 with RESOLVE_IN_ROOT), so that no link leads out
// of it, whoever changes it meanwhile. No file that is there is opened for writing, nor is anything but a regular file or a
// directory opened at all: a file is made anew in place of the old one, so that a device or a pipe that was put in its place is
// not touched.
package transplant

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// maxLinks is how many links the last part of a name may lead through, as the kernel's.
const maxLinks = 40

// Tree is a tree of files, held by its descriptor.
type Tree struct {
	f *os.File
	// resolve are openat2's flags for names in it.
	resolve uint64
	owners  Owners
}

// Owners are those of a tree that is seen from outside of the user namespace whose ids its files have.
type Owners struct {
	// UID and GID are who makes files in it: the namespace's root, as it is outside.
	UID, GID int
	// Inside turns what a file's owner is outside into what it is inside, which is what tars say; Outside does the reverse.
	Inside, Outside archive.Owners
}

// SetOwners tells whose ids the files of the tree have. Without it they are the caller's own.
func (t *Tree) SetOwners(o Owners) { t.owners = o }

// Open opens the tree below dir. Links in it are followed inside it.
func Open(dir string) (*Tree, error) {
	return open(dir, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// Host opens the whole file system of the caller, whose links lead where they lead.
func Host() (*Tree, error) { return open("/", 0) }

func open(dir string, resolve uint64) (*Tree, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the tree: %w", err)
	}
	return &Tree{f: f, resolve: resolve, owners: Owners{UID: os.Geteuid(), GID: os.Getegid()}}, nil
}

// Of is Open for a directory that is open already. The descriptor stays the caller's.
func Of(dir *os.File) (*Tree, error) { return Open(fmt.Sprintf("/proc/self/fd/%d", dir.Fd())) }

// Close closes the tree.
func (t *Tree) Close() error { return t.f.Close() }

// spot is a place in a tree: a name in an open directory, and what is there.
type spot struct {
	dir  int // O_PATH
	base string
	// st is of what is there, without following it; exists is false when nothing is.
	st     unix.Stat_t
	exists bool
}

func (s *spot) close() { unix.Close(s.dir) }

func (s *spot) is(kind uint32) bool { return s.exists && s.st.Mode&unix.S_IFMT == kind }

// find looks a name up. A link at its end is followed when follow is set.
func (t *Tree) find(name string, follow bool) (*spot, error) {
	at := name
	for range maxLinks {
		dir, base := split(at)
		fd, err := t.openat(dir, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return nil, failed(name, err)
		}
		s := &spot{dir: fd, base: base}
		err = unix.Fstatat(fd, base, &s.st, unix.AT_SYMLINK_NOFOLLOW)
		s.exists = err == nil
		if err != nil && !errors.Is(err, unix.ENOENT) {
			s.close()
			return nil, failed(name, err)
		}
		if !follow || !s.is(unix.S_IFLNK) {
			return s, nil
		}
		target, err := readlinkat(fd, base)
		s.close()
		if err != nil {
			return nil, failed(name, err)
		}
		if at = target; !path.IsAbs(target) {
			at = dir + "/" + target // not cleaned: a part before ".." can be a link
		}
	}
	return nil, failed(name, unix.ELOOP)
}

// split cuts a name into a directory and a last part that is no "." or "..".
func split(name string) (dir, base string) {
	name = strings.TrimRight(name, "/")
	i := strings.LastIndexByte(name, '/')
	dir, base = name[:i+1], name[i+1:]
	if base == "" || base == "." || base == ".." {
		return "./" + name, "."
	}
	return "./" + dir, base
}

func (t *Tree) openat(name string, flags uint64) (int, error) {
	how := &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: t.resolve}
	for {
		fd, err := unix.Openat2(int(t.f.Fd()), name, how)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) { // EAGAIN: somebody renames; names stay inside
			return fd, err
		}
	}
}

func readlinkat(dir int, base string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, base, buf)
	if err == nil && n == 0 {
		err = unix.ENOENT
	}
	return string(buf[:max(n, 0)]), err
}

func failed(name string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return errdefs.NotFound("no such file or directory: %s", name)
	case errors.Is(err, unix.ENOTDIR):
		return errdefs.Invalid("not a directory: %s", name)
	case errors.Is(err, unix.ELOOP):
		return errdefs.Invalid("too many links, or one of /proc: %s", name)
	}
	return &fs.PathError{Op: "look up", Path: name, Err: err}
}

// wantsDirectory reports whether a name can only be that of a directory: it ends with a slash, or with "/.".
func wantsDirectory(name string) bool {
	return strings.HasSuffix(name, "/") || wantsContents(name) || name == ".." || strings.HasSuffix(name, "/..")
}

// wantsContents reports whether a name means what is in a directory, and not the directory: "." or "X/.".
func wantsContents(name string) bool { return name == "." || strings.HasSuffix(name, "/.") }

// Rule tells how the first part of the names in the tar of src has to be for dst, by docker's rules: "." when what is in a directory goes into
// another. ErrInvalid when the two do not fit.
func Rule(src *Source, dst *Target) (string, error) {
	switch {
	case dst.IsDir() && src.contents:
		return ".", nil
	case dst.IsDir():
		return src.Base, nil
	case dst.spot.exists && src.IsDir():
		return "", errdefs.Invalid("cannot copy a directory to the file %s", dst.name)
	case dst.spot.exists, src.IsDir():
		return dst.spot.base, nil
	case wantsDirectory(dst.name):
		return "", errdefs.NotFound("no such directory: %s", dst.name)
	}
	return dst.spot.base, nil
}
