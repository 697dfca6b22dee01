package container

import (
	"fmt"
	"unsafe"

	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// moveFDs makes move_mount take both places as descriptors.
const moveFDs = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH

// enterRoot appends the calls that make the root file system "/" and drop the
// host's mounts. All that is mounted later is held as descriptors already, so
// from here on no path leads to the host.
func (t *tree) enterRoot() {
	t.leaveHost(t.showRoot("/"), 1)
}

// showRoot appends the calls that attach the root file system at name, a path of the host's, and make it the working
// directory. The result holds the host's root.
func (t *tree) showRoot(name string) program.Slot {
	p, old := t.p, t.p.Slot()
	root := p.File(t.root)
	p.Stage("attach the root file system")
	p.Call(unix.SYS_OPENAT, program.Int(unix.AT_FDCWD), p.Str("/"), program.Int(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), program.Int(0)).Into(old)
	p.Call(unix.SYS_MOVE_MOUNT, root, p.Str(""), program.Int(unix.AT_FDCWD), p.Str(name), program.Int(unix.MOVE_MOUNT_F_EMPTY_PATH))
	p.Call(unix.SYS_FCHDIR, root)
	p.Call(unix.SYS_CLOSE, root)
	return old
}

// cloneRoot appends the calls that put a copy of the root file system, with all its mounts, over itself. The copies are made
// in the order in which the mounts were attached, while the mounts were made by the parent first and by the child then.
func (t *tree) cloneRoot(name string) {
	p, clone := t.p, t.p.Slot()
	p.Stage("put the mounts in order")
	p.Call(unix.SYS_OPEN_TREE, program.Int(unix.AT_FDCWD), p.Str(""), program.Int(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)).Into(clone)
	// The end of the first ones must not reach copies, nor the host's, that they share their mounts with.
	t.setattr(program.Int(unix.AT_FDCWD), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Propagation: unix.MS_PRIVATE})
	p.Call(unix.SYS_MOVE_MOUNT, clone.Arg(), p.Str(""), program.Int(unix.AT_FDCWD), p.Str(name), program.Int(unix.MOVE_MOUNT_F_EMPTY_PATH))
	p.Call(unix.SYS_FCHDIR, clone.Arg())
	p.Call(unix.SYS_CLOSE, clone.Arg())
	for _, e := range t.entries {
		if e.unbindable {
			p.Stage("make the mount on %s unbindable", e.dest)
			flags := unix.AT_EMPTY_PATH
			if e.unbindableAll {
				flags |= unix.AT_RECURSIVE
			}
			at, _ := t.open(e.dest, unix.O_PATH)
			t.setattr(at.Arg(), "", flags, &unix.MountAttr{Propagation: unix.MS_UNBINDABLE})
			p.Call(unix.SYS_CLOSE, at.Arg())
		}
	}
}

// leaveHost appends the calls that make the working directory "/" and drop the host's mounts.
// layers is how many mounts lie at the host's root, itself included.
func (t *tree) leaveHost(old program.Slot, layers int) {
	p := t.p
	p.Stage("enter the root file system")
	p.Call(unix.SYS_PIVOT_ROOT, p.Str("."), p.Str("."))
	p.Stage("leave the host's file systems")
	p.Call(unix.SYS_FCHDIR, old.Arg())
	for range layers { // the topmost each time
		p.Call(unix.SYS_UMOUNT2, p.Str("."), program.Int(unix.MNT_DETACH))
	}
	p.Call(unix.SYS_CHDIR, p.Str("/"))
	p.Call(unix.SYS_CLOSE, old.Arg())
}

// open appends an open of a path that has to be free of links.
func (t *tree) open(name string, flags uint64) (program.Slot, *program.Call) {
	fd := t.p.Slot()
	how := &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: strict}
	return fd, t.p.Call(unix.SYS_OPENAT2, program.Int(unix.AT_FDCWD), t.p.Str(name), program.Ptr(t.p, how), program.Int(unix.SizeofOpenHow)).Into(fd)
}

// attach appends the calls that put all mounts in place.
func (t *tree) attach() {
	p := t.p
	for _, e := range t.entries {
		if e.remount {
			continue
		}
		p.Stage("attach the mount on %s", e.dest)
		from := e.slot.Arg()
		if e.file != nil {
			from = p.File(e.file)
		}
		to, _ := t.open(e.dest, unix.O_PATH)
		p.Call(unix.SYS_MOVE_MOUNT, from, p.Str(""), to.Arg(), p.Str(""), program.Int(moveFDs))
		p.Call(unix.SYS_CLOSE, to.Arg())
		p.Call(unix.SYS_CLOSE, from)
	}
	for _, e := range t.entries {
		if e.late != (unix.MountAttr{}) {
			p.Stage("set the attributes of the mount on %s", e.dest)
			at, _ := t.open(e.dest, unix.O_PATH)
			t.setattr(at.Arg(), "", unix.AT_EMPTY_PATH, &e.late)
			p.Call(unix.SYS_CLOSE, at.Arg())
		}
	}
	if t.pty != nil {
		p.Stage("show the terminal on /dev/console")
		tty := p.Slot()
		slave, _ := t.open(t.ptyName, unix.O_PATH)
		p.Call(unix.SYS_OPEN_TREE, slave.Arg(), p.Str(""), program.Int(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)).Into(tty)
		p.Call(unix.SYS_CLOSE, slave.Arg())
		console, _ := t.open("/dev/console", unix.O_PATH)
		p.Call(unix.SYS_MOVE_MOUNT, tty.Arg(), p.Str(""), console.Arg(), p.Str(""), program.Int(moveFDs))
		p.Call(unix.SYS_CLOSE, console.Arg())
		p.Call(unix.SYS_CLOSE, tty.Arg())
	}
}

// setReadOnly appends a mount_setattr.
func (t *tree) setReadOnly(dir program.Arg, name string, flags int) {
	t.setattr(dir, name, flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

func (t *tree) setattr(dir program.Arg, name string, flags int, attr *unix.MountAttr) {
	t.p.Call(unix.SYS_MOUNT_SETATTR, dir, t.p.Str(name), program.Int(flags), program.Ptr(t.p, attr), program.Int(int(unsafe.Sizeof(*attr))))
}

// mask appends the calls that hide paths: a file behind /dev/null, a directory
// behind an empty one. A path that is not there needs no mask. What /dev/null is was looked at before, and
// it is opened once, without following links (CVE-2025-31133).
func (t *tree) mask(names []string) error {
	if len(names) == 0 {
		return nil
	}
	if err := t.checkNull(); err != nil {
		return fmt.Errorf("mask %s: /dev/null: %w", names[0], err)
	}
	p := t.p
	p.Stage("open /dev/null")
	device, _ := t.open("/dev/null", unix.O_PATH)
	for _, name := range names {
		p.Stage("mask %s", name)
		end, isDir := p.Label(), p.Label()
		null := p.Slot()
		at, call := t.open(name, unix.O_PATH)
		call.OnMissing(end)
		p.Call(unix.SYS_OPEN_TREE, device.Arg(), p.Str(""), program.Int(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)).Into(null)
		p.Call(unix.SYS_MOVE_MOUNT, null.Arg(), p.Str(""), at.Arg(), p.Str(""), program.Int(moveFDs)).OnError(isDir)
		p.Call(unix.SYS_CLOSE, null.Arg())
		p.Call(unix.SYS_CLOSE, at.Arg())
		p.Jump(end)
		p.Mark(isDir)
		p.Call(unix.SYS_CLOSE, null.Arg())
		empty := t.makeInChild("tmpfs", t.labelled([]string{"nr_inodes=2", "size=0", "mode=755"}), unix.MOUNT_ATTR_RDONLY)
		p.Call(unix.SYS_MOVE_MOUNT, empty.Arg(), p.Str(""), at.Arg(), p.Str(""), program.Int(moveFDs))
		p.Call(unix.SYS_CLOSE, empty.Arg())
		p.Call(unix.SYS_CLOSE, at.Arg())
		p.Mark(end)
	}
	p.Stage("close /dev/null")
	p.Call(unix.SYS_CLOSE, device.Arg())
	return nil
}

// checkNull looks whether /dev/null of the container is that: a bind on /dev may have anything there.
func (t *tree) checkNull() error {
	base, rel := t.view("/dev/null")
	if base == nil {
		return errdefs.Invalid("it is in a file system of the kernel")
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: strict}
	fd := int(base.Fd())
	if rel != "" {
		at, err := unix.Openat2(fd, rel, how)
		if err != nil {
			return err
		}
		defer unix.Close(at)
		fd = at
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		return errdefs.Invalid("it is something else than the device of this name")
	}
	return nil
}

// freeze appends the calls that make a path read-only with all below it.
func (t *tree) freeze(name string) {
	p := t.p
	p.Stage("make %s read-only", name)
	end := p.Label()
	mnt := p.Slot()
	at, call := t.open(name, unix.O_PATH)
	call.OnMissing(end)
	p.Call(unix.SYS_OPEN_TREE, at.Arg(), p.Str(""), program.Int(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)).Into(mnt)
	t.setReadOnly(mnt.Arg(), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	p.Call(unix.SYS_MOVE_MOUNT, mnt.Arg(), p.Str(""), at.Arg(), p.Str(""), program.Int(moveFDs))
	p.Call(unix.SYS_CLOSE, mnt.Arg())
	p.Call(unix.SYS_CLOSE, at.Arg())
	p.Mark(end)
}
