package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// Limits of what a tmpfs with the option tmpcopyup takes from the image. Its size is limited by the file system.
const (
	maxCopyDepth = 128
	maxCopyFiles = 200_000
)

// copyUp copies what a directory of the image holds into a new tmpfs, with modes, owners and times. Both trees
// are reached by descriptors, and no link is followed.
type copyUp struct {
	files int
	// keep leaves the top directory as it was made.
	keep bool
}

// fill copies what the tmpfs to on dest is going to hide. A tmpfs that was made with a mode or an owner keeps them.
func (t *tree) fill(to *os.File, dest string, params []string) error {
	base, rel := t.view(dest)
	if base == nil || rel == "" {
		return nil // over another mount, or one that the child makes: what is there is new
	}
	from, err := openDir(base, rel)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	c := &copyUp{keep: slices.ContainsFunc(params, func(s string) bool {
		return strings.HasPrefix(s, "mode=") || strings.HasPrefix(s, "uid=") || strings.HasPrefix(s, "gid=")
	})}
	if err := c.dir(from, int(to.Fd()), 0); err != nil {
		return fmt.Errorf("copy %s up: %w", dest, err)
	}
	return nil
}

// dir copies the entries of from, and its attributes. Both may be O_PATH descriptors.
func (c *copyUp) dir(from, to, depth int) error {
	if depth > maxCopyDepth {
		return errdefs.Limit("directories are more than %d deep", maxCopyDepth)
	}
	fd, err := unix.Openat(from, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	d := os.NewFile(uintptr(fd), "directory")
	defer d.Close()
	for {
		names, err := d.Readdirnames(1000)
		for _, name := range names {
			if err := c.entry(fd, to, name, depth); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if depth == 0 && c.keep {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	return attributes(to, ".", &st)
}

func (c *copyUp) entry(from, to int, name string, depth int) error {
	if c.files++; c.files > maxCopyFiles {
		return errdefs.Limit("more than %d files", maxCopyFiles)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.subdir(from, to, name, depth)
	case unix.S_IFREG:
		if err := copyFile(from, to, name); err != nil {
			return err
		}
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(from, name, buf)
		if err != nil {
			return err
		}
		if err := unix.Symlinkat(string(buf[:n]), to, name); err != nil {
			return err
		}
	case unix.S_IFSOCK:
		return nil // it has nobody that listens
	default:
		if err := unix.Mknodat(to, name, st.Mode, int(st.Rdev)); err != nil {
			return err
		}
	}
	return attributes(to, name, &st)
}

func (c *copyUp) subdir(from, to int, name string, depth int) error {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if err := unix.Mkdirat(to, name, 0o700); err != nil {
		return err
	}
	f, err := unix.Openat(from, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(f)
	t, err := unix.Openat(to, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(t)
	return c.dir(f, t, depth+1)
}

func copyFile(from, to int, name string) error {
	r, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	source := os.NewFile(uintptr(r), name)
	defer source.Close()
	w, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	target := os.NewFile(uintptr(w), name)
	defer target.Close()
	_, err = io.Copy(target, source)
	return err
}

// attributes sets owner, mode and times of name in the directory to.
func attributes(to int, name string, st *unix.Stat_t) error {
	if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Fchmodat(to, name, st.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(to, name, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}
