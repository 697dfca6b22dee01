package mount

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// MemoryFile makes a file of data that is in memory only, and a read-only mount of it that is attached
// nowhere: it has no name in any file system that others see, and it is gone with the last
// descriptor and the last place that Attach puts it on. mode is its permissions. Where the kernel lets it be said, the memory
// is not swapped out.
//
// Errors are those of Detached; ErrUnsupported also when the ids mean nobody in this user namespace.
func MemoryFile(data []byte, mode os.FileMode, uid, gid int) (*os.File, error) {
	attrs := unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	if mode&0o111 == 0 {
		attrs |= unix.MOUNT_ATTR_NOEXEC
	}
	return inMemory(attrs, func(dir int, name string) error {
		fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return fmt.Errorf("make a file: %w", err)
		}
		f := os.NewFile(uintptr(fd), name)
		defer f.Close()
		if _, err := f.Write(data); err != nil {
			return fmt.Errorf("fill a file of %d bytes: %w", len(data), err)
		}
		return own(dir, name, mode, uid, gid)
	})
}

// MemorySocket makes a listening unix socket whose name is in memory only, and a mount of that name as
// MemoryFile makes one. listener is the socket, in blocking mode. The caller closes both.
func MemorySocket(mode os.FileMode, uid, gid int) (name, listener *os.File, err error) {
	name, err = inMemory(unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, func(dir int, name string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("make a socket: %w", err)
		}
		listener = os.NewFile(uintptr(fd), "socket")
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: fdPath(dir) + "/" + name}); err != nil {
			return fmt.Errorf("name a socket: %w", err)
		}
		if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
			return fmt.Errorf("listen on a socket: %w", err)
		}
		return own(dir, name, mode, uid, gid)
	})
	if err != nil && listener != nil {
		listener.Close()
		listener = nil
	}
	return name, listener, err
}

// own gives a file of a directory its owner and permissions.
func own(dir int, name string, mode os.FileMode, uid, gid int) error {
	if uid != 0 || gid != 0 {
		if err := unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("give a file to %d:%d: %w", uid, gid, err)
		}
	}
	if err := unix.Fchmodat(dir, name, uint32(mode.Perm()), 0); err != nil {
		return fmt.Errorf("set the mode of a file: %w", err)
	}
	return nil
}

// inMemory makes a tmpfs, lets fill make the file "name" in it, and clones a mount of that file.
func inMemory(attrs int, fill func(dir int, name string) error) (*os.File, error) {
	const name = "file"
	var clone int
	var err error
	onThread(func() {
		if err = privateNamespace(); err != nil {
			return
		}
		var dir int
		if dir, err = memoryFS(); err != nil {
			return
		}
		defer unix.Close(dir)
		if err = fill(dir, name); err != nil {
			return
		}
		// Only a part of an attached mount can be cloned. Nobody sees this place, and nobody needs what it hides.
		if err = unix.MoveMount(dir, "", unix.AT_FDCWD, "/proc", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			err = fmt.Errorf("move_mount: %w", err)
			return
		}
		clone, err = cloneFD(dir, name, unix.AT_SYMLINK_NOFOLLOW, attrs)
	})
	if err != nil {
		return nil, class(err, "make a file in memory")
	}
	return os.NewFile(uintptr(clone), "file in memory"), nil
}

// memoryFS makes a tmpfs for one file.
func memoryFS() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen tmpfs: %w", err)
	}
	defer unix.Close(fs)
	c := config{fs: fs}
	c.set("source", "tmpfs")
	c.set("mode", "0711")
	c.set("nr_inodes", strconv.Itoa(4))
	_ = unix.FsconfigSetFlag(fs, "noswap") // kernel 6.4, and not in a user namespace
	return c.mount(0)
}
