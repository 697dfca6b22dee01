package container

import (
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// mountOptions are the options of a mount of the runtime-spec (config.md, Linux
// mount options), sorted by what they are for.
type mountOptions struct {
	// attrs are MOUNT_ATTR_* to be set, clear those to be taken back; allAttrs and allClear the same with all mounts below.
	attrs, clear, allAttrs, allClear uint64
	// propagation is MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE, 0 for the default.
	propagation uint64
	// bind and recursive: "bind" and "rbind".
	bind, recursive bool
	// idmap shows the files with other owners; idmapAll with all mounts below.
	idmap, idmapAll bool
	// copyUp fills a tmpfs with what it hides.
	copyUp bool
	// remount changes a mount that is there.
	remount bool
	// params are for the file system: "size=65536k" or "newinstance".
	params []string
}

// attribute is what one option means: attributes to set and to clear.
func attribute(option string) (set, clear uint64, ok bool) {
	switch option {
	case "ro":
		return unix.MOUNT_ATTR_RDONLY, 0, true
	case "rw":
		return 0, unix.MOUNT_ATTR_RDONLY, true
	case "nosuid":
		return unix.MOUNT_ATTR_NOSUID, 0, true
	case "suid":
		return 0, unix.MOUNT_ATTR_NOSUID, true
	case "nodev":
		return unix.MOUNT_ATTR_NODEV, 0, true
	case "dev":
		return 0, unix.MOUNT_ATTR_NODEV, true
	case "noexec":
		return unix.MOUNT_ATTR_NOEXEC, 0, true
	case "exec":
		return 0, unix.MOUNT_ATTR_NOEXEC, true
	case "nodiratime":
		return unix.MOUNT_ATTR_NODIRATIME, 0, true
	case "diratime":
		return 0, unix.MOUNT_ATTR_NODIRATIME, true
	case "noatime":
		return unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR__ATIME, true
	case "strictatime":
		return unix.MOUNT_ATTR_STRICTATIME, unix.MOUNT_ATTR__ATIME, true
	case "relatime", "atime", "norelatime", "nostrictatime": // the kernel's default
		return 0, unix.MOUNT_ATTR__ATIME, true
	case "nosymfollow":
		return unix.MOUNT_ATTR_NOSYMFOLLOW, 0, true
	case "symfollow":
		return 0, unix.MOUNT_ATTR_NOSYMFOLLOW, true
	}
	return 0, 0, false
}

// parseOptions sorts options. What is not known is for the file system.
func parseOptions(options []string) mountOptions {
	var o mountOptions
	for _, opt := range options {
		if set, clear, ok := attribute(opt); ok {
			o.attrs = o.attrs&^clear | set
			o.clear = o.clear&^set | clear
			continue
		}
		if all, found := strings.CutPrefix(opt, "r"); found {
			if set, clear, ok := attribute(all); ok {
				o.allAttrs = o.allAttrs&^clear | set
				o.allClear = o.allClear&^set | clear
				continue
			}
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
		case "idmap":
			o.idmap = true
		case "ridmap":
			o.idmap, o.idmapAll = true, true
		case "tmpcopyup":
			o.copyUp = true
		case "remount":
			o.remount = true
		case "defaults", "async", "nomand", "nolazytime", "noiversion", "loud", "silent": // as it is without them
		default:
			if !strings.HasPrefix(opt, "x-") && opt != "copy-symlink" {
				o.params = append(o.params, opt)
			}
		}
	}
	return o
}

// filesystemless refuses options that only a new file system has, for a mount that shows what is there already.
func (o *mountOptions) filesystemless() error {
	switch {
	case len(o.params) > 0:
		return errdefs.Invalid("option %q: is for a new file system, which a bind is not", o.params[0])
	case o.copyUp:
		return errdefs.Invalid("option tmpcopyup: is for a tmpfs")
	}
	return nil
}

// attrsOf gives both kinds of attributes, for a mount without any below.
func (o *mountOptions) attrsOf() uint64 {
	return o.attrs&^o.allClear | o.allAttrs
}

// change is a mount_setattr of some attributes.
func change(set, clear uint64) unix.MountAttr {
	attr := unix.MountAttr{Attr_set: set, Attr_clr: clear &^ set}
	if set&unix.MOUNT_ATTR__ATIME != 0 { // they are one value, which has to be cleared as a whole
		attr.Attr_clr |= unix.MOUNT_ATTR__ATIME
	}
	return attr
}

// MountOptions are the options of mounts that are not left to the file system, sorted.
func MountOptions() []string {
	return []string{
		"async", "atime", "bind", "defaults", "dev", "diratime", "exec", "idmap", "loud", "noatime", "nodev", "nodiratime", "noexec",
		"noiversion", "nolazytime", "nomand", "norelatime", "nostrictatime", "nosuid", "nosymfollow", "private", "ratime", "rbind", "rdev",
		"rdiratime", "relatime", "remount", "rexec", "ridmap", "rnoatime", "rnodev", "rnodiratime", "rnoexec", "rnorelatime", "rnostrictatime",
		"rnosuid", "rnosymfollow", "ro", "rprivate", "rrelatime", "rro", "rrw", "rshared", "rslave", "rstrictatime", "rsuid", "rsymfollow",
		"runbindable", "rw", "shared", "silent", "slave", "strictatime", "suid", "symfollow", "tmpcopyup", "unbindable",
	}
}
