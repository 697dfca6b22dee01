package spec

import (
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// defaultCapabilities are Docker's.
func defaultCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// allCapabilities are those of Linux, by number (capability.h).
func allCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
		"CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
		"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
		"CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
		"CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
		"CAP_CHECKPOINT_RESTORE",
	}
}

// capabilities are those that the container may have: the default ones, less CapDrop, plus CapAdd; ALL in one of
// both is applied first, as in Docker.
func capabilities(o Options) ([]string, error) {
	all := allCapabilities()
	caps := defaultCapabilities()
	if o.Privileged {
		caps = all
	}
	add, addAll, err := capNames("--cap-add", o.CapAdd, all)
	if err != nil {
		return nil, err
	}
	drop, dropAll, err := capNames("--cap-drop", o.CapDrop, all)
	if err != nil {
		return nil, err
	}
	switch {
	case addAll:
		caps = all
	case dropAll:
		caps = nil
	}
	out := []string{}
	for _, c := range all { // in one order, whatever the flags' one
		dropped := slices.Contains(drop, c)
		if (slices.Contains(caps, c) && !dropped) || (slices.Contains(add, c) && !dropped) {
			out = append(out, c)
		}
	}
	return out, nil
}

func capNames(flag string, names, known []string) (list []string, all bool, err error) {
	for _, n := range names {
		c := strings.ToUpper(n)
		if c == "ALL" || c == "CAP_ALL" {
			all = true
			continue
		}
		if !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		if !slices.Contains(known, c) {
			return nil, false, errdefs.Invalid("%s %s: there is no such capability", flag, n)
		}
		list = append(list, c)
	}
	return list, all, nil
}

// granted are the sets of a process: root has them at once; another user gets them from files only, as after an exec.
func granted(caps []string, uid uint32) *specs.LinuxCapabilities {
	if uid != 0 {
		return &specs.LinuxCapabilities{Bounding: caps}
	}
	return &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
}

// Capabilities are the sets of a further process of a container.
func Capabilities(uid uint32, privileged bool, capAdd, capDrop []string) (*specs.LinuxCapabilities, error) {
	caps, err := capabilities(Options{Privileged: privileged, CapAdd: capAdd, CapDrop: capDrop})
	if err != nil {
		return nil, err
	}
	return granted(caps, uid), nil
}
