package mount

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// On is a directory or file of the host that is shown at a place in a tree.
type On struct {
	// Source is a path of the host, Target one in the tree: links are followed inside of that.
	Source, Target string
	ReadOnly       bool
}

// With calls f with the tree that m and what is mounted on it make together, as a container sees them, and takes it apart again. Nobody else
// sees it: it is mounted in a namespace of a thread that ends with the call, so that a process that is killed leaves no mount. root
// is an O_PATH descriptor that is good during the call, for all threads. Places that
// are not there are made, as directories, where that is possible, and left out else. With ReadOnly only what is mounted on m can be written. Errors are those of Detached.
func With(m Mount, on []On, f func(root *os.File) error) error {
	m = m.simple()
	if err := m.check(); err != nil {
		return err
	}
	var err error
	onThread(func() { err = threadWith(m, on, f) })
	return err
}

func threadWith(m Mount, on []On, f func(root *os.File) error) error {
	if err := privateNamespace(); err != nil {
		return class(err, "mount %s", m)
	}
	// Any directory does as the place: nobody sees it.
	place := m.Source
	if m.Kind == Overlay {
		place = m.Lower[0]
	}
	var sources []int
	defer func() {
		for _, fd := range sources {
			unix.Close(fd)
		}
	}()
	on = slices.SortedStableFunc(slices.Values(on), func(a, b On) int { return cmp.Compare(depth(a.Target), depth(b.Target)) })
	for _, o := range on { // before the place is covered: they may lie below it
		attrs := 0
		if o.ReadOnly {
			attrs = unix.MOUNT_ATTR_RDONLY
		}
		fd, err := openTree(o.Source, attrs)
		if err != nil {
			return class(err, "mount %s", o.Source)
		}
		sources = append(sources, fd)
	}
	if err := At(m, place); err != nil {
		return err
	}
	root, err := os.OpenFile(place, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", m, err)
	}
	defer root.Close()
	if m.ReadOnly && m.Kind == Overlay {
		if err := setAttrs(int(root.Fd()), "", unix.AT_EMPTY_PATH, unix.MOUNT_ATTR_RDONLY, 0); err != nil {
			return class(err, "mount %s read-only", m)
		}
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for i, o := range on {
		target := strings.Trim(o.Target, "/")
		at, err := unix.Openat2(int(root.Fd()), target, how)
		if errors.Is(err, unix.ENOENT) && makePlace(root, target) == nil {
			at, err = unix.Openat2(int(root.Fd()), target, how)
		}
		if err != nil {
			continue
		}
		err = unix.MoveMount(sources[i], "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		unix.Close(at)
		if err != nil {
			return class(err, "mount %s on %s", o.Source, o.Target)
		}
	}
	return f(root)
}

func makePlace(root *os.File, target string) error {
	tree, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", root.Fd()))
	if err != nil {
		return err
	}
	defer tree.Close()
	return tree.MkdirAll(target, 0o755)
}

// depth is how many directories lead to a place: what is mounted on another mount comes after it.
func depth(target string) int { return strings.Count(strings.Trim(target, "/"), "/") }
