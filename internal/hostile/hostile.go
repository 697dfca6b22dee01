// Package hostile looks at trees of files that somebody else made, and may be changing at this moment: the root file system of
// an image, that of a running container, a volume that containers share.
//
//	f, err := hostile.FS(root).Open("etc/passwd")  // links are followed inside of root
//	err = hostile.Each(volume, func(dir int, name string, st *unix.Stat_t) error {
//		return unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
//	})
//
// No link leads out of the tree, whoever swaps it while it is looked at. And nothing is opened but regular files and directories:
// what an image calls /etc/passwd can be a pipe, which nobody would ever write to, or a device of this machine, which begins to
// work when it is opened.
package hostile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// maxDepth bounds how deep a tree may be: a descriptor is held per level.
const maxDepth = 2048

// maxTries is how often a name is looked up again when others rename at the same time.
const maxTries = 64

// FS is the tree below an open directory, which stays the caller's. Open finds regular files alone: other ones are ErrInvalid.
func FS(dir *os.File) fs.FS { return tree{dir} }

type tree struct{ dir *os.File }

// Open implements fs.FS.
func (t tree) Open(name string) (fs.File, error) {
	fail := func(err error) (fs.File, error) { return nil, &fs.PathError{Op: "open", Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	var fd int
	var err error
	for range maxTries {
		fd, err = unix.Openat2(int(t.dir.Fd()), name, how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	f, err := Regular(fd, name)
	if err != nil {
		return fail(err)
	}
	return f, nil
}

// Regular opens for reading what an O_PATH descriptor holds, which stays the caller's. ErrInvalid when it is no regular file.
func Regular(fd int, name string) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errdefs.Invalid("it is not a regular file")
	}
	f, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(f), name), nil
}

// Each calls f for top and, when that is a directory, for all that is below it, a directory before what is in it: with the
// directory that holds it, open, its name there, and what it is. Links are not followed, but for those that lead to top. What vanishes
// meanwhile is passed over; an error of f ends it.
func Each(top string, f func(dir int, name string, st *unix.Stat_t) error) error {
	top, err := filepath.EvalSymlinks(top)
	if err != nil {
		return err
	}
	dir, err := unix.Open(filepath.Dir(top), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: filepath.Dir(top), Err: err}
	}
	defer unix.Close(dir)
	name := filepath.Base(top)
	if top == "/" {
		name = "."
	}
	return each(dir, name, 0, f)
}

func each(dir int, name string, depth int, f func(int, string, *unix.Stat_t) error) error {
	if depth > maxDepth {
		return errdefs.Limit("directories are more than %d deep", maxDepth)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return vanished(name, err)
	}
	if err := f(dir, name, &st); err != nil {
		return vanished(name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil { // ELOOP, ENOTDIR: something else is there now, which is not the tree's
		return vanished(name, err)
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return vanished(name, err)
	}
	slices.Sort(names)
	for _, below := range names {
		if err := each(fd, below, depth+1, f); err != nil {
			return err
		}
	}
	return nil
}

// vanished is nil for an error that says that somebody else was here.
func vanished(name string, err error) error {
	for _, gone := range []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP} {
		if errors.Is(err, gone) {
			return nil
		}
	}
	if path := new(fs.PathError); errors.As(err, &path) {
		return err
	}
	return &fs.PathError{Op: "look at", Path: name, Err: err}
}
