// Package seccomp compiles seccomp profiles of the OCI runtime-spec into the
// filters that the kernel runs.
//
//	f, err := seccomp.Compile(spec.Linux.Seccomp, runtime.GOARCH)
//
// The filter looks a system call's number up in a balanced tree of ranges, one
// tree for each architecture of the profile, so that a call costs about ten
// instructions where a list costs a thousand.
//
// # What is decided beyond the profile
//
//   - A call of an architecture that the profile does not name kills the
//     process, as with libseccomp. The native one needs no name.
//   - The x32 calls of amd64 give ENOSYS, also when the profile names
//     SCMP_ARCH_X32: hardly a kernel has them, and their numbers overlap.
//   - A call newer than all that the profile names gives ENOSYS instead of the
//     default errno, so that C libraries fall back to older calls.
//   - Of several rules for one call, those with conditions come first, in
//     order; the first that matches decides.
package seccomp

import (
	"encoding/binary"
	"slices"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

//go:generate go run gen.go

// Filter is a compiled profile.
type Filter struct {
	// Instructions are the kernel's struct sock_filter[].
	Instructions []byte
	// Flags are SECCOMP_FILTER_FLAG_*.
	Flags uint64
	// Notify tells that the action for some call is SCMP_ACT_NOTIFY: the filter has to be loaded with
	// SECCOMP_FILTER_FLAG_NEW_LISTENER.
	Notify bool
}

// maxInstructions is the kernel's BPF_MAXINSNS.
const maxInstructions = 4096

// Compile compiles a profile for the processor goarch (amd64 or arm64). Names
// of calls that an architecture does not have are passed over, and so are
// architectures that the processor does not execute. ErrInvalid when
// the profile is malformed, ErrUnsupported for another processor, and when the filter gets too long.
func Compile(profile *specs.LinuxSeccomp, goarch string) (*Filter, error) {
	archs, err := architectures(profile.Architectures, goarch)
	if err != nil {
		return nil, err
	}
	def, err := action(profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	f := &Filter{}
	if f.Notify, err = notifies(profile); err != nil {
		return nil, err
	}
	if f.Flags, err = flags(profile.Flags); err != nil {
		return nil, err
	}
	if !f.Notify { // it is about notifications, and the kernel refuses it without
		f.Flags &^= unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	}
	const usual = 1024 // instructions of the default profile
	c := &compiler{profile: profile, def: def, code: make([]insn, 0, usual)}
	if err := c.readRules(); err != nil {
		return nil, err
	}
	c.code = append(c.code, insn{op: opLoad, k: offArch})
	for _, a := range archs {
		// Equal: into the section; otherwise over it.
		c.code = append(c.code, insn{op: opJEq, k: a.audit, jt: 1}, insn{op: opJump})
		begin := len(c.code)
		if err := c.compileArch(a); err != nil {
			return nil, err
		}
		c.code[begin-1].k = uint32(len(c.code) - begin)
	}
	c.code = append(c.code, insn{op: opRet, k: unix.SECCOMP_RET_KILL_PROCESS})
	if len(c.code) > maxInstructions {
		return nil, errdefs.Unsupported("seccomp profile: %d instructions, the kernel takes %d", len(c.code), maxInstructions)
	}
	f.Instructions = encode(c.code)
	return f, nil
}

// arch is one of the instruction sets that a processor executes.
type arch struct {
	audit  uint32
	number func(name string) int
	x32    bool // numbers from 1<<30 on are x32's
}

// architectures gives what the profile names for the processor. The native one
// is always there, and first: it is asked most.
func architectures(names []specs.Arch, goarch string) ([]arch, error) {
	var native, compat arch
	var nativeName, compatName specs.Arch
	switch goarch {
	case "amd64":
		native, nativeName = arch{audit: unix.AUDIT_ARCH_X86_64, number: numberamd64, x32: true}, specs.ArchX86_64
		compat, compatName = arch{audit: unix.AUDIT_ARCH_I386, number: number386}, specs.ArchX86
	case "arm64":
		native, nativeName = arch{audit: unix.AUDIT_ARCH_AARCH64, number: numberarm64}, specs.ArchAARCH64
		compat, compatName = arch{audit: unix.AUDIT_ARCH_ARM, number: numberarm}, specs.ArchARM
	default:
		return nil, errdefs.Unsupported("seccomp for the processor %s", goarch)
	}
	list := []arch{native}
	for _, n := range names {
		switch {
		case n == nativeName:
		case n == compatName && len(list) == 1:
			list = append(list, compat)
		case !known(n):
			return nil, errdefs.Invalid("seccomp profile: architecture %q", n)
		}
	}
	return list, nil
}

// Number is the number of a system call by its name, for an architecture as struct seccomp_data names it (AUDIT_ARCH_*); -1 when there is none.
func Number(audit uint32, name string) int {
	switch audit {
	case unix.AUDIT_ARCH_X86_64:
		return numberamd64(name)
	case unix.AUDIT_ARCH_I386:
		return number386(name)
	case unix.AUDIT_ARCH_AARCH64:
		return numberarm64(name)
	case unix.AUDIT_ARCH_ARM:
		return numberarm(name)
	}
	return -1
}

// known tells the names of architectures of the runtime-spec.
func known(n specs.Arch) bool {
	switch n {
	case specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64, specs.ArchMIPS, specs.ArchMIPS64,
		specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPPC, specs.ArchPPC64,
		specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X, specs.ArchPARISC, specs.ArchPARISC64, specs.ArchRISCV64,
		specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchSH, specs.ArchSHEB:
		return true
	}
	return false
}

// notifies tells whether a profile has the action SCMP_ACT_NOTIFY. It cannot be the default, and not be that of write:
// whoever loads the filter has to write to say so, before the agent can answer.
func notifies(profile *specs.LinuxSeccomp) (bool, error) {
	if profile.DefaultAction == specs.ActNotify {
		return false, errdefs.Unsupported("seccomp profile: %s as the default action: nobody could answer while the filter is loaded", specs.ActNotify)
	}
	found := false
	for _, s := range profile.Syscalls {
		if s.Action != specs.ActNotify {
			continue
		}
		if found = true; slices.Contains(s.Names, "write") {
			return false, errdefs.Unsupported("seccomp profile: %s for write: nobody could answer while the filter is loaded", specs.ActNotify)
		}
	}
	return found, nil
}

// action gives the kernel's return value.
func action(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	data := uint32(unix.EPERM)
	if errno != nil {
		if *errno > 0xffff {
			return 0, errdefs.Invalid("seccomp profile: errno %d", *errno)
		}
		if a != specs.ActErrno && a != specs.ActTrace {
			return 0, errdefs.Invalid("seccomp profile: the action %s returns no errno", a)
		}
		data = uint32(*errno)
	}
	switch a {
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO | data, nil
	case specs.ActTrace:
		return unix.SECCOMP_RET_TRACE | data, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case specs.ActNotify:
		return unix.SECCOMP_RET_USER_NOTIF, nil
	}
	return 0, errdefs.Invalid("seccomp profile: action %q", a)
}

func flags(names []specs.LinuxSeccompFlag) (uint64, error) {
	var all uint64
	for _, n := range names {
		switch n {
		case specs.LinuxSeccompFlagLog:
			all |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			all |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		case specs.LinuxSeccompFlagWaitKillableRecv:
			all |= unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
		case "SECCOMP_FILTER_FLAG_TSYNC": // there is one thread
		default:
			return 0, errdefs.Unsupported("seccomp profile: flag %s", n)
		}
	}
	return all, nil
}

// encode gives the kernel's struct sock_filter[]: u16 code, u8 jt, u8 jf, u32 k.
func encode(code []insn) []byte {
	b := make([]byte, 0, 8*len(code))
	for _, i := range code {
		b = binary.NativeEndian.AppendUint16(b, i.op)
		b = append(b, i.jt, i.jf)
		b = binary.NativeEndian.AppendUint32(b, i.k)
	}
	return b
}
