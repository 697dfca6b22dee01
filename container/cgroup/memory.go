package cgroup

import (
	"errors"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The memory controller. Kernel and KernelTCP limits are ignored: the
// runtime-spec deprecates them and kernels refuse them since 5.16.

func memoryWanted(r *specs.LinuxResources) bool {
	m := r.Memory
	return m != nil && (m.Limit != nil || m.Reservation != nil || m.Swap != nil || m.Swappiness != nil || m.DisableOOMKiller != nil && *m.DisableOOMKiller)
}

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
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		return write(dir, "memory.oom_control", "1")
	}
	return nil
}

func memoryV2(dir string, r *specs.LinuxResources) error {
	m := r.Memory
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
