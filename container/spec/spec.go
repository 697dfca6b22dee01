// Package spec makes runtime-specs as Docker's defaults have them, and changes
// to them.
//
//	s := spec.Default("/bin/sh", "-c", "id")
//	spec.DropCapabilities(s, "NET_RAW")
//	spec.HostNamespace(s, specs.NetworkNamespace)
//	if rootless {
//		spec.Rootless(s)
//	}
//	seccomp filter: see SetSeccomp, to be called last.
//
// The functions change the spec given; it belongs to the caller.
package spec

import (
	"slices"
	"strings"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// DefaultPath is the PATH of a process whose image says nothing of it.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Default gives the spec of a confined container that executes args as root:
// new namespaces except for the user's, Docker's mounts, capabilities, masked
// and read-only paths, and no_new_privs unset. It has no seccomp profile yet.
func Default(args ...string) *specs.Spec {
	caps := DefaultCapabilities()
	return &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Args: args,
			Cwd:  "/",
			Env:  []string{"PATH=" + DefaultPath},
			Capabilities: &specs.LinuxCapabilities{
				Bounding: caps, Effective: slices.Clone(caps), Permitted: slices.Clone(caps),
			},
		},
		Root:   &specs.Root{},
		Mounts: defaultMounts(),
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.CgroupNamespace},
			},
			MaskedPaths:   MaskedPaths(),
			ReadonlyPaths: ReadonlyPaths(),
			Resources:     &specs.LinuxResources{Devices: DefaultDeviceRules()},
		},
	}
}

// DefaultCapabilities are those that Docker leaves to root.
func DefaultCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
		"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
		"CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

func defaultMounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
	}
}

// MaskedPaths are those that Docker hides: they tell of the host or change it.
func MaskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
}

// ReadonlyPaths are those that Docker makes read-only.
func ReadonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// DefaultDeviceRules allow the default devices and terminals, and to make
// nodes of any kind, but not to use others.
func DefaultDeviceRules() []specs.LinuxDeviceCgroup {
	rule := func(typ string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		r := specs.LinuxDeviceCgroup{Allow: true, Type: typ, Access: access}
		if major >= 0 {
			r.Major = &major
		}
		if minor >= 0 {
			r.Minor = &minor
		}
		return r
	}
	return []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		rule("c", -1, -1, "m"), rule("b", -1, -1, "m"),
		rule("c", 1, 3, "rwm"), rule("c", 1, 5, "rwm"), rule("c", 1, 7, "rwm"),
		rule("c", 1, 8, "rwm"), rule("c", 1, 9, "rwm"),
		rule("c", 5, 0, "rwm"), rule("c", 5, 1, "rwm"), rule("c", 5, 2, "rwm"), rule("c", 136, -1, "rwm"),
	}
}

// HostNamespace leaves the container in the caller's namespace of type t.
func HostNamespace(s *specs.Spec, t specs.LinuxNamespaceType) {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == t })
	if t == specs.UTSNamespace {
		s.Hostname, s.Domainname = "", ""
	}
}

// JoinNamespace puts the container into an existing namespace, as "/proc/7/ns/net".
func JoinNamespace(s *specs.Spec, t specs.LinuxNamespaceType, path string) {
	HostNamespace(s, t)
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: t, Path: path})
}

// capabilityName gives the full name of "net_raw", "NET_RAW" or "CAP_NET_RAW".
func capabilityName(name string) (string, error) {
	full := strings.ToUpper(name)
	if !strings.HasPrefix(full, "CAP_") {
		full = "CAP_" + full
	}
	if !slices.Contains(container.Capabilities(), full) {
		return "", errdefs.Invalid("capability %q is not known", name)
	}
	return full, nil
}

// Capabilities adds and drops capabilities; "ALL" stands for all of them.
// What is named in add stays, also when all are dropped, as Docker has it.
func Capabilities(s *specs.Spec, add, drop []string) error {
	c := s.Process.Capabilities
	if c == nil {
		c = &specs.LinuxCapabilities{}
		s.Process.Capabilities = c
	}
	set := slices.Clone(c.Bounding)
	all := func(list []string) bool {
		return slices.ContainsFunc(list, func(n string) bool { return strings.EqualFold(n, "ALL") })
	}
	if all(add) {
		set = container.Capabilities()
	}
	if all(drop) {
		set = nil
	}
	for _, name := range drop {
		if strings.EqualFold(name, "ALL") {
			continue
		}
		full, err := capabilityName(name)
		if err != nil {
			return err
		}
		set = slices.DeleteFunc(set, func(n string) bool { return n == full })
	}
	for _, name := range add {
		if strings.EqualFold(name, "ALL") {
			continue
		}
		full, err := capabilityName(name)
		if err != nil {
			return err
		}
		if !slices.Contains(set, full) {
			set = append(set, full)
		}
	}
	c.Bounding, c.Permitted, c.Effective = set, slices.Clone(set), slices.Clone(set)
	c.Ambient, c.Inheritable = nil, nil
	return nil
}

// ReadOnly makes the root file system read-only.
func ReadOnly(s *specs.Spec) { s.Root.Readonly = true }

// Privileged takes the confinement away: all capabilities, no masked or
// read-only paths, /sys and cgroups writable, all devices allowed, no seccomp.
func Privileged(s *specs.Spec) {
	all := container.Capabilities()
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Permitted: slices.Clone(all), Effective: slices.Clone(all)}
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths, s.Linux.Seccomp = nil, nil, nil
	if s.Linux.Resources == nil {
		s.Linux.Resources = &specs.LinuxResources{}
	}
	s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if m.Type == "sysfs" || m.Type == "cgroup" {
			m.Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "ro" })
		}
	}
}

// Rootless changes what cannot be had in a user namespace of an ordinary user:
// device rules (nodes cannot be made there anyway), the group of terminals, and
// sysfs in a network namespace that is not its own, where the host's is shown
// read-only instead.
func Rootless(s *specs.Spec) {
	if s.Linux.Resources != nil {
		s.Linux.Resources.Devices = nil
	}
	ownNet := slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.NetworkNamespace && n.Path == ""
	})
	for i := range s.Mounts {
		m := &s.Mounts[i]
		switch {
		case m.Type == "devpts":
			m.Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "gid=5" })
		case m.Type == "sysfs" && !ownNet:
			*m = specs.Mount{Destination: m.Destination, Type: "bind", Source: "/sys", Options: []string{"rbind", "ro", "nosuid", "noexec", "nodev"}}
		}
	}
}
