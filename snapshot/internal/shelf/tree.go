package shelf

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxOpen bounds how many directories are open at once while a tree is deleted.
const maxOpen = 100

// removeTree deletes a directory that only the store knows, as deep as it may be
// and whatever modes its directories have. What others delete meanwhile is no error.
func removeTree(dir string) error {
	fd, err := openDir(unix.AT_FDCWD, dir)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer unix.Close(fd)
	r := remover{root: fd, open: os.Geteuid() != 0}
	for again := true; again; {
		r.moved = false
		if err := r.empty(fd, 0); err != nil {
			return fmt.Errorf("delete %s: %w", dir, err)
		}
		again = r.moved
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete %s: %w", dir, err)
	}
	return nil
}

type remover struct {
	root  int
	open  bool // modes keep us out
	moved bool // something deep was moved up to be deleted in a next round
	count int
}

// empty deletes all that is in the directory fd.
func (r *remover) empty(fd, depth int) error {
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return err
	}
	if r.open {
		unix.Fchmod(fd, 0o700) //nolint:errcheck // the deletion tells
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.ENOENT) {
			return nil // another process has deleted it
		}
		if err != nil || n == 0 {
			return err
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if err := r.remove(fd, name, depth); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
}

func (r *remover) remove(dirfd int, name string, depth int) error {
	err := unix.Unlinkat(dirfd, name, 0)
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	err = unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR)
	if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return err
	}
	if depth >= maxOpen {
		r.moved = true
		r.count++
		return unix.Renameat(dirfd, name, r.root, ".deep-"+strconv.Itoa(r.count))
	}
	fd, err := openDir(dirfd, name)
	if err != nil {
		return err
	}
	err = r.empty(fd, depth+1)
	unix.Close(fd)
	if err != nil {
		return err
	}
	return unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR)
}

func openDir(dirfd int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dirfd, name, flags, 0)
	if errors.Is(err, unix.EACCES) {
		if err := unix.Fchmodat(dirfd, name, 0o700, 0); err != nil {
			return -1, err
		}
		fd, err = unix.Openat(dirfd, name, flags, 0)
	}
	return fd, err
}
