package source

import (
	"os"

	"github.com/camada/camada/archive"
	"golang.org/x/sys/unix"
)

// Xattrs returns the extended attributes of a regular file or a directory that a
// layer carries; other files have none. name goes through no link.
func (t *Tree) Xattrs(name string, e *Entry) (map[string]string, error) {
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	switch e.Type() {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		flags |= unix.O_DIRECTORY
	default:
		return nil, nil
	}
	fd, err := openBeneath(int(t.dir.Fd()), name, flags)
	if err != nil {
		return nil, classify(&os.PathError{Op: "open", Path: name, Err: err})
	}
	defer unix.Close(fd)
	attrs, _, err := archive.Xattrs(fd)
	if err != nil {
		return nil, classify(&os.PathError{Op: "read attributes", Path: name, Err: err})
	}
	return attrs, nil
}
