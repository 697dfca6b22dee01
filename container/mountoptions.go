package container

import (
	"strings"

	"golang.org/x/sys/unix"
)

// mountOptions are the options of a mount of the runtime-spec, sorted by what
// they are for.
type mountOptions struct {
	// attrs are MOUNT_ATTR_* to be set, clear those to be taken back.
	attrs, clear uint64
	// propagation is MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE, 0 for the default.
	propagation uint64
	// bind and recursive: "bind" and "rbind".
	bind, recursive bool
	// params are for the file system: "size=65536k" or "newinstance".
	params []string
}

// flag is what one option means: attributes to set and to clear.
func flag(option string) (set, clear uint64, ok bool) {
	switch option {
	case "ro", "rro":
		return unix.MOUNT_ATTR_RDONLY, 0, true
	case "rw", "rrw":
		return 0, unix.MOUNT_ATTR_RDONLY, true
	case "nosuid", "rnosuid":
		return unix.MOUNT_ATTR_NOSUID, 0, true
	case "suid", "rsuid":
		return 0, unix.MOUNT_ATTR_NOSUID, true
	case "nodev", "rnodev":
		return unix.MOUNT_ATTR_NODEV, 0, true
	case "dev", "rdev":
		return 0, unix.MOUNT_ATTR_NODEV, true
	case "noexec", "rnoexec":
		return unix.MOUNT_ATTR_NOEXEC, 0, true
	case "exec", "rexec":
		return 0, unix.MOUNT_ATTR_NOEXEC, true
	case "nodiratime", "rnodiratime":
		return unix.MOUNT_ATTR_NODIRATIME, 0, true
	case "noatime", "rnoatime":
		return unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR__ATIME, true
	case "strictatime", "rstrictatime":
		return unix.MOUNT_ATTR_STRICTATIME, unix.MOUNT_ATTR__ATIME, true
	case "relatime", "rrelatime":
		return 0, unix.MOUNT_ATTR__ATIME, true
	case "nosymfollow", "rnosymfollow":
		return unix.MOUNT_ATTR_NOSYMFOLLOW, 0, true
	case "defaults", "async", "diratime", "rdiratime", "atime", "ratime", "noiversion", "norelatime", "nostrictatime", "symfollow", "rsymfollow":
		return 0, 0, true
	}
	return 0, 0, false
}

// parseOptions sorts options. What is not known is for the file system.
func parseOptions(options []string) mountOptions {
	var o mountOptions
	for _, opt := range options {
		if set, clear, ok := flag(opt); ok {
			o.attrs = o.attrs&^clear | set
			o.clear = o.clear&^set | clear
			continue
		}
		switch opt {
		case "bind":
			o.bind = true
		case "rbind":
			o.bind, o.recursive = true, true
		case "private", "rprivate":
			o.propagation = unix.MS_PRIVATE
		case "slave", "rslave":
			o.propagation = unix.MS_SLAVE
		case "shared", "rshared":
			o.propagation = unix.MS_SHARED
		case "unbindable", "runbindable":
			o.propagation = unix.MS_UNBINDABLE
		default:
			if !strings.HasPrefix(opt, "x-") && opt != "copy-symlink" {
				o.params = append(o.params, opt)
			}
		}
	}
	return o
}
