package container

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"strconv"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// defaultDevices are those that the runtime-spec wants in every container
// (config-linux.md, default devices).
func defaultDevices() []specs.LinuxDevice {
	mode := os.FileMode(0o666)
	dev := func(name string, major, minor int64) specs.LinuxDevice {
		return specs.LinuxDevice{Path: "/dev/" + name, Type: "c", Major: major, Minor: minor, FileMode: &mode}
	}
	return []specs.LinuxDevice{
		dev("null", 1, 3), dev("zero", 1, 5), dev("full", 1, 7),
		dev("random", 1, 8), dev("urandom", 1, 9), dev("tty", 5, 0),
	}
}

// populateDev makes the devices and links of /dev, unless /dev is a bind of the host's.
func (t *tree) populateDev(spec *specs.Spec) error {
	for _, m := range spec.Mounts {
		if path.Clean(m.Destination) == "/dev" && (m.Type == "bind" || m.Type == TypeDetached || parseOptions(m.Options).bind) {
			return nil
		}
	}
	devices := defaultDevices()
	if spec.Linux != nil {
		devices = append(devices, spec.Linux.Devices...)
	}
	for _, d := range devices {
		if err := t.device(d); err != nil {
			return fmt.Errorf("make device %s: %w", d.Path, err)
		}
	}
	base, rel := t.view("/dev")
	dir, err := openDir(base, "./"+rel)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	for _, link := range [][2]string{
		{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
		{"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
	} {
		if err := unix.Symlinkat(link[0], dir, link[1]); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("make link /dev/%s: %w", link[1], err)
		}
	}
	return nil
}

// device makes one node; where nodes cannot be made, in a user namespace, the
// host's is shown.
func (t *tree) device(d specs.LinuxDevice) error {
	var kind uint32
	switch d.Type {
	case "c", "u":
		kind = unix.S_IFCHR
	case "b":
		kind = unix.S_IFBLK
	case "p":
		kind = unix.S_IFIFO
	default:
		return errdefs.Invalid("type %q of a device", d.Type)
	}
	parent, err := t.resolve(path.Dir(d.Path), directory)
	if err != nil {
		return err
	}
	name := path.Join(parent, path.Base(d.Path))
	base, rel := t.view(name)
	if base == nil {
		return errdefs.Invalid("no device can be made there")
	}
	if rel == "" { // a mount of the spec stands there
		return nil
	}
	dir, err := openDir(base, path.Dir(rel))
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	mode := uint32(0o666)
	if d.FileMode != nil {
		mode = uint32(d.FileMode.Perm())
	}
	node := path.Base(rel)
	err = unix.Mknodat(dir, node, kind|mode, int(unix.Mkdev(uint32(d.Major), uint32(d.Minor))))
	switch {
	case errors.Is(err, unix.EPERM):
		return t.bind(d.Path, name, 0)
	case errors.Is(err, unix.EEXIST):
		return sameDevice(dir, node, kind, d)
	case err != nil:
		return err
	}
	if err := unix.Fchmodat(dir, node, mode, 0); err != nil {
		return err
	}
	uid, gid := t.uid, t.gid
	if d.UID != nil {
		uid = hostID(t.uids, int(*d.UID))
	}
	if d.GID != nil {
		gid = hostID(t.gids, int(*d.GID))
	}
	if uid == 0 && gid == 0 {
		return nil
	}
	return unix.Fchownat(dir, node, uid, gid, 0)
}

// sameDevice looks whether what is there already is the device: an image must not decide what /dev/null is.
func sameDevice(dir int, node string, kind uint32, d specs.LinuxDevice) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, node, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != kind || kind != unix.S_IFIFO && st.Rdev != unix.Mkdev(uint32(d.Major), uint32(d.Minor)) {
		return errdefs.Invalid("the root file system has something else there; a tmpfs on /dev would hide it")
	}
	return nil
}

// openTerminal takes a new terminal from the container's devpts.
func (t *tree) openTerminal() error {
	base, rel := t.view("/dev/pts/ptmx")
	if base == nil || rel != "ptmx" {
		return errdefs.Invalid("a terminal needs a devpts on /dev/pts")
	}
	master, err := newTerminal(base, "ptmx", t.uid, t.gid)
	if err != nil {
		return fmt.Errorf("open the terminal: %w", err)
	}
	if t.pty, t.ptyName, err = unlockPty(master); err != nil {
		return err
	}
	_, err = t.resolve("/dev/console", regular)
	return err
}

// consoleSize gives a new terminal the size that the process asks for.
func consoleSize(pty *os.File, p *specs.Process) error {
	size := p.ConsoleSize
	if size == nil || size.Width == 0 && size.Height == 0 {
		return nil
	}
	if size.Width > math.MaxUint16 || size.Height > math.MaxUint16 {
		return errdefs.Invalid("consoleSize: %d columns and %d rows: a terminal has at most %d", size.Width, size.Height, math.MaxUint16)
	}
	ws := &unix.Winsize{Col: uint16(size.Width), Row: uint16(size.Height)}
	if err := unix.IoctlSetWinsize(int(pty.Fd()), unix.TIOCSWINSZ, ws); err != nil {
		return fmt.Errorf("set the size of the terminal: %w", err)
	}
	return nil
}

// unlockPty makes a master usable and names its slave.
func unlockPty(f *os.File) (*os.File, string, error) {
	fd := int(f.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		f.Close()
		return nil, "", fmt.Errorf("unlock the terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		f.Close()
		return nil, "", fmt.Errorf("name the terminal: %w", err)
	}
	return f, "/dev/pts/" + strconv.Itoa(n), nil
}
