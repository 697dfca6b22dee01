package container

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// restrict gives a detached mount its attributes and its propagation: those for all mounts below first, those for itself
// alone after them. A mount of the host is private unless something else is asked for.
func restrict(f *os.File, o mountOptions) error {
	all := change(o.allAttrs, o.allClear)
	if all.Propagation = o.propagation; all.Propagation == 0 {
		all.Propagation = unix.MS_PRIVATE
	}
	own := change(o.attrs, o.clear)
	recursive := uint(0)
	if o.recursive {
		recursive = unix.AT_RECURSIVE
	} else { // one call does for both
		own = change(o.attrs&^o.allClear|o.allAttrs, o.clear&^o.allAttrs|o.allClear)
		own.Propagation, all = all.Propagation, unix.MountAttr{}
	}
	for _, step := range []struct {
		attr  *unix.MountAttr
		flags uint
	}{{&all, recursive}, {&own, 0}} {
		if *step.attr == (unix.MountAttr{}) {
			continue
		}
		if err := setAttributes(f, step.flags, step.attr); err != nil {
			return fmt.Errorf("restrict the mount of %s: %w", f.Name(), err)
		}
	}
	return nil
}

func setAttributes(f *os.File, flags uint, attr *unix.MountAttr) error {
	err := unix.MountSetattr(int(f.Fd()), "", unix.AT_EMPTY_PATH|flags, attr)
	if errors.Is(err, unix.EPERM) && attr.Attr_clr != 0 {
		// In a user namespace a mount keeps the restrictions that it came with.
		attr.Attr_clr &= unix.MOUNT_ATTR__ATIME & attr.Attr_set
		err = unix.MountSetattr(int(f.Fd()), "", unix.AT_EMPTY_PATH|flags, attr)
	}
	return err
}

// mapOwners shows the files of a detached mount with other owners (config.md, mounts, uidMappings). Without
// ids of the mount's own those of the container's user namespace are taken.
func (t *tree) mapOwners(f *os.File, m specs.Mount, o mountOptions) error {
	uids, gids := m.UIDMappings, m.GIDMappings
	switch {
	case len(uids)+len(gids) == 0 && !o.idmap:
		return nil
	case (len(uids) == 0) != (len(gids) == 0):
		return errdefs.Invalid("uidMappings and gidMappings come together")
	case len(uids) == 0:
		if uids, gids = t.uids, t.gids; len(uids) == 0 || len(gids) == 0 {
			return errdefs.Invalid("option idmap: there are neither ids of the mount nor a user namespace with ids")
		}
	}
	ns, err := UserNamespace(uids, gids)
	if err != nil {
		return err
	}
	defer ns.Close()
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	flags := uint(unix.AT_EMPTY_PATH)
	if o.idmapAll {
		flags |= unix.AT_RECURSIVE
	}
	err = unix.MountSetattr(int(f.Fd()), "", flags, attr)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPERM):
		return errdefs.Unsupported("map the owners of %s: the file system (or one below) cannot do it, or belongs to another user namespace: %w", f.Name(), err)
	case err != nil:
		return fmt.Errorf("map the owners of %s: %w", f.Name(), err)
	}
	return nil
}

// mappedRoot makes the root file system with the owners of a user namespace.
func mappedRoot(m mount.Mount, uids, gids []specs.LinuxIDMapping) (*os.File, error) {
	ns, err := UserNamespace(uids, gids)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return mount.DetachedAs(m, mount.Owners{Namespace: ns, UID: hostID(uids, 0), GID: hostID(gids, 0)})
}

// UserNamespace makes a user namespace with the given ids, for mount.DetachedAs and its like. The kernel makes one for a process only: it is traced, so that it
// stops before it executes anything, and ends when the namespace is opened.
func UserNamespace(uids, gids []specs.LinuxIDMapping) (*os.File, error) {
	runtime.LockOSThread() // who traces is a thread
	defer runtime.UnlockOSThread()
	child, err := os.StartProcess("/proc/self/exe", []string{"ids"}, &os.ProcAttr{Env: []string{}, Sys: &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: sysIDs(uids), GidMappings: sysIDs(gids), GidMappingsEnableSetgroups: true,
		Ptrace: true, Pdeathsig: unix.SIGKILL,
	}})
	if err != nil {
		return nil, fmt.Errorf("make a user namespace for the owners of a mount: %w", err)
	}
	defer func() {
		_ = child.Kill()
		_, _ = child.Wait()
	}()
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", child.Pid))
	if err != nil {
		return nil, fmt.Errorf("open the user namespace for the owners of a mount: %w", err)
	}
	return f, nil
}

func sysIDs(maps []specs.LinuxIDMapping) []syscall.SysProcIDMap {
	out := make([]syscall.SysProcIDMap, len(maps))
	for i, m := range maps {
		out[i] = syscall.SysProcIDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)}
	}
	return out
}
