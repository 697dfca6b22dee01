package engine

import (
	"errors"
	"io/fs"
	"path"

	"github.com/camada/camada/internal/hostile"
	"github.com/camada/camada/mount"
	"golang.org/x/sys/unix"
)

// errMount says that a file can be found only by the mounted file system.
var errMount = errors.New("a link or a file is in the way")

// layerFS finds plain files in the directories of a root file system that is not mounted. Starting a container
// reads two small files of it, and a mount for them costs ten times as much. Open answers as
// the mounted overlay would, or with errMount.
type layerFS struct{ m mount.Mount }

// Open implements fs.FS.
func (l layerFS) Open(name string) (fs.File, error) {
	for _, dir := range append([]string{l.m.Source, l.m.Upper}, l.m.Lower...) {
		if dir == "" {
			continue
		}
		f, err := openPlain(dir, name)
		if err == nil || !errors.Is(err, unix.ENOENT) {
			return f, err
		}
		hides, err := l.hides(dir, name)
		if err != nil {
			return nil, err
		}
		if hides {
			break
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// openPlain opens a regular file below dir without following a link: ENOENT when it is not there, ErrNotExist when a
// whiteout is.
func openPlain(dir, name string) (fs.File, error) {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errMount
	}
	defer unix.Close(at)
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH}
	fd, err := unix.Openat2(at, name, how)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR): // for the second there is a parent to look at
		return nil, unix.ENOENT
	case err != nil:
		return nil, errMount
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errMount
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0:
		return nil, fs.ErrNotExist // a whiteout
	case st.Size == 0: // it can be a whiteout of another kind
		return nil, errMount
	}
	f, err := hostile.Regular(fd, path.Join(dir, name))
	if err != nil {
		return nil, errMount
	}
	return f, nil
}

// hides reports whether a parent of name in dir ends the search in the directories below it.
func (l layerFS) hides(dir, name string) (bool, error) {
	attr := "trusted.overlay.opaque"
	if l.m.UserXattr {
		attr = "user.overlay.opaque"
	}
	for p := path.Dir(name); p != "."; p = path.Dir(p) {
		mode, rdev, ok := lstat(dir, p)
		switch {
		case !ok:
			continue
		case mode == unix.S_IFCHR && rdev == 0:
			return true, nil
		case mode != unix.S_IFDIR:
			return false, errMount
		}
		var value [8]byte
		switch n, err := unix.Lgetxattr(path.Join(dir, p), attr, value[:]); {
		case errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP):
		case err != nil:
			return false, errMount
		case string(value[:n]) == "y":
			return true, nil
		}
	}
	return false, nil
}

func lstat(dir, name string) (mode uint32, rdev uint64, ok bool) {
	var st unix.Stat_t
	if unix.Lstat(path.Join(dir, name), &st) != nil {
		return 0, 0, false
	}
	return st.Mode & unix.S_IFMT, st.Rdev, true
}
