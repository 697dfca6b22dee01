package archive

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// meta gives a new regular file its owner, attributes and mode, in this order: to
// give a file away drops its capabilities and setuid bit. inherited says that the
// directory may have given it a group or an ACL.
func (a *applier) meta(fd int, e *Entry, inherited bool) error {
	given, err := a.give(fd, e, a.uid, a.gid, inherited)
	if err != nil {
		return err
	}
	if inherited {
		_ = unix.Fremovexattr(fd, aclAccess) // most files have none
	}
	if err := a.setXattrs(fd, e, nil); err != nil {
		return err
	}
	if !given && !inherited && len(e.Xattrs) == 0 && e.Mode&(0o7000|a.umask) == 0 {
		return nil // the mode at creation stands
	}
	if err := unix.Fchmod(fd, e.Mode); err != nil {
		return fmt.Errorf("set mode %o: %w", e.Mode, err)
	}
	return nil
}

// give sets or records the owner of an open file that belongs to uid:gid so far.
func (a *applier) give(fd int, e *Entry, uid, gid int, force bool) (given bool, err error) {
	if a.opts.RecordOwner {
		if e.UID == 0 && e.GID == 0 {
			return false, nil
		}
		owner := strconv.Itoa(e.UID) + ":" + strconv.Itoa(e.GID)
		err := unix.Fsetxattr(fd, OwnerXattr, []byte(owner), 0)
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) {
			a.skip("owner")
			return false, nil
		}
		return false, err
	}
	if e.UID == uid && e.GID == gid && !force {
		return false, nil
	}
	return true, classifyOwner(e, unix.Fchown(fd, e.UID, e.GID))
}

// chownAt is give for what has no descriptor: links and devices, which hold no record.
func (a *applier) chownAt(p *dirHandle, base string, e *Entry) error {
	if a.opts.RecordOwner {
		if e.UID != 0 || e.GID != 0 {
			a.skip("owner")
		}
		return nil
	}
	if e.UID == a.uid && e.GID == a.gid && !p.inherits {
		return nil
	}
	return classifyOwner(e, unix.Fchownat(p.fd, base, e.UID, e.GID, unix.AT_SYMLINK_NOFOLLOW))
}

func classifyOwner(e *Entry, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("give it to %d:%d: %w", e.UID, e.GID, err)
	if errors.Is(err, unix.EINVAL) { // the user namespace has no such id
		return errdefs.With(errdefs.ErrUnsupported, err)
	}
	if errors.Is(err, unix.EPERM) {
		return errdefs.With(errdefs.ErrPermission, err)
	}
	return err
}

// setXattrs sets the attributes that a layer carries. The default ACL of a directory
// goes into late.
func (a *applier) setXattrs(fd int, e *Entry, late *lateDir) error {
	for name, value := range e.Xattrs {
		if !carried(name) || (name == aclDefault && late == nil) {
			a.skip("xattr " + name)
			continue
		}
		if name == aclDefault {
			late.acl = value
			continue
		}
		if err := a.setXattr(fd, name, value); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) setXattr(fd int, name, value string) error {
	err := unix.Fsetxattr(fd, name, []byte(value), 0)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES),
		errors.Is(err, unix.EINVAL): // the file system, or an ACL's id, is not there
		a.skip("xattr " + name)
		return nil
	case errors.Is(err, unix.ERANGE), errors.Is(err, unix.E2BIG):
		return errdefs.Invalid("xattr %.80q of %d bytes: %w", name, len(value), err)
	}
	return fmt.Errorf("xattr %q: %w", name, err)
}

// dirMeta gives an open directory its metadata; its time comes late. used says that it
// may have attributes already, which the entry replaces.
func (a *applier) dirMeta(fd int, e *Entry, used bool) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat directory: %w", err)
	}
	if used {
		if err := a.clearXattrs(fd, e); err != nil {
			return err
		}
	}
	given, err := a.give(fd, e, int(st.Uid), int(st.Gid), false)
	if err != nil {
		return err
	}
	late := &lateDir{path: e.Name, mtime: e.ModTime}
	if err := a.setXattrs(fd, e, late); err != nil {
		return err
	}
	a.late[st.Ino] = late
	if !given && len(e.Xattrs) == 0 && !used && st.Mode&0o7777 == e.Mode {
		return nil
	}
	if err := unix.Fchmod(fd, e.Mode); err != nil {
		return fmt.Errorf("set mode %o: %w", e.Mode, err)
	}
	return nil
}

// clearXattrs removes the attributes that the entry does not have.
func (a *applier) clearXattrs(fd int, e *Entry) error {
	old, err := a.x.read(fd)
	if err != nil {
		return fmt.Errorf("extended attributes: %w", err)
	}
	if a.x.owner != "" {
		_ = unix.Fremovexattr(fd, OwnerXattr) // set anew where it is wanted
	}
	for name := range old {
		if _, ok := e.Xattrs[name]; !ok || name == aclDefault {
			if err := unix.Fremovexattr(fd, name); err != nil && !errors.Is(err, unix.ENODATA) {
				return fmt.Errorf("remove xattr %s: %w", name, err)
			}
		}
	}
	return nil
}

// nodeMeta sets the mode of a device or fifo if the umask, or giving it away, took some of it.
func (a *applier) nodeMeta(p *dirHandle, base string, e *Entry) error {
	for range e.Xattrs {
		a.skip("xattr of a device node")
	}
	fd, err := openat(p.fd, base, unix.O_PATH)
	if err != nil {
		return fmt.Errorf("open device node: %w", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat device node: %w", err)
	}
	if TypeOf(st.Mode) != e.Type || st.Mode&0o7777 == e.Mode {
		return nil // right, or swapped by somebody else: not ours to change
	}
	if err := unix.Chmod(procFD(fd), e.Mode); err != nil {
		return fmt.Errorf("set mode %o: %w", e.Mode, err)
	}
	return nil
}

// finish gives the directories what comes late.
func (a *applier) finish() error {
	a.dirs.clear()
	a.targets.clear()
	a.final = true
	type entry struct {
		*lateDir
		ino uint64
	}
	all := make([]entry, 0, len(a.late))
	for ino, l := range a.late {
		all = append(all, entry{l, ino})
	}
	slices.SortFunc(all, func(x, y entry) int { return strings.Compare(x.path, y.path) })
	for _, l := range all {
		if err := a.finishDir(l.lateDir, l.ino); err != nil {
			return fmt.Errorf("directory %s: %w", l.path, err)
		}
	}
	return nil
}

func (a *applier) finishDir(l *lateDir, ino uint64) error {
	fd, err := a.openDir(l.path, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errdefs.IsInvalid(err) {
		return nil // the name leads elsewhere by now
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != ino {
		return err
	}
	if l.acl != "" {
		if err := a.setXattr(fd, aclDefault, l.acl); err != nil {
			return err
		}
	}
	return futimes(fd, l.mtime)
}

// timespecs are access and modification time: both the latter.
func timespecs(t time.Time) (ts [2]unix.Timespec) {
	sec, nsec := t.Unix(), int64(t.Nanosecond())
	if t.IsZero() {
		sec, nsec = 0, 0
	}
	one := unix.Timespec{}
	one.Sec, one.Nsec = sec, nsec
	return [2]unix.Timespec{one, one}
}

// futimes sets the times of an open file.
func futimes(fd int, t time.Time) error {
	ts := timespecs(t)
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0) //nolint:gosec // no call of x/sys takes a descriptor alone
	if errno != 0 {
		return fmt.Errorf("set time: %w", errno)
	}
	return nil
}

func utimesAt(dirfd int, base string, t time.Time) error {
	ts := timespecs(t)
	if err := unix.UtimesNanoAt(dirfd, base, ts[:], unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set time: %w", err)
	}
	return nil
}
