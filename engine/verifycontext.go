package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/build/source"
	"golang.org/x/sys/unix"
)

// otherTime is how far the times of a copied context are from the original's, and otherOwner who owns it where that can be chosen.
const (
	otherTime  = 400 * 24 * time.Hour
	otherOwner = 12345
)

// copyContext copies what a build reads of a context to the directory to, so that only what must not matter is different: place, inode
// numbers, times, owners, and the order in which the names came into their directories. dockerfile is the Dockerfile's path, "" for
// Dockerfile in the context; the path in the copy is returned ("" when it was "", the same path when it lies elsewhere).
func copyContext(ctx context.Context, from, to, dockerfile string) (string, error) {
	ignore, err := source.IgnoreFile(from, dockerfile)
	if err != nil {
		return "", err
	}
	tree, err := source.Open(from, source.Options{Ignore: ignore})
	if err != nil {
		return "", err
	}
	defer tree.Close()
	all, err := tree.Match(ctx, "/")
	if err != nil {
		return "", err
	}
	c := contextCopy{tree: tree, to: to}
	var names []string
	entries := map[string]source.Entry{}
	err = tree.Walk(ctx, all[0], func(rel string, e *source.Entry) error {
		names, entries[rel] = append(names, rel), *e
		return nil
	})
	if err != nil {
		return "", err
	}
	slices.Reverse(names)
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		e := entries[n]
		if err := c.copy(n, &e); err != nil {
			return "", fmt.Errorf("copy the context: %w", err)
		}
	}
	for _, n := range names { // once more, as what was made in a directory changed its time
		e := entries[n]
		c.date(n, &e)
	}
	return c.dockerfile(from, dockerfile)
}

// contextCopy is a copy under way.
type contextCopy struct {
	tree *source.Tree
	to   string
}

func (c *contextCopy) copy(name string, e *source.Entry) error {
	dest := filepath.Join(c.to, name)
	if !e.IsDir() {
		if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
			return err
		}
	}
	var err error
	switch e.Type() {
	case unix.S_IFDIR:
		err = os.MkdirAll(dest, 0o755)
	case unix.S_IFLNK:
		err = os.Symlink(e.Link, dest)
	case unix.S_IFREG:
		err = c.file(name, dest, e)
	case unix.S_IFIFO:
		err = unix.Mkfifo(dest, e.Mode&0o7777)
	case unix.S_IFCHR, unix.S_IFBLK:
		err = unix.Mknod(dest, e.Mode, int(unix.Mkdev(e.Major, e.Minor)))
	}
	if err != nil {
		return &os.PathError{Op: "copy", Path: name, Err: err}
	}
	return nil
}

// file copies the content, as a clone where the file system has that.
func (c *contextCopy) file(name, dest string, e *source.Entry) error {
	in, err := c.tree.File(name, e)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dest, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) != nil {
		err = copyData(out, in, e.Size)
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return c.tree.Unchanged(in, e)
}

// copyData copies a file without writing its holes.
func copyData(out, in *os.File, size int64) error {
	for at := int64(0); at < size; {
		start, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // a hole to the end
			break
		}
		end := size
		if err == nil {
			if end, err = unix.Seek(int(in.Fd()), start, unix.SEEK_HOLE); err != nil {
				end = size
			}
		} else { // a file system that does not know holes
			start = at
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, start), io.NewSectionReader(in, start, end-start)); err != nil {
			return err
		}
		at = end
	}
	return out.Truncate(size)
}

// date gives a copy its mode, another owner where that is possible, and another time.
func (c *contextCopy) date(name string, e *source.Entry) {
	dest := filepath.Join(c.to, name)
	_ = os.Lchown(dest, otherOwner, otherOwner)
	if e.Type() != unix.S_IFLNK {
		_ = unix.Chmod(dest, e.Mode&0o7777)
	}
	t := unix.NsecToTimespec(e.Mtime - int64(otherTime))
	_ = unix.UtimesNanoAt(unix.AT_FDCWD, dest, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
}

// dockerfile copies the Dockerfile and its list of what to ignore, which may be ignored themselves.
func (c *contextCopy) dockerfile(from, dockerfile string) (string, error) {
	in := dockerfile
	if in == "" {
		in = filepath.Join(from, "Dockerfile")
	}
	rel, err := relativeTo(from, in)
	if err != nil || strings.HasPrefix(rel, "../") || rel == ".." {
		return dockerfile, nil //nolint:nilerr // it lies elsewhere and is read there
	}
	for _, name := range []string{rel, rel + ".dockerignore", ".dockerignore"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		dest := filepath.Join(c.to, name)
		if err != nil {
			continue // what is needed and missing is told by the build
		}
		if _, err := os.Lstat(dest); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
			return "", fmt.Errorf("copy the context: %w", err)
		}
		if err := os.WriteFile(dest, data, 0o644); err != nil {
			return "", fmt.Errorf("copy the context: %w", err)
		}
	}
	if dockerfile == "" {
		return "", nil
	}
	return path.Join(c.to, rel), nil
}

func relativeTo(dir, name string) (string, error) {
	d, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	n, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.Rel(d, n)
}
