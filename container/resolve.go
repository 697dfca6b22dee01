package container

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/fsid"
	"golang.org/x/sys/unix"
)

// Targets of mounts are looked up and made by the parent, in the detached
// mounts, before the child exists; so nothing of the container can run
// meanwhile. The result is a path without symbolic links, and the child opens
// it with RESOLVE_NO_SYMLINKS: should another process change the tree in between
// (a volume may be shared), the start fails and nothing is mounted elsewhere.

// strict never leaves the directory given and follows no link.
const strict = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// maxLinks is how many symbolic links the kernel follows, too.
const maxLinks = 40

// targetKind is what a mount's target has to be.
type targetKind int

const (
	mustExist targetKind = iota
	directory
	regular
)

// resolve finds name in the container's tree, following symbolic links inside
// of it, and makes what is missing as make says. It returns an absolute path
// without symbolic links.
func (t *tree) resolve(name string, make targetKind) (string, error) {
	at, rest, links := "/", strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		kind := directory
		if len(rest) == 0 || make == mustExist {
			kind = make
		}
		link, err := t.step(path.Join(at, part), kind)
		if err != nil {
			return "", fmt.Errorf("resolve %s in the container: %w", name, err)
		}
		if link == "" {
			at = path.Join(at, part)
			continue
		}
		if links++; links > maxLinks {
			return "", errdefs.Invalid("resolve %s in the container: too many symbolic links", name)
		}
		if path.IsAbs(link) {
			at = "/"
		}
		rest = append(strings.Split(strings.Trim(link, "/"), "/"), rest...)
	}
	return at, nil
}

// step looks at one entry, whose directory is free of links. It returns the
// target of a symbolic link, or makes the entry when it is not there.
func (t *tree) step(name string, kind targetKind) (link string, err error) {
	base, rel := t.view(name)
	if base == nil || rel == "" {
		return "", nil // in a mount that the child makes; the child checks
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: strict}
	fd, err := unix.Openat2(int(base.Fd()), rel, &how)
	if errors.Is(err, unix.ENOENT) && kind != mustExist {
		return "", t.create(base, rel, kind)
	}
	if err != nil {
		return "", &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", nil
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(buf[:n]), nil
}

// create makes one directory or empty file below base.
func (t *tree) create(base *os.File, rel string, kind targetKind) error {
	dir, err := openDir(base, path.Dir(rel))
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	name := path.Base(rel)
	var note func()
	if base == t.root && t.mountPoint != nil {
		note = t.noteMountPoint(dir, rel)
	}
	err = fsid.As(t.uid, t.gid, func() error {
		if kind == directory {
			return unix.Mkdirat(dir, name, 0o755)
		}
		return unix.Mknodat(dir, name, unix.S_IFREG|0o644, 0)
	})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "create", Path: "/" + rel, Err: err}
	}
	if err == nil && note != nil {
		note()
	}
	if t.uid != 0 || t.gid != 0 {
		_ = unix.Fchownat(dir, name, t.uid, t.gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	return nil
}

// noteMountPoint returns a function that tells the caller of Start that rel was made in the directory dir.
func (t *tree) noteMountPoint(dir int, rel string) func() {
	mtime := func() time.Time {
		var st unix.Stat_t
		if unix.Fstat(dir, &st) != nil {
			return time.Time{}
		}
		return time.Unix(st.Mtim.Unix())
	}
	before := mtime()
	return func() { t.mountPoint(MountPoint{Path: "/" + rel, Before: before, After: mtime()}) }
}

// openDir opens a directory below base that is free of links.
func openDir(base *os.File, rel string) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: strict}
	fd, err := unix.Openat2(int(base.Fd()), rel, &how)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: "/" + rel, Err: err}
	}
	return fd, nil
}

// view finds the mount that will show name: the last one whose target is name
// or above it. It returns the mount's root, nil when only the child can make
// it, and the rest of the path.
func (t *tree) view(name string) (base *os.File, rel string) {
	base, rel = t.root, strings.TrimPrefix(name, "/")
	longest := 0
	for _, e := range t.entries {
		if len(e.dest) < longest {
			continue
		}
		if name == e.dest {
			base, rel, longest = e.file, "", len(e.dest)
		} else if r, ok := strings.CutPrefix(name, e.dest+"/"); ok {
			base, rel, longest = e.file, r, len(e.dest)
		}
	}
	return base, rel
}
