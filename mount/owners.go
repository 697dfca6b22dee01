package mount

import (
	"errors"
	"os"
	"path"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/fsid"
	"golang.org/x/sys/unix"
)

// Owners are those of a user namespace.
type Owners struct {
	// Namespace is a descriptor of it.
	Namespace *os.File
	// UID and GID are what its root is outside.
	UID, GID int
}

// DetachedAs is Detached with the owners of files as a user namespace has them: what is on the disk as
// user 0 belongs to who is its user 0 outside, for reading and for writing. What it has no id for belongs to nobody.
//
// An overlay cannot be shown with other owners; its layers can, and so the mounts that they are read from are made anew with
// the namespace. That takes a file system that can do it (Linux 5.12 and newer, from 5.19 on below an overlay) and CAP_SYS_ADMIN in
// the user namespace of that file system: ErrUnsupported without.
func DetachedAs(m Mount, o Owners) (*os.File, error) {
	m = m.simple()
	if err := m.check(); err != nil {
		return nil, err
	}
	var fd int
	var err error
	if m.Kind == Bind {
		attrs := 0
		if m.ReadOnly {
			attrs = unix.MOUNT_ATTR_RDONLY
		}
		fd, err = openTreeAs(m.Source, o.Namespace, attrs)
	} else {
		onThread(func() { fd, err = threadOverlayAs(m, o) })
	}
	switch {
	case errors.Is(err, errOwners):
		return nil, errdefs.Unsupported("mount %s with other owners: %w", m, err)
	case err != nil:
		return nil, class(err, "mount %s with other owners", m)
	}
	return os.NewFile(uintptr(fd), m.String()), nil
}

// PartAs is Part of a mount that DetachedAs made. Before Linux 6.15 whole is used up by it: it can be closed, and nothing else.
func PartAs(whole *os.File, name string, readOnly bool) (*os.File, error) {
	attrs := 0
	if readOnly {
		attrs = unix.MOUNT_ATTR_RDONLY
	}
	fd, err := cloneBelow(fdPath(int(whole.Fd())), "./"+name, attrs)
	if errors.Is(err, unix.EINVAL) {
		onThread(func() { fd, err = threadPartAs(int(whole.Fd()), name, attrs) })
	}
	if err != nil {
		return nil, class(err, "mount %s of %s", path.Clean("/"+name), whole.Name())
	}
	return os.NewFile(uintptr(fd), whole.Name()), nil
}

// threadPartAs is PartAs for kernels that clone attached mounts only: whole is attached where nobody sees it, and goes with the thread.
func threadPartAs(whole int, name string, attrs int) (int, error) {
	if err := privateNamespace(); err != nil {
		return -1, err
	}
	if err := unix.MoveMount(whole, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return -1, err
	}
	return cloneBelow(fdPath(whole), "./"+name, attrs)
}

// errOwners says that a file system shows no other owners.
var errOwners = errors.New("the file system cannot show files with other owners, or belongs to another user namespace")

// threadOverlayAs makes the overlay on a thread that ends with it: there, the directory that all its layers are below is covered by a mount of the
// same, with other owners. The overlay keeps copies of the mounts that it found its layers on.
func threadOverlayAs(m Mount, o Owners) (int, error) {
	if err := privateNamespace(); err != nil {
		return -1, err
	}
	place := path.Clean(m.prefix())
	cover, err := openTreeAs(place, o.Namespace, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(cover)
	if err := unix.MoveMount(cover, "", unix.AT_FDCWD, place, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return -1, err
	}
	// The file system acts as who makes it, and makes a directory of its own at once.
	fd := -1
	err = fsid.As(o.UID, o.GID, func() (err error) {
		if layerwise() {
			fd, err = overlayFD(m, 0)
		} else {
			fd, err = threadMount(m, 0)
		}
		return err
	})
	return fd, err
}

// openTreeAs clones the mount that shows a directory, with the owners of ns.
func openTreeAs(dir string, ns *os.File, attrs int) (int, error) {
	fd, err := openTree(dir, attrs)
	if err != nil {
		return -1, err
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, attr)
	if err == nil {
		return fd, nil
	}
	unix.Close(fd)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		return -1, errors.Join(errOwners, err)
	}
	return -1, err
}
