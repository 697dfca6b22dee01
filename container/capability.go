package container

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Capabilities are the names of all capabilities that camada knows, at the
// index of their number (capabilities(7)).
func Capabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
		"CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
		"CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
		"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
		"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
		"CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
		"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
		"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
	}
}

// lastCap is the highest capability of the kernel at hand.
func lastCap() int {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n < 64 {
			return n
		}
	}
	return len(Capabilities()) - 1
}

// capSets are bit masks.
type capSets struct {
	bounding, effective, inheritable, permitted, ambient uint64
}

// capabilitySets turns names into masks. What the caller itself cannot give (it
// lacks the capability, or the kernel does not know it) is left out, as the
// runtime-spec allows. Nil is none of them.
func capabilitySets(c *specs.LinuxCapabilities) (*capSets, error) {
	if c == nil {
		c = &specs.LinuxCapabilities{}
	}
	own, err := ownBounding()
	if err != nil {
		return nil, err
	}
	names := Capabilities()
	var firstErr error
	mask := func(list []string) (m uint64) {
		for _, name := range list {
			n := slices.Index(names, name)
			if n < 0 {
				firstErr = errdefs.Invalid("capability %q is not known", name)
				continue
			}
			m |= 1 << n
		}
		return m & own
	}
	s := &capSets{
		bounding: mask(c.Bounding), effective: mask(c.Effective), inheritable: mask(c.Inheritable),
		permitted: mask(c.Permitted), ambient: mask(c.Ambient),
	}
	// The kernel wants effective within permitted, ambient within both.
	s.effective &= s.permitted
	s.ambient &= s.permitted & s.inheritable
	return s, firstErr
}

// ownBounding reads the caller's bounding set.
func ownBounding() (uint64, error) {
	var m uint64
	for n := range lastCap() + 1 {
		v, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		if err == nil && v == 1 {
			m |= 1 << n
		}
	}
	return m, nil
}

// append appends capset and the ambient set.
func (s *capSets) append(p *program.Program) {
	p.Stage("set the capabilities")
	hdr := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := &[2]unix.CapUserData{}
	for i := range data {
		shift := 32 * i
		data[i] = unix.CapUserData{
			Effective:   uint32(s.effective >> shift),
			Permitted:   uint32(s.permitted >> shift),
			Inheritable: uint32(s.inheritable >> shift),
		}
	}
	p.Call(unix.SYS_CAPSET, program.Ptr(p, hdr), program.Ptr(p, data))
	prctl := func(args ...int) {
		a := make([]program.Arg, 5)
		for i, v := range args {
			a[i] = program.Int(v)
		}
		p.Call(unix.SYS_PRCTL, a...)
	}
	prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL)
	for n := range 64 {
		if s.ambient&(1<<n) != 0 {
			prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, n)
		}
	}
}
