package archive

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// lowers is the merged view of the parents' directories, as overlayfs has it.
type lowers struct {
	fds []int // the topmost first
	x   xattrReader
}

// openLowers opens the parents' directories.
func openLowers(dirs []string) (*lowers, error) {
	l := &lowers{}
	for _, dir := range dirs {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("open lower directory: %w", &os.PathError{Op: "open", Path: dir, Err: err})
		}
		l.fds = append(l.fds, fd)
	}
	return l, nil
}

func (l *lowers) close() {
	for _, fd := range l.fds {
		unix.Close(fd)
	}
}

// lowerFile is a file of the merged view.
type lowerFile struct {
	// layers are the indexes of the parents that have it: one, or for a
	// directory all that are merged.
	layers []int
	st     unix.Stat_t
}

// root returns the merged root; nil when there are no parents.
func (l *lowers) root() (*lowerFile, error) {
	if len(l.fds) == 0 {
		return nil, nil
	}
	f := &lowerFile{}
	for i := range l.fds {
		f.layers = append(f.layers, i)
	}
	return f, unix.Fstat(l.fds[0], &f.st)
}

// child returns the file of this name in the merged directory dir, whose path from
// the root is path without the name; nil when there is none. The
// path has no symbolic links in it: it was walked down child by child, and the
// parents do not change.
func (l *lowers) child(dir *lowerFile, path string) (*lowerFile, error) {
	if dir == nil || TypeOf(dir.st.Mode) != TypeDir {
		return nil, nil
	}
	var f *lowerFile
	for _, i := range dir.layers {
		var st unix.Stat_t
		err := unix.Fstatat(l.fds[i], path, &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("stat %s in a lower directory: %w", path, err)
		}
		isDir := TypeOf(st.Mode) == TypeDir
		if isWhiteout(&st) || (f != nil && !isDir) {
			return f, nil
		}
		if f == nil {
			f = &lowerFile{st: st}
		}
		f.layers = append(f.layers, i)
		if !isDir {
			return f, nil
		}
		opaque, err := l.opaque(i, path)
		if err != nil || opaque {
			return f, err
		}
	}
	return f, nil
}

// lookup walks down a clean path. The path has no symbolic links, or there is no such file.
func (l *lowers) lookup(path string) (*lowerFile, error) {
	f, err := l.root()
	if path == "." {
		return f, err
	}
	for end := 0; err == nil && f != nil && end < len(path); {
		next := strings.IndexByte(path[end+1:], '/')
		if next < 0 {
			end = len(path)
		} else {
			end += 1 + next
		}
		f, err = l.child(f, path[:end])
	}
	return f, err
}

// opaque reports whether a lower directory hides the ones below it.
func (l *lowers) opaque(layer int, path string) (bool, error) {
	if layer == len(l.fds)-1 {
		return false, nil // nothing is below
	}
	fd, err := openat(l.fds[layer], path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false, fmt.Errorf("open lower directory %s: %w", path, err)
	}
	defer unix.Close(fd)
	var b [1]byte
	for _, name := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		if n, err := unix.Fgetxattr(fd, name, b[:]); err == nil && n == 1 && b[0] == 'y' {
			return true, nil
		}
	}
	return false, nil
}

// names lists the merged directory, sorted. It may hold names that are whited out.
func (l *lowers) names(dir *lowerFile, path string) ([]string, error) {
	var all []string
	for _, i := range dir.layers {
		fd, err := openat(l.fds[i], path, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return nil, fmt.Errorf("open lower directory %s: %w", path, err)
		}
		names, err := readNames(fd, path)
		unix.Close(fd)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// node opens a file of the merged view. The caller closes it.
func (l *lowers) node(f *lowerFile, path string) (*Node, error) {
	n := &Node{dirfd: l.fds[f.layers[0]], base: path, fd: -1, Entry: Entry{Name: path}}
	n.fill(&f.st)
	if err := n.detail(&l.x, false); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// isWhiteout reports whether overlayfs takes the file for a whiteout.
func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}
