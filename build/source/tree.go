package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/moby/patternmatcher"
	"golang.org/x/sys/unix"
)

// Limits on what is read of a tree.
const (
	// MaxEntries is how many files one tree may have.
	MaxEntries = 20 << 20
	// maxLinks is how many symbolic links one path may go through, as in the kernel.
	maxLinks = 40
)

// Options shape a Tree.
type Options struct {
	// Ignore is what is left out; see IgnoreFile.
	Ignore Ignore
	// Hashes remembers file hashes between builds; nil remembers nothing.
	Hashes *Hashes
}

// Tree is a directory that is read from. It is safe for use by many goroutines.
type Tree struct {
	dir    *os.File
	ignore *ignore
	hashes *Hashes
	opened time.Time
	count  atomic.Int64

	mu   sync.Mutex // guards the entries: what is loaded and what is hashed
	root Entry
}

// Entry is one file of a tree.
type Entry struct {
	// Name is its last path component, "" for the root.
	Name string
	// Mode is the kernel's st_mode: type and permissions.
	Mode     uint32
	UID, GID uint32
	Nlink    uint32
	// Dev, Ino, Size, Mtime and Ctime are what a file is recognised by. Times are
	// nanoseconds since 1970.
	Dev, Ino     uint64
	Size         int64
	Mtime, Ctime int64
	// Major and Minor are the numbers of a device.
	Major, Minor uint32
	// Link is the target of a symbolic link.
	Link string

	dir    *directory // of a directory
	hashed bool
	sha256 [32]byte // of a regular file's content
}

// SHA256 is the sum of a regular file's content, if it was computed or remembered for Tree.Digest.
func (e *Entry) SHA256() (sum [32]byte, ok bool) { return e.sha256, e.hashed }

// directory is the inside of a directory.
type directory struct {
	loaded  bool
	entries []Entry // sorted by name
	// match is what .dockerignore says of the directory itself.
	match patternmatcher.MatchInfo
	// ignored tells that the directory is excluded and is there only for
	// exceptions below it.
	ignored bool
}

// Type returns the type bits of the mode, as unix.S_IFREG.
func (e *Entry) Type() uint32 { return e.Mode & unix.S_IFMT }

// IsDir reports whether the entry is a directory.
func (e *Entry) IsDir() bool { return e.Type() == unix.S_IFDIR }

// Open opens a directory as a Tree. The caller closes it.
func Open(dir string, opts Options) (*Tree, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, classify(err)
	}
	t := &Tree{dir: f, hashes: opts.Hashes, opened: time.Now()}
	if t.ignore, err = newIgnore(opts.Ignore); err != nil {
		f.Close()
		return nil, err
	}
	if t.root, err = t.stat(int(f.Fd()), ""); err != nil {
		f.Close()
		return nil, fmt.Errorf("stat %s: %w", dir, err)
	}
	return t, nil
}

// Empty returns a tree with nothing in it.
func Empty() *Tree {
	return &Tree{opened: time.Now(), root: Entry{Mode: unix.S_IFDIR | 0o755, dir: &directory{loaded: true}}}
}

// Close ends the use of the tree.
func (t *Tree) Close() error {
	if t.dir == nil {
		return nil
	}
	return t.dir.Close()
}

// File opens a regular file of the tree for reading. The caller closes it, and calls
// Unchanged when it has read it.
func (t *Tree) File(name string, e *Entry) (*os.File, error) {
	fd, err := openBeneath(int(t.dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC)
	if err != nil {
		return nil, classify(&os.PathError{Op: "open", Path: name, Err: err})
	}
	f := os.NewFile(uintptr(fd), name)
	if err := t.Unchanged(f, e); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Unchanged fails with ErrConflict when f is not, or not any more, the file that e
// says.
func (t *Tree) Unchanged(f *os.File, e *Entry) error {
	now, err := t.stat(int(f.Fd()), "")
	if err != nil {
		return fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	if now.Ino != e.Ino || now.Dev != e.Dev || now.Mode != e.Mode || now.Size != e.Size || now.Mtime != e.Mtime || now.Ctime != e.Ctime {
		return errdefs.Conflict("%s was changed while the build was reading it", f.Name())
	}
	return nil
}

// ReadSmall returns the content of a regular file of the tree, whose path is
// resolved as in a chroot, if it has at most limit bytes.
func (t *Tree) ReadSmall(ctx context.Context, name string, limit int64) ([]byte, error) {
	real, e, err := t.Resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	if e.Type() != unix.S_IFREG {
		return nil, errdefs.Invalid("%s is not a regular file", name)
	}
	f, err := t.File(real, &e)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errdefs.Limit("%s has more than %d bytes", name, limit)
	}
	return data, err
}

// Resolve follows a path as in a chroot, the last component too, and returns the path without
// links ("" for the root) and what is there. ErrNotFound when nothing is; the path is then
// that of the first missing component with the rest behind it.
func (t *Tree) Resolve(ctx context.Context, name string) (string, Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	real, e, err := t.resolve(name)
	if err != nil {
		return real, Entry{}, err
	}
	return real, *e, nil
}

// Lstat looks at one path, which goes through no link.
func (t *Tree) Lstat(name string) (Entry, error) {
	if name == "" {
		return t.root, nil
	}
	return t.stat(int(t.dir.Fd()), name)
}

func (t *Tree) resolve(name string) (string, *Entry, error) {
	rest := strings.Split(name, "/")
	at, e := "", &t.root
	parents := []*Entry{} // of e, outermost first
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if n := len(parents); n > 0 {
				e, parents = parents[n-1], parents[:n-1]
				at = path.Dir("/" + at)[1:]
			}
			continue
		}
		child := path.Join(at, part)
		if !e.IsDir() {
			return path.Join(child, path.Join(rest...)), nil, errdefs.NotFound("%s is not a directory", at)
		}
		next, err := t.child(e, at, part)
		if err != nil {
			return path.Join(child, path.Join(rest...)), nil, err
		}
		if next.Type() != unix.S_IFLNK {
			parents = append(parents, e)
			at, e = child, next
			continue
		}
		if t.ignore.excluded(child) {
			return path.Join(child, path.Join(rest...)), nil, errdefs.NotFound("%s does not exist", child)
		}
		if links++; links > maxLinks {
			return child, nil, errdefs.Invalid("%s: too many symbolic links", name)
		}
		if path.IsAbs(next.Link) {
			at, e, parents = "", &t.root, nil
		}
		rest = slices.Concat(strings.Split(next.Link, "/"), rest)
	}
	return at, e, nil
}

// child returns the entry of a name in the directory e, which is at. It does not list
// the directory when it is not listed yet.
func (t *Tree) child(e *Entry, at, name string) (*Entry, error) {
	if e.dir != nil && e.dir.loaded {
		i, ok := slices.BinarySearchFunc(e.dir.entries, name, func(c Entry, n string) int { return strings.Compare(c.Name, n) })
		if ok {
			return &e.dir.entries[i], nil
		}
		return nil, errdefs.NotFound("%s does not exist", path.Join(at, name))
	}
	full := path.Join(at, name)
	c, err := t.stat(int(t.dir.Fd()), full)
	if err != nil {
		return nil, err
	}
	c.Name = name
	return &c, nil
}

// stat looks at one path below the directory fd without following links; ""
// is fd itself.
func (t *Tree) stat(fd int, name string) (Entry, error) {
	if name != "" && strings.Contains(name, "/") {
		dir, err := openBeneath(fd, path.Dir(name), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
		if err != nil {
			return Entry{}, classify(&os.PathError{Op: "open", Path: path.Dir(name), Err: err})
		}
		defer unix.Close(dir)
		fd, name = dir, path.Base(name)
	}
	var st unix.Statx_t
	if err := unix.Statx(fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return Entry{}, errdefs.NotFound("%s does not exist", name)
		}
		return Entry{}, classify(&os.PathError{Op: "stat", Path: name, Err: err})
	}
	e := Entry{Name: name}
	e.fill(&st)
	if e.Type() == unix.S_IFLNK {
		link, err := readlink(fd, name, e.Size)
		if err != nil {
			return Entry{}, err
		}
		e.Link = link
	}
	return e, nil
}

func (e *Entry) fill(st *unix.Statx_t) {
	e.Mode, e.UID, e.GID, e.Nlink = uint32(st.Mode), st.Uid, st.Gid, st.Nlink
	e.Dev, e.Ino, e.Size = unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino, int64(st.Size)
	e.Mtime = st.Mtime.Sec*1e9 + int64(st.Mtime.Nsec)
	e.Ctime = st.Ctime.Sec*1e9 + int64(st.Ctime.Nsec)
	e.Major, e.Minor = st.Rdev_major, st.Rdev_minor
	if e.IsDir() {
		e.dir = &directory{}
	}
}

func readlink(fd int, name string, size int64) (string, error) {
	buf := make([]byte, max(size, 63)+1)
	for {
		n, err := unix.Readlinkat(fd, name, buf)
		if err != nil {
			return "", classify(&os.PathError{Op: "readlink", Path: name, Err: err})
		}
		if n < len(buf) {
			return string(buf[:n]), nil
		}
		buf = make([]byte, 2*len(buf))
	}
}

// classify gives an error of the file system the class that says what can be done.
func classify(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return errdefs.With(errdefs.ErrNotFound, err)
	case errors.Is(err, os.ErrPermission):
		return errdefs.With(errdefs.ErrPermission, err)
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENAMETOOLONG):
		return errdefs.With(errdefs.ErrInvalid, err)
	}
	return err
}
