package cgroup

import (
	"errors"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The memory controller. Limits of the kernel's own memory are v1's, and deprecated by the runtime-spec: they are
// written where the kernel has the file, and refused where it has not.

func memoryWanted(r *specs.LinuxResources) bool {
	m := r.Memory
	return m != nil && (m.Limit != nil || m.Reservation != nil || m.Swap != nil || m.Swappiness != nil || m.DisableOOMKiller != nil ||
		limited(kernelLimit(m)) || limited(m.KernelTCP) || m.UseHierarchy != nil)
}

func kernelLimit(m *specs.LinuxMemory) *int64 {
	return m.Kernel //nolint:staticcheck // deprecated, and not left out in silence for that
}

// limited tells a limit from none.
func limited(n *int64) bool { return n != nil && *n > 0 }

func checkMemory(dir, usage string, m *specs.LinuxMemory) error {
	if m.CheckBeforeUpdate == nil || !*m.CheckBeforeUpdate || m.Limit == nil || *m.Limit < 0 {
		return nil
	}
	used, err := readUint(dir, usage)
	if err != nil {
		return err
	}
	if used > uint64(*m.Limit) {
		return errdefs.Conflict("memory limit %d is below the %d bytes in use", *m.Limit, used)
	}
	return nil
}

func memoryV1(dir string, r *specs.LinuxResources) error {
	m := r.Memory
	if err := checkMemory(dir, "memory.usage_in_bytes", m); err != nil {
		return err
	}
	limit := func() error {
		if m.Limit == nil {
			return nil
		}
		return writeInt(dir, "memory.limit_in_bytes", *m.Limit)
	}
	swap := func() error {
		if m.Swap == nil {
			return nil
		}
		err := writeInt(dir, "memory.memsw.limit_in_bytes", *m.Swap)
		if gone(err) {
			if *m.Swap < 0 {
				return nil
			}
			return errdefs.Unsupported("swap limit: this kernel does not account swap (boot with swapaccount=1)")
		}
		return err
	}
	// The kernel refuses limit > memsw at every moment: raising needs the one
	// order, lowering the other.
	err := limit()
	if errors.Is(err, unix.EINVAL) && m.Swap != nil {
		if err = swap(); err == nil {
			err = limit()
		}
	} else if err == nil {
		err = swap()
	}
	if err != nil {
		return busyMemory(err)
	}
	if m.Reservation != nil {
		if err := writeInt(dir, "memory.soft_limit_in_bytes", *m.Reservation); err != nil {
			return err
		}
	}
	if m.Swappiness != nil {
		if *m.Swappiness > 100 {
			return errdefs.Invalid("memory swappiness %d: not within 0 and 100", *m.Swappiness)
		}
		if err := writeInt(dir, "memory.swappiness", *m.Swappiness); err != nil {
			return err
		}
	}
	if err := kernelMemoryV1(dir, m); err != nil {
		return err
	}
	return oomControlV1(dir, m)
}

// kernelMemoryV1 sets what came and went with kernel versions.
func kernelMemoryV1(dir string, m *specs.LinuxMemory) error {
	for _, l := range []struct {
		file  string
		value *int64
	}{{"memory.kmem.limit_in_bytes", kernelLimit(m)}, {"memory.kmem.tcp.limit_in_bytes", m.KernelTCP}} {
		if !limited(l.value) {
			continue
		}
		err := writeInt(dir, l.file, *l.value)
		if gone(err) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, enotsupp) {
			return errdefs.Unsupported("limits of kernel memory: this kernel has none: %w", err)
		}
		if err != nil {
			return err
		}
	}
	if m.UseHierarchy == nil {
		return nil
	}
	want := uint64(0)
	if *m.UseHierarchy {
		want = 1
	}
	if is, err := readUint(dir, "memory.use_hierarchy"); err == nil && is == want {
		return nil
	}
	return writeInt(dir, "memory.use_hierarchy", want)
}

// enotsupp is an errno of the kernel's that programs should never see, and do.
const enotsupp = unix.Errno(524)

func oomControlV1(dir string, m *specs.LinuxMemory) error {
	switch {
	case m.DisableOOMKiller == nil:
		return nil
	case *m.DisableOOMKiller:
		return write(dir, "memory.oom_control", "1")
	}
	is, err := readKeys(dir, "memory.oom_control")
	if err != nil || is["oom_kill_disable"] == 0 {
		return err
	}
	return write(dir, "memory.oom_control", "0")
}

func memoryV2(dir string, r *specs.LinuxResources) error {
	m := r.Memory
	switch {
	case m.Swappiness != nil:
		return errdefs.Unsupported("memory swappiness: cgroup v2 has none")
	case m.DisableOOMKiller != nil && *m.DisableOOMKiller:
		return errdefs.Unsupported("disableOOMKiller: cgroup v2 cannot do without")
	case limited(kernelLimit(m)), limited(m.KernelTCP):
		return errdefs.Unsupported("limits of kernel memory: cgroup v2 has none; the memory limit covers it")
	case m.UseHierarchy != nil && !*m.UseHierarchy:
		return errdefs.Unsupported("useHierarchy false: cgroup v2 always accounts for the groups below")
	}
	if err := checkMemory(dir, "memory.current", m); err != nil {
		return err
	}
	swap, set, err := swapV2(m)
	if err != nil {
		return err
	}
	if set {
		// Without swap in the kernel the file is missing, and nothing can be swapped.
		if err := writeMax(dir, "memory.swap.max", swap); err != nil && (!gone(err) || !hasFile(dir, "memory.max")) {
			return err
		}
	}
	if m.Limit != nil {
		if err := writeMax(dir, "memory.max", *m.Limit); err != nil {
			return busyMemory(err)
		}
	}
	if m.Reservation != nil {
		return writeMax(dir, "memory.low", *m.Reservation)
	}
	return nil
}

// swapV2 converts memory+swap of the runtime-spec to v2's swap alone.
func swapV2(m *specs.LinuxMemory) (value int64, set bool, err error) {
	switch {
	case m.Swap == nil:
		return 0, false, nil
	case *m.Swap < 0:
		return -1, true, nil
	case m.Limit == nil || *m.Limit < 0:
		return 0, false, errdefs.Invalid("swap limit %d: needs a memory limit", *m.Swap)
	case *m.Swap < *m.Limit:
		return 0, false, errdefs.Invalid("swap limit %d (memory and swap) is below the memory limit %d", *m.Swap, *m.Limit)
	}
	return *m.Swap - *m.Limit, true, nil
}

func busyMemory(err error) error {
	if errors.Is(err, unix.EBUSY) {
		return errdefs.Conflict("memory limit is below what is in use: %w", err)
	}
	return err
}

func hasFile(dir, file string) bool { return unix.Access(dir+"/"+file, unix.F_OK) == nil }
