package mount

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Elsewhere clones what process pid sees mounted at name, a directory, without attaching it anywhere; see Detached for the descriptor and the
// errors. No component of name may be a symbolic link, since the file system may be the work of strangers.
func Elsewhere(pid int, name string) (*os.File, error) {
	var fd int
	var err error
	onThread(func() { fd, err = threadElsewhere(pid, name) })
	if err != nil {
		return nil, class(err, "take %s of process %d", name, pid)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// threadElsewhere is Elsewhere, on a thread that ends with it.
func threadElsewhere(pid int, name string) (int, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return -1, fmt.Errorf("unshare: %w", err)
	}
	ns, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open its mount namespace: %w", err)
	}
	defer unix.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
		return -1, fmt.Errorf("enter its mount namespace: %w", err)
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	dir, err := unix.Openat2(unix.AT_FDCWD, name, &how)
	if err != nil {
		return -1, fmt.Errorf("open: %w", err)
	}
	defer unix.Close(dir)
	return cloneFD(dir, "", unix.AT_EMPTY_PATH, 0)
}
