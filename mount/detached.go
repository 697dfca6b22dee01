package mount

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// maxString is the longest string that fsconfig takes.
const maxString = 255

// viewAttrs are the attributes of a mount that is read by this program only:
// nothing in it is executed or opened as a device.
const viewAttrs = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC

// Detached makes m without attaching it anywhere. The file is an O_PATH descriptor of the mount's
// root; the mount lives until it is closed, or goes on where Attach puts it.
//
// It takes CAP_SYS_ADMIN in the user namespace that owns the mount namespace: ErrPermission
// without it. ErrNotFound when a directory is not there, ErrUnsupported when the kernel or
// the file system below cannot do it.
func Detached(m Mount) (*os.File, error) { return detach(m, 0) }

// View is Detached for reading: read-only, without devices, set-user-ID and
// execution.
func View(m Mount) (*os.File, error) { return detach(m, viewAttrs) }

func detach(m Mount, attrs int) (*os.File, error) {
	m = m.simple()
	if err := m.check(); err != nil {
		return nil, err
	}
	fd, err := detachFD(m, attrs)
	if err != nil {
		return nil, class(err, "mount %s", m)
	}
	return os.NewFile(uintptr(fd), m.String()), nil
}

func detachFD(m Mount, attrs int) (int, error) {
	if m.Kind == Bind {
		if m.ReadOnly {
			attrs |= unix.MOUNT_ATTR_RDONLY
		}
		return openTree(m.Source, attrs)
	}
	if !layerwise() {
		return inNamespace(m, attrs)
	}
	fd, err := overlayFD(m, attrs)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// An old kernel, or something that it can say no better of.
		fd, err2 := inNamespace(m, attrs)
		if err2 == nil || errdefs.IsLimit(err2) {
			return fd, err2
		}
	}
	return fd, err
}

// layerwise tells whether overlayfs may know lowerdir+. Kernels before 6.5 do
// not, and write a line to the machine's log each time that they are asked.
func layerwise() bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return true
	}
	return layerwiseIn(unix.ByteSliceToString(u.Release[:]))
}

// layerwiseIn is layerwise for a kernel's release; one that cannot be read may.
func layerwiseIn(release string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		return true
	}
	return major > 6 || major == 6 && minor >= 5
}

// openTree clones the mount that shows path, without the mounts below.
func openTree(path string, attrs int) (int, error) {
	fd, err := cloneFD(unix.AT_FDCWD, path, 0, attrs)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", path, err)
	}
	return fd, nil
}

func setAttrs(dirfd int, path string, flags uint, attrs int, propagation uint64) error {
	return unix.MountSetattr(dirfd, path, flags, &unix.MountAttr{Attr_set: uint64(attrs), Propagation: propagation})
}

// overlayFD mounts with the mount API, one layer at a time.
func overlayFD(m Mount, attrs int) (int, error) {
	lower := m.Lower
	if len(lower) > maxStack {
		bottom, err := overlayFD(Mount{Kind: Overlay, Lower: lower[maxStack-1:], UserXattr: m.UserXattr}.simple(), 0)
		if err != nil {
			return -1, err
		}
		defer unix.Close(bottom)
		lower = append(append([]string(nil), lower[:maxStack-1]...), fdPath(bottom))
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen overlay: %w", err)
	}
	defer unix.Close(fs)
	c := config{fs: fs}
	c.set("source", "overlay")
	for _, dir := range lower {
		c.dir("lowerdir+", dir)
	}
	if m.Upper != "" {
		c.dir("upperdir", m.Upper)
		c.dir("workdir", m.Work)
	}
	pairs, flags := m.options()
	for _, p := range pairs {
		c.set(p[0], p[1])
	}
	for _, f := range flags {
		c.flag(f)
	}
	return c.mount(attrs)
}

// config fills a file system context; the first error stays.
type config struct {
	fs     int
	opened []int
	err    error
}

func (c *config) set(key, value string) {
	if c.err == nil {
		if err := unix.FsconfigSetString(c.fs, key, value); err != nil {
			c.err = c.explain(fmt.Errorf("%s=%s: %w", key, value, err))
		}
	}
}

func (c *config) flag(key string) {
	if c.err == nil {
		if err := unix.FsconfigSetFlag(c.fs, key); err != nil {
			c.err = c.explain(fmt.Errorf("%s: %w", key, err))
		}
	}
}

// dir sets a directory. A path too long for fsconfig is named by a descriptor, and
// so is one with a backslash: overlayfs takes it for an escape in some of the
// options.
func (c *config) dir(key, path string) {
	if len(path) <= maxString && strings.IndexByte(path, '\\') < 0 {
		c.set(key, path)
		return
	}
	if c.err != nil {
		return
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		c.err = fmt.Errorf("open %s: %w", path, err)
		return
	}
	c.opened = append(c.opened, fd)
	c.set(key, fdPath(fd))
}

// mount makes the file system and its mount.
func (c *config) mount(attrs int) (int, error) {
	defer func() {
		for _, fd := range c.opened {
			unix.Close(fd)
		}
	}()
	if c.err != nil {
		return -1, c.err
	}
	if err := unix.FsconfigCreate(c.fs); err != nil {
		return -1, c.explain(err)
	}
	fd, err := unix.Fsmount(c.fs, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return -1, fmt.Errorf("fsmount: %w", err)
	}
	return fd, nil
}

// explain adds what the kernel left in the context's log.
func (c *config) explain(err error) error {
	var said []string
	buf := make([]byte, 512)
	for {
		n, rerr := unix.Read(c.fs, buf)
		if rerr != nil || n <= 0 {
			break
		}
		said = append(said, strings.TrimSpace(string(buf[:n])))
	}
	if len(said) == 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.Join(said, "; "))
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// class gives an error of the kernel its class.
func class(err error, format string, args ...any) error {
	c := errdefs.ErrUnavailable
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		c = errdefs.ErrPermission
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		c = errdefs.ErrNotFound
	case errors.Is(err, unix.EBUSY):
		c = errdefs.ErrConflict
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		c = errdefs.ErrUnsupported
	case errors.Is(err, errdefs.ErrLimit):
		c = errdefs.ErrLimit
	}
	return errdefs.New(c, format+": %w", append(args, err)...)
}
