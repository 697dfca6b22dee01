package mount

import (
	"errors"
	"fmt"
	"os"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// At mounts m on the directory target, absolute and not a symbolic link, in the
// mount namespace of the calling thread. It is one system call where
// OneCall has an answer. Errors are those of Detached.
func At(m Mount, target string) error {
	if args, ok := m.OneCall(); ok {
		if err := unix.Mount(args.Source, target, args.FSType, args.Flags, args.Data); err != nil {
			return class(err, "mount %s on %s", m, target)
		}
		return nil
	}
	m = m.simple()
	if m.Kind == Bind {
		return bindReadOnly(m, target)
	}
	f, err := Detached(m)
	if err != nil {
		return err
	}
	defer f.Close()
	return Attach(f, target)
}

// Attach puts a detached mount on the directory target, in the mount namespace of
// the calling thread.
func Attach(f *os.File, target string) error {
	err := unix.MoveMount(int(f.Fd()), "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return class(err, "attach %s to %s", f.Name(), target)
	}
	return nil
}

// bindReadOnly binds, and makes that mount alone read-only.
func bindReadOnly(m Mount, target string) error {
	if err := m.check(); err != nil {
		return err
	}
	if err := unix.Mount(m.Source, target, "", unix.MS_BIND, ""); err != nil {
		return class(err, "mount %s on %s", m, target)
	}
	err := setAttrs(unix.AT_FDCWD, target, 0, unix.MOUNT_ATTR_RDONLY, 0)
	if errors.Is(err, unix.ENOSYS) {
		err = remountReadOnly(target)
	}
	if err != nil {
		unix.Unmount(target, unix.MNT_DETACH) //nolint:errcheck // the first error tells
		return class(err, "make %s on %s read-only", m, target)
	}
	return nil
}

// remountReadOnly is for kernels before 5.12. The flags that the mount has must be
// named again: in a user namespace they cannot be taken away.
func remountReadOnly(target string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return err
	}
	const same = unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC | unix.ST_NOATIME | unix.ST_NODIRATIME
	flags := uintptr(st.Flags)&same | unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY
	if st.Flags&unix.ST_RELATIME != 0 {
		flags |= unix.MS_RELATIME
	}
	return unix.Mount("", target, "", flags, "")
}

// Unmount takes the mount off target. lazy leaves it to those who use it still.
// ErrConflict while it is in use, ErrInvalid when nothing is mounted there.
func Unmount(target string, lazy bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	err := unix.Unmount(target, flags)
	if errors.Is(err, unix.EINVAL) {
		return errdefs.Invalid("unmount %s: not a mount point", target)
	}
	if err != nil {
		return class(err, "unmount %s", target)
	}
	return nil
}

// Propagate says which mounts and unmounts below a mount are seen elsewhere:
// mount_namespaces(7).
type Propagate uintptr

// The kinds of propagation; Recursive is added to one of the others.
const (
	Private    Propagate = unix.MS_PRIVATE
	Slave      Propagate = unix.MS_SLAVE
	Shared     Propagate = unix.MS_SHARED
	Unbindable Propagate = unix.MS_UNBINDABLE
	Recursive  Propagate = unix.MS_REC
)

// Propagation sets the propagation of the mount at target.
func Propagation(target string, p Propagate) error {
	if err := unix.Mount("", target, "", uintptr(p), ""); err != nil {
		return class(fmt.Errorf("mount: %w", err), "set propagation of %s", target)
	}
	return nil
}
