package cli

import (
	"fmt"

	"github.com/camada/camada/errdefs"
	"github.com/spf13/pflag"
)

// limitOptions are the texts of flags for limits.
type limitOptions struct {
	memory            string
	cpus              string
	memorySwap        bytesValue
	memoryReservation bytesValue
	memorySwappiness  int64
	kernelMemory      string
}

// registerLimits adds the flags for what a container may use of the machine.
func (o *runOptions) registerLimits(f *pflag.FlagSet) {
	l := &o.limits
	f.StringVarP(&l.memory, "memory", "m", "", "memory `limit`, e.g. 64m")
	f.Var(&l.memorySwap, "memory-swap", "`limit` of memory and swap together; -1 is none (default: twice the memory)")
	f.Var(&l.memoryReservation, "memory-reservation", "`memory` that the container keeps when there is little of it")
	f.Int64Var(&l.memorySwappiness, "memory-swappiness", -1, "how readily memory is swapped out, `0 to 100`")
	f.StringVar(&l.kernelMemory, "kernel-memory", "", "refused: no kernel has this limit any more")
	_ = f.MarkHidden("kernel-memory")
	f.BoolVar(&o.OomKillDisable, "oom-kill-disable", false, "stop processes that have no memory left, instead of killing them (cgroup v1)")
	f.IntVar(&o.OomScoreAdj, "oom-score-adj", 0, "how readily processes are killed when the machine has no memory left, `-1000 to 1000`")
	f.StringVar(&l.cpus, "cpus", "", "`number` of processors, e.g. 1.5")
	f.Int64VarP(&o.CPUShares, "cpu-shares", "c", 0, "`weight` for the processors (default 1024)")
	f.Int64Var(&o.CPUPeriod, "cpu-period", 0, "period of the processor limit, in `microseconds`")
	f.Int64Var(&o.CPUQuota, "cpu-quota", 0, "processor time in a period, in `microseconds`")
	f.StringVar(&o.CPUSetCPUs, "cpuset-cpus", "", "`processors` that may be used, e.g. 0-3,5")
	f.StringVar(&o.CPUSetMems, "cpuset-mems", "", "memory `nodes` that may be used")
	f.Int64Var(&o.PidsLimit, "pids-limit", 0, "`number` of processes at the most; -1 is no limit")
	f.Uint16Var(&o.BlkioWeight, "blkio-weight", 0, "`weight` for block devices, 10 to 1000")
	listFlag(f, &o.BlkioWeightDevices, "blkio-weight-device", "", "weight for one block device, `DEVICE:WEIGHT`")
	listFlag(f, &o.ReadBps, "device-read-bps", "", "limit of reading, in bytes a second: `DEVICE:RATE`, e.g. /dev/sda:1mb")
	listFlag(f, &o.WriteBps, "device-write-bps", "", "limit of writing, in bytes a second: `DEVICE:RATE`")
	listFlag(f, &o.ReadIOps, "device-read-iops", "", "limit of reading, in operations a second: `DEVICE:RATE`")
	listFlag(f, &o.WriteIOps, "device-write-iops", "", "limit of writing, in operations a second: `DEVICE:RATE`")
	listFlag(f, &o.Ulimits, "ulimit", "", "limit of each process, `NAME=SOFT[:HARD]`, e.g. nofile=1024")
	f.StringVar(&o.CgroupParent, "cgroup-parent", "", "control `group` in which the container's is made")
}

// completeLimits reads the flags whose texts have a meaning of their own.
func (o *runOptions) completeLimits(f *pflag.FlagSet) (err error) {
	l := &o.limits
	if l.kernelMemory != "" {
		return errKernelMemory()
	}
	if o.Memory, err = parseBytes(l.memory); err != nil {
		return fmt.Errorf("--memory: %w", err)
	}
	if o.NanoCPUs, err = parseCPUs(l.cpus); err != nil {
		return err
	}
	o.MemorySwap, o.MemoryReservation = int64(l.memorySwap), int64(l.memoryReservation)
	if f.Changed("memory-swappiness") && l.memorySwappiness != -1 {
		o.MemorySwappiness = &l.memorySwappiness
	}
	return nil
}

func errKernelMemory() error {
	return errdefs.Unsupported("--kernel-memory: kernels have no such limit any more; --memory limits the kernel's memory too")
}
