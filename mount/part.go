package mount

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Part makes a mount of what is at name in m alone, a file or a directory, without attaching it
// anywhere; see Detached for the descriptor and the errors. name is looked up as in a chroot: links are
// followed inside of m. "" and "/" are all of m.
func Part(m Mount, name string, readOnly bool) (*os.File, error) {
	m = m.simple()
	if err := m.check(); err != nil {
		return nil, err
	}
	attrs := 0
	if readOnly || m.ReadOnly {
		attrs = unix.MOUNT_ATTR_RDONLY
	}
	var fd int
	var err error
	switch {
	case path.Clean("/"+name) == "/":
		fd, err = detachFD(m, attrs)
	case m.Kind == Bind:
		fd, err = cloneBelow(m.Source, name, attrs)
	default:
		// The mount that a part is cloned from has to be attached, so that is done where nobody sees it.
		onThread(func() { fd, err = threadPart(m, name, attrs) })
	}
	if err != nil {
		return nil, class(err, "mount %s of %s", path.Clean("/"+name), m)
	}
	return os.NewFile(uintptr(fd), m.String()), nil
}

// threadPart is Part for an overlay, on a thread that ends with it.
func threadPart(m Mount, name string, attrs int) (int, error) {
	if err := privateNamespace(); err != nil {
		return -1, err
	}
	// Any directory does as the place, and this one is there.
	place := m.Lower[0]
	if err := At(m, place); err != nil {
		return -1, err
	}
	return cloneBelow(place, name, attrs)
}

// privateNamespace takes the calling thread into a mount namespace of its own.
func privateNamespace() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mount namespace: %w", err)
	}
	return Propagation("/", Private|Recursive)
}

// cloneBelow clones what is at name below dir.
func cloneBelow(dir, name string, attrs int) (int, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", dir, err)
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	var fd int
	for range 32 { // EAGAIN: a rename elsewhere made the kernel unsure
		if fd, err = unix.Openat2(root, name, &how); !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	if err != nil {
		return -1, fmt.Errorf("open: %w", err)
	}
	defer unix.Close(fd)
	return cloneFD(fd, "", unix.AT_EMPTY_PATH, attrs)
}

// cloneFD clones the mount that shows name below fd, without the mounts below.
func cloneFD(fd int, name string, flags uint, attrs int) (int, error) {
	clone, err := unix.OpenTree(fd, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|flags)
	if err != nil {
		return -1, fmt.Errorf("open_tree: %w", err)
	}
	// A clone of a shared mount is shared: what is mounted on it must not
	// appear elsewhere.
	err = setAttrs(clone, "", unix.AT_EMPTY_PATH, attrs, unix.MS_PRIVATE)
	if err != nil && attrs != 0 {
		unix.Close(clone)
		return -1, fmt.Errorf("mount_setattr: %w", err)
	}
	return clone, nil
}
