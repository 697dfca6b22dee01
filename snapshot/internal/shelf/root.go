package shelf

import (
	"bytes"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// copyRoot gives the directory to the mode, owner and extended attributes of the
// directory from: the root of a merged tree shows those of its topmost layer.
func copyRoot(from, to string) error {
	var a, b unix.Stat_t
	if err := unix.Lstat(from, &a); err != nil {
		return err
	}
	if err := unix.Lstat(to, &b); err != nil {
		return err
	}
	if a.Uid != b.Uid || a.Gid != b.Gid {
		if err := unix.Lchown(to, int(a.Uid), int(a.Gid)); err != nil {
			return err
		}
	}
	if a.Mode != b.Mode {
		if err := unix.Chmod(to, a.Mode&0o7777); err != nil {
			return err
		}
	}
	return copyXattrs(from, to)
}

// copyXattrs copies all but what is overlayfs' own.
func copyXattrs(from, to string) error {
	list := make([]byte, 1024)
	n, err := unix.Llistxattr(from, list)
	for errors.Is(err, unix.ERANGE) && len(list) < 1<<20 {
		list = make([]byte, 4*len(list))
		n, err = unix.Llistxattr(from, list)
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return err
	}
	for raw := range bytes.SplitSeq(list[:n], []byte{0}) {
		attr := string(raw)
		if attr == "" || strings.HasPrefix(attr, "trusted.") || strings.HasPrefix(attr, "user.overlay.") || attr == "security.selinux" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(from, attr, value)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return err
		}
		if err := unix.Lsetxattr(to, attr, value[:n], 0); err != nil {
			return err
		}
	}
	return nil
}
