package archive

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
	capability = "security.capability"
)

// carried reports whether a layer carries the extended attribute.
func carried(name string) bool {
	if strings.HasPrefix(name, "user.") {
		return name != OwnerXattr && !strings.HasPrefix(name, "user.overlay.")
	}
	return name == capability || name == aclAccess || name == aclDefault
}

// overlayAttr is the name of an attribute of overlayfs without its prefix
// ("opaque"), and "" for others.
func overlayAttr(name string) string {
	if s, ok := strings.CutPrefix(name, "trusted.overlay."); ok {
		return s
	}
	if s, ok := strings.CutPrefix(name, "user.overlay."); ok {
		return s
	}
	return ""
}

// xattrReader reads extended attributes with buffers that it keeps.
type xattrReader struct {
	names, value []byte
	// owner is the OwnerXattr of the last file, and overlay are its attributes of
	// overlayfs by name without prefix.
	owner   string
	overlay map[string]string
}

// read returns the attributes that a layer carries; nil when there are none.
func (x *xattrReader) read(fd int) (map[string]string, error) {
	x.owner, x.overlay = "", nil
	list, err := x.list(fd)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	var found map[string]string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		overlay := overlayAttr(name)
		if name != OwnerXattr && overlay == "" && !carried(name) {
			continue
		}
		value, err := x.get(fd, name)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return nil, err
		}
		switch {
		case name == OwnerXattr:
			x.owner = value
		case overlay != "":
			if x.overlay == nil {
				x.overlay = map[string]string{}
			}
			x.overlay[overlay] = value
		default:
			if found == nil {
				found = map[string]string{}
			}
			found[name] = value
		}
	}
	return found, nil
}

func (x *xattrReader) list(fd int) ([]byte, error) {
	if x.names == nil {
		x.names = make([]byte, 1024)
	}
	for {
		n, err := unix.Flistxattr(fd, x.names)
		if errors.Is(err, unix.ERANGE) && len(x.names) < 1<<20 {
			x.names = make([]byte, 4*len(x.names))
			continue
		}
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return x.names[:n], nil
	}
}

func (x *xattrReader) get(fd int, name string) (string, error) {
	if x.value == nil {
		x.value = make([]byte, 4096)
	}
	for {
		n, err := unix.Fgetxattr(fd, name, x.value)
		if errors.Is(err, unix.ERANGE) && len(x.value) < 1<<20 {
			x.value = make([]byte, 4*len(x.value))
			continue
		}
		if err != nil {
			return "", err
		}
		return string(x.value[:n]), nil
	}
}
