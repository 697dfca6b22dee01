package spec

import (
	"slices"

	"github.com/camada/camada/errdefs"
	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Unconfined is the Seccomp and the AppArmor of Options that confines nothing.
const Unconfined = "unconfined"

// Confinement says what is kept from a container. The zero value is Docker's default.
type Confinement struct {
	// NoNewPrivileges keeps set-user-ID programs and file capabilities from giving rights.
	NoNewPrivileges bool `json:"noNewPrivileges,omitempty"`
	// Seccomp is a profile in Docker's or the runtime-spec's form, as JSON, or Unconfined; "" is Docker's profile.
	Seccomp string `json:"seccomp,omitempty"`
	// AppArmor is the name of a profile that the kernel has, or Unconfined; "" is none.
	AppArmor string `json:"appArmor,omitempty"`
	// ShowAll neither masks nor protects paths of /proc and /sys.
	ShowAll bool `json:"showAll,omitempty"`
	// Mask are further paths to be masked, Unmask those that are neither masked nor protected.
	Mask   []string `json:"mask,omitempty"`
	Unmask []string `json:"unmask,omitempty"`
}

// confine puts the confinement into the spec. caps are what the container may have.
func (o Options) confine(s *specs.Spec, caps []string) error {
	c := o.Confinement
	s.Process.NoNewPrivileges = c.NoNewPrivileges
	if c.AppArmor != "" && c.AppArmor != Unconfined {
		s.Process.ApparmorProfile = c.AppArmor
	}
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = ProtectedPaths(c, o.Privileged)
	if c.Seccomp == Unconfined || c.Seccomp == "" && o.Privileged {
		return nil
	}
	// The profile is chosen by what the container may have, not by what its user has at first.
	full := *s.Process
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	var err error
	if c.Seccomp == "" {
		s.Linux.Seccomp, err = seccomp.GetDefaultProfile(s)
	} else {
		s.Linux.Seccomp, err = seccomp.LoadProfile(c.Seccomp, s)
	}
	if err != nil {
		return errdefs.Invalid("seccomp profile: %w", err)
	}
	s.Process = &full
	return nil
}

// ProtectedPaths are the paths of /proc and /sys that are hidden, and those that are read-only.
func ProtectedPaths(c Confinement, privileged bool) (masked, readOnly []string) {
	if !privileged && !c.ShowAll {
		masked, readOnly = maskedPaths(), readonlyPaths()
	}
	shown := func(name string) bool { return slices.Contains(c.Unmask, name) }
	return append(slices.DeleteFunc(masked, shown), c.Mask...), slices.DeleteFunc(readOnly, shown)
}

// maskedPaths and readonlyPaths are Docker's.
func maskedPaths() []string {
	return []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
}

func readonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// CheckSeccomp reports whether a profile can be read. ErrInvalid tells why not.
func CheckSeccomp(profile string) error {
	s := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}}
	if _, err := seccomp.LoadProfile(profile, s); err != nil {
		return errdefs.Invalid("seccomp profile: %w", err)
	}
	return nil
}
