package source

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// openBeneath opens a path below a directory that goes through no symbolic
// link and does not leave the directory, with one system call where the kernel
// has openat2 (5.6) and component by component where not.
func openBeneath(dirfd int, name string, flags int) (int, error) {
	if name == "" {
		name = "."
	}
	how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	for range 32 { // EAGAIN: a rename elsewhere made the kernel unsure
		fd, err := unix.Openat2(dirfd, name, &how)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
			return openSteps(dirfd, name, flags)
		}
		return fd, err
	}
	return openSteps(dirfd, name, flags)
}

func openSteps(dirfd int, name string, flags int) (int, error) {
	fd := dirfd
	parts := strings.Split(name, "/")
	for i, p := range parts {
		if p == ".." {
			return -1, unix.EXDEV
		}
		f := unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		if i == len(parts)-1 {
			f = flags
		}
		next, err := unix.Openat(fd, p, f, 0)
		if fd != dirfd {
			unix.Close(fd)
		}
		if err != nil {
			return -1, err
		}
		fd = next
	}
	return fd, nil
}
