package cgroup

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The cpu controller: shares (weight), quota and period, burst, idle, real time.

func cpuWanted(r *specs.LinuxResources) bool {
	c := r.CPU
	return c != nil && (c.Shares != nil && *c.Shares != 0 || c.Quota != nil || c.Period != nil || c.Burst != nil || c.Idle != nil || c.RealtimeRuntime != nil || c.RealtimePeriod != nil)
}

func cpuV1(dir string, r *specs.LinuxResources) error {
	c := r.CPU
	var errs firstError
	if c.Shares != nil && *c.Shares != 0 {
		errs.do(func() error { return writeInt(dir, "cpu.shares", *c.Shares) })
	}
	if c.Period != nil && *c.Period != 0 {
		errs.do(func() error { return writeInt(dir, "cpu.cfs_period_us", *c.Period) })
	}
	quota := func() error {
		if c.Quota == nil || *c.Quota == 0 {
			return nil
		}
		return writeInt(dir, "cpu.cfs_quota_us", *c.Quota)
	}
	errs.do(func() error { return withBurst(dir, "cpu.cfs_burst_us", c.Burst, quota) })
	if c.Idle != nil {
		errs.do(func() error { return writeInt(dir, "cpu.idle", *c.Idle) })
	}
	if c.RealtimePeriod != nil && *c.RealtimePeriod != 0 {
		errs.do(func() error { return realtime(writeInt(dir, "cpu.rt_period_us", *c.RealtimePeriod)) })
	}
	if c.RealtimeRuntime != nil {
		errs.do(func() error { return realtime(writeInt(dir, "cpu.rt_runtime_us", *c.RealtimeRuntime)) })
	}
	return errs.err
}

// realtime explains what the kernel says of the time of realtime processes.
func realtime(err error) error {
	switch {
	case gone(err):
		return errdefs.Unsupported("realtime: this kernel does not allot it to groups: %w", err)
	case errors.Is(err, unix.EINVAL):
		return errdefs.Invalid("realtime: more than the groups above have (cpu.rt_runtime_us): %w", err)
	}
	return err
}

// withBurst sets the quota and the burst, which must not exceed it at any moment: raising needs the one order, lowering the
// other.
func withBurst(dir, file string, burst *uint64, quota func() error) error {
	if burst == nil {
		return quota()
	}
	set := func() error { return writeInt(dir, file, *burst) }
	err := quota()
	if errors.Is(err, unix.EINVAL) {
		if err = set(); err == nil {
			err = quota()
		}
		return err
	}
	if err == nil {
		err = set()
	}
	return err
}

func cpuV2(dir string, r *specs.LinuxResources) error {
	c := r.CPU
	var errs firstError
	if c.RealtimeRuntime != nil && *c.RealtimeRuntime != 0 || c.RealtimePeriod != nil && *c.RealtimePeriod != 0 {
		return errdefs.Unsupported("realtime: cgroup v2 does not allot it to groups")
	}
	if c.Idle != nil {
		errs.do(func() error { return writeInt(dir, "cpu.idle", *c.Idle) })
	}
	if c.Shares != nil && *c.Shares != 0 && (c.Idle == nil || *c.Idle == 0) {
		errs.do(func() error { return writeInt(dir, "cpu.weight", Weight(*c.Shares)) })
	}
	quota := func() error {
		if c.Quota == nil && c.Period == nil {
			return nil
		}
		return cpuMax(dir, c)
	}
	errs.do(func() error { return withBurst(dir, "cpu.max.burst", c.Burst, quota) })
	return errs.err
}

// cpuMax writes "quota period". The kernel keeps the period when only the quota
// is given; the quota must be read when only the period is.
func cpuMax(dir string, c *specs.LinuxCPU) error {
	quota := "max"
	switch {
	case c.Quota != nil && *c.Quota > 0:
		quota = fmt.Sprint(*c.Quota)
	case c.Quota == nil:
		old, err := read(dir, "cpu.max")
		if err != nil {
			return err
		}
		quota, _, _ = strings.Cut(strings.TrimSpace(old), " ")
	}
	if c.Period != nil && *c.Period != 0 {
		quota += fmt.Sprintf(" %d", *c.Period)
	}
	return write(dir, "cpu.max", quota)
}

// Weight converts v1's cpu shares (2 to 262144, 1024 by default) to v2's weight
// (1 to 10000, 100 by default), so that both ends and the defaults meet.
// Containers of other runtimes on the same machine use the same curve:
// log10(weight) is a parabola in log2(shares) through these three points.
func Weight(shares uint64) uint64 {
	if shares <= 2 {
		return 1
	}
	if shares >= 262144 {
		return 10000
	}
	l := math.Log2(float64(shares))
	exponent := (l*l+125*l)/612 - 7.0/34.0
	return uint64(math.Ceil(math.Pow(10, exponent)))
}

// firstError runs steps until one fails.
type firstError struct{ err error }

func (f *firstError) do(step func() error) {
	if f.err == nil {
		f.err = step()
	}
}
