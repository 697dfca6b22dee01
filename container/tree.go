package container

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// tree is the container's file system while it is put together. The parent
// makes all mounts detached, as descriptors that the child attaches in its own
// mount namespace, except those whose content depends on the maker's
// namespaces (proc, sysfs, mqueue): these the child makes.
type tree struct {
	p    *program.Program
	root *os.File
	// uid and gid are the container's root as the parent sees it, uids and gids the maps of its user namespace.
	uid, gid   int
	uids, gids []specs.LinuxIDMapping
	entries    []*entry
	// groups are the container's cgroup directories, for mounts of type cgroup.
	groups []string
	// pty is the master of the container's terminal.
	pty *os.File
	// ptyName is its slave, as the container names it.
	ptyName string
	close   []*os.File
	// mountLabel is the SELinux context of new file systems.
	mountLabel string
	// inOrder tells that cloneRoot comes.
	inOrder bool
	// detached and mountPoint are those of the Config.
	detached   map[string]*os.File
	mountPoint func(MountPoint)
}

// entry is one mount.
type entry struct {
	// dest is where it goes: absolute, clean, free of symbolic links.
	dest string
	// file is the detached mount, nil when the child makes it.
	file *os.File
	// slot holds the descriptor of a mount that the child made.
	slot program.Slot
	// late are attributes that are set last, when all that goes into it is there.
	late unix.MountAttr
	// remount is for a mount that is there already: there are late attributes alone.
	remount bool
	// unbindable becomes so when it was copied, unbindableAll with all mounts below.
	unbindable, unbindableAll bool
}

// Close closes what the parent has no more use for after the fork.
func (t *tree) Close() {
	for _, f := range t.close {
		f.Close()
	}
	t.close = nil
}

func (t *tree) own(fd int, name string) *os.File {
	f := os.NewFile(uintptr(fd), name)
	t.close = append(t.close, f)
	return f
}

// prepare makes the mounts of the spec in the parent, and appends the calls
// that make the others.
func (t *tree) prepare(mounts []specs.Mount) error {
	for _, m := range mounts {
		t.p.Stage("mount %s on %s", m.Type, m.Destination)
		if !path.IsAbs(m.Destination) || strings.Contains(m.Destination, "\x00") {
			return errdefs.Invalid("mount on %q: the destination is not an absolute path", m.Destination)
		}
		if err := t.add(m); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.Type, m.Destination, err)
		}
	}
	return nil
}

func (t *tree) add(m specs.Mount) error {
	o := parseOptions(m.Options)
	if path.Clean(m.Destination) == "/" {
		return errdefs.Invalid("the root file system would be hidden")
	}
	if t.inOrder && o.propagation == unix.MS_UNBINDABLE { // it could not be copied
		o.propagation = unix.MS_PRIVATE
		before := len(t.entries)
		defer func() {
			for _, e := range t.entries[before:] {
				e.unbindable, e.unbindableAll = true, o.recursive
			}
		}()
	}
	switch {
	case o.remount:
		return t.addRemount(m, o)
	case m.Type == TypeDetached:
		return t.addDetached(m, o)
	case m.Type == "bind" || o.bind:
		return t.addBind(m, o)
	case m.Type == "proc" || m.Type == "sysfs" || m.Type == "mqueue":
		return t.addChildMade(m, o)
	case m.Type == "cgroup" || m.Type == "cgroup2":
		return t.addCgroup(m.Destination, o)
	case o.copyUp && m.Type != "tmpfs":
		return errdefs.Invalid("option tmpcopyup: is for a tmpfs")
	}
	return t.addNew(m, o)
}

// addNew makes a file system of its own.
func (t *tree) addNew(m specs.Mount, o mountOptions) error {
	dest, err := t.resolve(m.Destination, directory)
	if err != nil {
		return err
	}
	if err := besideProc(dest, m.Destination, false); err != nil {
		return err
	}
	e := &entry{dest: dest}
	attrs := o.attrsOf()
	if m.Type == "tmpfs" && attrs&unix.MOUNT_ATTR_RDONLY != 0 {
		// Targets of later mounts may have to be made in it.
		e.late.Attr_set = unix.MOUNT_ATTR_RDONLY
		attrs &^= unix.MOUNT_ATTR_RDONLY
	}
	if e.file, err = t.newFS(m.Type, m.Source, t.mapped(m.Type, t.labelled(o.params)), attrs); err != nil {
		return err
	}
	if err := t.mapOwners(e.file, m, o); err != nil {
		return err
	}
	if o.propagation != 0 {
		if err := setAttributes(e.file, 0, &unix.MountAttr{Propagation: o.propagation}); err != nil {
			return fmt.Errorf("set the propagation: %w", err)
		}
	}
	if o.copyUp {
		if err := t.fill(e.file, dest, o.params); err != nil {
			return err
		}
	}
	t.entries = append(t.entries, e)
	return nil
}

// addRemount changes the attributes of what is mounted at the destination.
func (t *tree) addRemount(m specs.Mount, o mountOptions) error {
	if len(o.params) > 0 || o.idmap || o.copyUp || len(m.UIDMappings) > 0 {
		return errdefs.Unsupported("remount with options of a file system: only the attributes of a mount can be changed")
	}
	dest, err := t.resolve(m.Destination, mustExist)
	if err != nil {
		return err
	}
	late := change(o.attrsOf(), o.clear&^o.allAttrs|o.allClear)
	late.Propagation = o.propagation
	t.entries = append(t.entries, &entry{dest: dest, late: late, remount: true})
	return nil
}

// mapped makes root of the container's user namespace the owner of its tmpfs, and turns the ids that were given for a
// file system into those outside: it is made by the parent.
func (t *tree) mapped(fstype string, params []string) []string {
	if t.uids == nil && t.gids == nil || fstype != "tmpfs" && fstype != "devpts" {
		return params
	}
	var out []string
	if fstype == "tmpfs" {
		out = append(out, "uid="+strconv.Itoa(t.uid), "gid="+strconv.Itoa(t.gid))
	}
	for _, param := range params {
		key, value, _ := strings.Cut(param, "=")
		id, err := strconv.Atoi(value)
		switch {
		case err == nil && key == "uid":
			param = "uid=" + strconv.Itoa(hostID(t.uids, id))
		case err == nil && key == "gid":
			param = "gid=" + strconv.Itoa(hostID(t.gids, id))
		}
		out = append(out, param)
	}
	return out
}

// newFS makes a file system without attaching it.
func (t *tree) newFS(fstype, source string, params []string, attrs uint64) (*os.File, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, errdefs.Unsupported("file system %q: %w", fstype, err)
	}
	defer unix.Close(fs)
	if source != "" {
		if err := unix.FsconfigSetString(fs, "source", source); err != nil {
			return nil, fmt.Errorf("source %q: %w", source, err)
		}
	}
	for _, param := range params {
		key, value, ok := strings.Cut(param, "=")
		if ok {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return nil, errdefs.Invalid("option %q of %s: %w", param, fstype, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("make a %s: %w", fstype, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(attrs))
	if err != nil {
		return nil, fmt.Errorf("make a mount of %s: %w", fstype, err)
	}
	return t.own(fd, fstype), nil
}

// addBind shows a file or directory of the host.
func (t *tree) addBind(m specs.Mount, o mountOptions) error {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	recursive := uint(0)
	if o.recursive {
		recursive = unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, m.Source, flags|recursive)
	if err != nil {
		return &os.PathError{Op: "bind", Path: m.Source, Err: err}
	}
	return t.addTree(t.own(fd, m.Source), m, o)
}

// bind shows a file or directory of the host without further ado.
func (t *tree) bind(source, destination string, attrs uint64) error {
	return t.bindWith(source, destination, mountOptions{attrs: attrs})
}

// bindWith is bind with the attributes and the propagation of o.
func (t *tree) bindWith(source, destination string, o mountOptions) error {
	return t.addBind(specs.Mount{Source: source, Destination: destination}, mountOptions{bind: true, attrs: o.attrsOf(), propagation: o.propagation})
}

// addDetached takes a mount of the caller's. The mount is the same whichever descriptor it is attached by, so it is used once.
func (t *tree) addDetached(m specs.Mount, o mountOptions) error {
	f := t.detached[m.Source]
	if f == nil {
		return errdefs.Invalid("there is no detached mount %q", m.Source)
	}
	return t.addTree(f, m, o)
}

// addTree puts a mount that is attached nowhere in its place.
func (t *tree) addTree(f *os.File, m specs.Mount, o mountOptions) error {
	if err := o.filesystemless(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if err := restrict(f, o); err != nil {
		return err
	}
	if err := t.mapOwners(f, m, o); err != nil {
		return err
	}
	kind := regular
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		kind = directory
	}
	dest, err := t.resolve(m.Destination, kind)
	if err != nil {
		return err
	}
	if err := besideProc(dest, m.Destination, isProc(f)); err != nil {
		return err
	}
	t.entries = append(t.entries, &entry{dest: dest, file: f})
	return nil
}

// besideProc refuses mounts in /proc: what they hide are the files that say how processes are confined (CVE-2019-16884,
// CVE-2019-19921). proc says that it is a proc file system itself.
func besideProc(dest, asked string, proc bool) error {
	if dest == "/proc" && proc || slices.Contains(procTargets(), dest) || dest != "/proc" && !strings.HasPrefix(dest, "/proc/") {
		return nil
	}
	return errdefs.Invalid("%s is inside /proc, where a mount would change what the kernel reports", asked)
}

// isProc tells the root of a proc file system.
func isProc(f *os.File) bool {
	const procRoot = 1 // the number of its inode
	var st unix.Stat_t
	var fs unix.Statfs_t
	return unix.Fstat(int(f.Fd()), &st) == nil && unix.Fstatfs(int(f.Fd()), &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC && st.Ino == procRoot
}

// procTargets are the files of /proc that programs which emulate them (lxcfs) may replace.
func procTargets() []string {
	return []string{"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime", "/proc/loadavg", "/proc/slabinfo", "/proc/sys/kernel/ns_last_pid"}
}

// addChildMade appends the calls that make a file system which belongs to the
// child's namespaces.
func (t *tree) addChildMade(m specs.Mount, o mountOptions) error {
	dest, err := t.resolve(m.Destination, directory)
	if err != nil {
		return err
	}
	if dest != path.Clean(m.Destination) {
		// A link in the image must not decide where the kernel's files appear.
		return errdefs.Invalid("%s is %s by a symbolic link; it has to be a directory", m.Destination, dest)
	}
	if err := besideProc(dest, m.Destination, m.Type == "proc"); err != nil {
		return err
	}
	if o.copyUp || o.idmap || len(m.UIDMappings) > 0 {
		return errdefs.Unsupported("a %s has no other owners and copies nothing", m.Type)
	}
	params := o.params
	if m.Source != "" {
		params = append([]string{"source=" + m.Source}, params...)
	}
	e := &entry{dest: dest, slot: t.makeInChild(m.Type, params, o.attrsOf())}
	e.late.Propagation = o.propagation
	t.entries = append(t.entries, e)
	return nil
}

// makeInChild appends the calls of newFS.
func (t *tree) makeInChild(fstype string, params []string, attrs uint64) program.Slot {
	p := t.p
	fs, mnt := p.Slot(), p.Slot()
	p.Call(unix.SYS_FSOPEN, p.Str(fstype), program.Int(unix.FSOPEN_CLOEXEC)).Into(fs)
	for _, param := range params {
		key, value, ok := strings.Cut(param, "=")
		if ok {
			p.Call(unix.SYS_FSCONFIG, fs.Arg(), program.Int(unix.FSCONFIG_SET_STRING), p.Str(key), p.Str(value), program.Int(0))
		} else {
			p.Call(unix.SYS_FSCONFIG, fs.Arg(), program.Int(unix.FSCONFIG_SET_FLAG), p.Str(key), program.Int(0), program.Int(0))
		}
	}
	p.Call(unix.SYS_FSCONFIG, fs.Arg(), program.Int(unix.FSCONFIG_CMD_CREATE), program.Int(0), program.Int(0), program.Int(0))
	p.Call(unix.SYS_FSMOUNT, fs.Arg(), program.Int(unix.FSMOUNT_CLOEXEC), program.Uint(attrs)).Into(mnt)
	p.Call(unix.SYS_CLOSE, fs.Arg())
	return mnt
}

// addCgroup shows the container's own groups: binds of their directories, which
// need neither a mount of the hierarchy nor rights on it. On v1 each controller
// that limits the container has its directory.
func (t *tree) addCgroup(destination string, o mountOptions) error {
	v1 := slices.DeleteFunc(slices.Clone(t.groups), func(dir string) bool { return !isV1(dir) })
	if len(v1) == 0 && len(t.groups) > 0 {
		return t.bindWith(t.groups[0], destination, o)
	}
	dest, err := t.resolve(destination, directory)
	if err != nil {
		return err
	}
	e := &entry{dest: dest, late: unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY, Propagation: o.propagation}}
	if e.file, err = t.newFS("tmpfs", "cgroup", t.mapped("tmpfs", []string{"mode=755", "size=64k"}), o.attrsOf()&^unix.MOUNT_ATTR_RDONLY); err != nil {
		return err
	}
	t.entries = append(t.entries, e)
	for _, dir := range v1 {
		if err := t.bindWith(dir, path.Join(dest, controllerOf(dir)), o); err != nil {
			return err
		}
	}
	return nil
}

// isV1 tells a directory of a v1 hierarchy.
func isV1(dir string) bool {
	return unix.Access(dir+"/tasks", unix.F_OK) == nil
}

// controllerOf gives the name of the v1 hierarchy's mount: the directory below
// /sys/fs/cgroup.
func controllerOf(dir string) string {
	rest := strings.TrimPrefix(dir, "/sys/fs/cgroup/")
	name, _, _ := strings.Cut(rest, "/")
	return name
}
