package archive

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

const (
	maxLinks    = 40 // as the kernel's
	maxRetries  = 64 // of lookups that lose against somebody who renames
	cachedDirs  = 64
	openDirPath = unix.O_PATH | unix.O_DIRECTORY
)

// dirHandle is an open directory, O_PATH.
type dirHandle struct {
	path string
	fd   int
	ino  uint64
	// inherits: new files get the directory's group or ACL.
	inherits bool
}

// dirCache keeps the directories from the last one up open: the next entry is in one of
// them as a rule.
type dirCache struct{ stack []dirHandle }

func (c *dirCache) clear() {
	for _, h := range c.stack {
		unix.Close(h.fd)
	}
	c.stack = c.stack[:0]
}

// push takes a handle over. The oldest one goes when there are many.
func (c *dirCache) push(h dirHandle) *dirHandle {
	if len(c.stack) >= cachedDirs {
		unix.Close(c.stack[0].fd)
		c.stack = slices.Delete(c.stack, 0, 1)
	}
	c.stack = append(c.stack, h)
	return &c.stack[len(c.stack)-1]
}

// refresh drops the cached directories when names may not lead to them any more. It happens
// between entries, never while a handle is in use.
func (a *applier) refresh() {
	if a.stale {
		a.dirs.clear()
		a.targets.clear()
		a.stale = false
	}
}

// parent opens the directory of this clean path inside the root, and makes what is missing of
// it. The handle is the cache's, and good until the next call.
func (c *dirCache) parent(a *applier, path string) (*dirHandle, error) {
	for n := len(c.stack); n > 0; n-- {
		top := &c.stack[n-1]
		if top.path == path {
			return top, nil
		}
		if strings.HasPrefix(path, top.path) && path[len(top.path)] == '/' {
			break
		}
		unix.Close(top.fd)
		c.stack = c.stack[:n-1]
	}
	fd, err := a.openDir(path, openDirPath)
	if err != nil {
		return nil, err
	}
	h, err := a.handle(fd, path)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return c.push(h), nil
}

// handle describes an open directory, and remembers the time that it has before something
// is written into it.
func (a *applier) handle(fd int, path string) (dirHandle, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return dirHandle{}, fmt.Errorf("stat %s: %w", path, err)
	}
	a.keep(st.Ino, path, time.Unix(st.Mtim.Unix()))
	h := dirHandle{path: path, fd: fd, ino: st.Ino, inherits: st.Mode&unix.S_ISGID != 0}
	if !a.overlay() && !h.inherits {
		n, err := unix.Getxattr(procFD(fd), aclDefault, nil)
		h.inherits = err == nil && n > 0
	}
	return h, nil
}

// openDir resolves a path inside the root and opens the directory with flags.
func (a *applier) openDir(path string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for range maxRetries {
		if !a.openat2 {
			break
		}
		fd, err := unix.Openat2(a.rootfd, path, &how)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			continue // somebody renames: look again
		case errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM):
			a.openat2 = false
		case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
			return a.stepDir(path, flags)
		default:
			return -1, errdefs.Invalid("directory %s: %w", path, err)
		}
	}
	return a.stepDir(path, flags)
}

// stepDir is openDir by walkDir.
func (a *applier) stepDir(path string, flags int) (int, error) {
	fd, _, err := a.walkDir(path)
	if err != nil || flags == openDirPath {
		return fd, err
	}
	defer unix.Close(fd)
	return openat(fd, ".", flags)
}

// walkDir resolves a path in the merged view of the root and the parents, step by step and
// without letting the kernel follow anything, and makes the directories that are
// missing. It returns the path without symbolic links too.
func (a *applier) walkDir(path string) (fd int, real string, err error) {
	w := stepper{a: a, rest: strings.Split(path, "/")}
	defer func() { w.close(err) }()
	for range maxPath * maxLinks {
		if len(w.rest) == 0 {
			if len(w.fds) == 0 {
				fd, err = openat(a.rootfd, ".", openDirPath)
				return fd, ".", err
			}
			return w.fds[len(w.fds)-1], strings.Join(w.names, "/"), nil
		}
		c := w.rest[0]
		w.rest = w.rest[1:]
		if err := w.step(c); err != nil {
			return -1, "", fmt.Errorf("directory %s: %w", path, err)
		}
	}
	return -1, "", errdefs.Invalid("directory %s: too many steps", path)
}

// stepper walks down from the root.
type stepper struct {
	a     *applier
	names []string // the way so far, without symbolic links
	fds   []int    // open directories along it
	rest  []string
	links int
}

// close closes all directories but the last, that one too after an error.
func (w *stepper) close(err error) {
	for i, fd := range w.fds {
		if err != nil || i < len(w.fds)-1 {
			unix.Close(fd)
		}
	}
}

func (w *stepper) top() int {
	if len(w.fds) == 0 {
		return w.a.rootfd
	}
	return w.fds[len(w.fds)-1]
}

func (w *stepper) push(name string, fd int) {
	w.names, w.fds = append(w.names, name), append(w.fds, fd)
}

func (w *stepper) up(levels int) {
	for ; levels > 0 && len(w.fds) > 0; levels-- {
		last := len(w.fds) - 1
		unix.Close(w.fds[last])
		w.names, w.fds = w.names[:last], w.fds[:last]
	}
}

func (w *stepper) step(c string) error {
	switch c {
	case "", ".":
		return nil
	case "..":
		w.up(1) // the root's parent is the root
		return nil
	}
	if len(w.fds) > maxDepth {
		return errdefs.Limit("deeper than %d directories", maxDepth)
	}
	for range maxRetries {
		fd, err := openat(w.top(), c, openDirPath)
		switch {
		case err == nil:
			w.push(c, fd)
			return nil
		case errors.Is(err, unix.ENOENT):
			err = w.missing(c)
		case errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP):
			err = w.inTheWay(c)
		default:
			return errdefs.Invalid("%q: %w", c, err)
		}
		if errors.Is(err, errAgain) {
			continue
		}
		return err
	}
	return errdefs.Conflict("%q is changed by somebody else", c)
}

// errAgain asks for another look.
const errAgain = unix.EAGAIN

// follow goes on at the target of a symbolic link.
func (w *stepper) follow(target string) error {
	if w.links++; w.links > maxLinks || len(w.rest) > maxPath {
		return errdefs.Invalid("too many symbolic links")
	}
	if strings.HasPrefix(target, "/") {
		w.up(len(w.fds))
	}
	w.rest = append(strings.Split(target, "/"), w.rest...)
	return nil
}

// inTheWay handles a name that is there and is no directory.
func (w *stepper) inTheWay(c string) error {
	target, err := readlinkat(w.top(), c)
	if err == nil {
		return w.follow(target)
	}
	if w.a.final {
		return unix.ENOTDIR
	}
	if !errors.Is(err, unix.EINVAL) {
		return errAgain // it went away
	}
	// A file, or a whiteout of this layer: the directory replaces it.
	if err := w.a.remove(w.top(), c); err != nil {
		return err
	}
	if err := w.make(c, implied(), true); err != nil {
		return err
	}
	return errAgain
}

// missing handles a name that is not in the root: the parents may have it.
func (w *stepper) missing(c string) error {
	if w.a.final {
		return unix.ENOENT
	}
	f, err := w.lower(c)
	if err != nil {
		return err
	}
	e := implied()
	if f != nil {
		le, err := w.a.lowerEntry(f, join(strings.Join(w.names, "/"), c))
		if err != nil {
			return err
		}
		switch le.Type {
		case TypeSymlink:
			return w.follow(le.Linkname)
		case TypeDir:
			e = le
		}
	}
	if err := w.make(c, e, false); err != nil {
		return err
	}
	return errAgain
}

// lower finds a name of the current directory in the parents, unless this layer hides them.
func (w *stepper) lower(c string) (*lowerFile, error) {
	if len(w.a.low.fds) == 0 || w.a.rootOpaque {
		return nil, nil
	}
	if len(w.a.opaques) > 0 {
		for _, fd := range w.fds {
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil || w.a.opaques[st.Ino] {
				return nil, err
			}
		}
	}
	return w.a.low.lookup(join(strings.Join(w.names, "/"), c))
}

// implied is a directory that has no entry.
func implied() *Entry {
	return &Entry{Type: TypeDir, Mode: 0o755, ModTime: time.Unix(0, 0)}
}

// make makes a directory for a name that has no entry of its own.
func (w *stepper) make(c string, e *Entry, opaque bool) error {
	e.Name = join(strings.Join(w.names, "/"), c)
	var st unix.Stat_t
	if err := unix.Fstat(w.top(), &st); err != nil {
		return fmt.Errorf("stat the directory above %s: %w", e.Name, err)
	}
	above, _ := split(e.Name)
	w.a.keep(st.Ino, above, time.Unix(st.Mtim.Unix()))
	if err := unix.Mkdirat(w.top(), c, 0o700); errors.Is(err, unix.EEXIST) {
		return errAgain
	} else if err != nil {
		return errdefs.Invalid("make directory %s: %w", e.Name, err)
	}
	fd, err := openat(w.top(), c, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", e.Name, err)
	}
	defer unix.Close(fd)
	if opaque && w.a.overlay() {
		if err := w.a.setOpaque(fd); err != nil {
			return err
		}
	}
	return w.a.dirMeta(fd, e, !w.a.overlay())
}
