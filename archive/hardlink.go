package archive

import (
	"errors"
	"fmt"
	"os"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// hardlink makes another name of a file of this layer, or of the parents.
func (a *applier) hardlink(p *dirHandle, base string, e *Entry) error {
	target, err := cleanName(e.Linkname)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", e.Linkname, err)
	}
	if target == "." {
		return errdefs.Invalid("hard link to the root")
	}
	dir, tbase := split(target)
	t, err := a.targets.parent(a, dir)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", e.Linkname, err)
	}
	if a.whiteouts > 0 {
		var st unix.Stat_t
		if err := unix.Fstatat(t.fd, tbase, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && isWhiteout(&st) {
			return errdefs.Invalid("hard link to %q: there is no such file", e.Linkname)
		}
	}
	for range maxRetries {
		err = unix.Linkat(t.fd, tbase, p.fd, base, 0)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.ENOENT):
			err = a.copyUp(t, dir, tbase)
		case errors.Is(err, unix.EEXIST):
			var same bool
			if same, err = a.makeRoom(t, tbase, p, base); same {
				return nil
			}
		case errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENAMETOOLONG):
			return errdefs.Invalid("hard link to %q: %w", e.Linkname, err) // a directory
		}
		if err != nil {
			return fmt.Errorf("hard link to %q: %w", e.Linkname, err)
		}
	}
	return errdefs.Conflict("hard link to %q: changed by somebody else", e.Linkname)
}

// makeRoom removes the file at the place of a hard link, unless it is the target itself.
func (a *applier) makeRoom(t *dirHandle, tbase string, p *dirHandle, base string) (same bool, err error) {
	var ts, ps unix.Stat_t
	if err := unix.Fstatat(t.fd, tbase, &ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if errors.Is(err, unix.ENOENT) {
			err = a.copyUp(t, t.path, tbase)
		}
		return false, err
	}
	if TypeOf(ts.Mode) == TypeDir {
		return false, errdefs.Invalid("it is a directory")
	}
	if err := unix.Fstatat(p.fd, base, &ps, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, nil //nolint:nilerr // it went away: there is room
	}
	if ts.Ino == ps.Ino && ts.Dev == ps.Dev {
		return true, nil
	}
	return false, a.remove(p.fd, base)
}

// copyUp brings a file of the parents into the root, so that it can get another name.
func (a *applier) copyUp(t *dirHandle, dir, base string) error {
	fd, real, err := a.walkDir(dir)
	if err != nil {
		return err
	}
	unix.Close(fd)
	name := join(real, base)
	f, err := a.low.lookup(name)
	if err != nil {
		return err
	}
	if f == nil || TypeOf(f.st.Mode) == TypeDir || a.hidden(t) {
		return errdefs.Invalid("there is no such file")
	}
	e, err := a.lowerEntry(f, name)
	if err != nil {
		return err
	}
	switch e.Type {
	case TypeReg:
		fd, err := openat(a.low.fds[f.layers[0]], name, unix.O_RDONLY|unix.O_NONBLOCK)
		if err != nil {
			return err
		}
		file := os.NewFile(uintptr(fd), name)
		defer file.Close() //nolint:errcheck // only read
		return a.regular(t, base, e, file)
	case TypeSymlink:
		return a.symlink(t, base, e)
	}
	return a.device(t, base, e)
}

// hidden reports whether the layer has made the directory opaque.
func (a *applier) hidden(t *dirHandle) bool { return a.opaques[t.ino] }
