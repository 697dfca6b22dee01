package container

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unsafe"

	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// scheduling appends what decides when and where the process runs, and as what kind of machine it sees the kernel. It comes
// before rights are given up.
func (c *confinement) scheduling() error {
	if err := c.scheduler(); err != nil {
		return err
	}
	if err := c.ioPriority(); err != nil {
		return err
	}
	if err := c.memory(); err != nil {
		return err
	}
	if c.personality == nil {
		return nil
	}
	const linux32 = 8
	domain := 0
	switch c.personality.Domain {
	case specs.PerLinux:
	case specs.PerLinux32:
		domain = linux32
	default:
		return errdefs.Invalid("personality: the domain %q is not known", c.personality.Domain)
	}
	if len(c.personality.Flags) > 0 {
		return errdefs.Unsupported("personality: the flag %q: the runtime-spec has none", c.personality.Flags[0])
	}
	c.p.Stage("set the personality %s", c.personality.Domain)
	c.p.Call(unix.SYS_PERSONALITY, program.Int(domain))
	return nil
}

// schedPolicy gives the kernel's number of a policy.
func schedPolicy(name specs.LinuxSchedulerPolicy) (uint32, bool) {
	switch name {
	case specs.SchedOther:
		return unix.SCHED_NORMAL, true
	case specs.SchedFIFO:
		return unix.SCHED_FIFO, true
	case specs.SchedRR:
		return unix.SCHED_RR, true
	case specs.SchedBatch:
		return unix.SCHED_BATCH, true
	case specs.SchedISO:
		return 4, true // the kernel keeps the number free
	case specs.SchedIdle:
		return unix.SCHED_IDLE, true
	case specs.SchedDeadline:
		return unix.SCHED_DEADLINE, true
	}
	return 0, false
}

func schedFlag(name specs.LinuxSchedulerFlag) uint64 {
	switch name {
	case specs.SchedFlagResetOnFork:
		return unix.SCHED_FLAG_RESET_ON_FORK
	case specs.SchedFlagReclaim:
		return unix.SCHED_FLAG_RECLAIM
	case specs.SchedFlagDLOverrun:
		return unix.SCHED_FLAG_DL_OVERRUN
	case specs.SchedFlagKeepPolicy:
		return unix.SCHED_FLAG_KEEP_POLICY
	case specs.SchedFlagKeepParams:
		return unix.SCHED_FLAG_KEEP_PARAMS
	case specs.SchedFlagUtilClampMin:
		return unix.SCHED_FLAG_UTIL_CLAMP_MIN
	case specs.SchedFlagUtilClampMax:
		return unix.SCHED_FLAG_UTIL_CLAMP_MAX
	}
	return 0
}

// scheduler appends sched_setattr (config.md, scheduler).
func (c *confinement) scheduler() error {
	s := c.process.Scheduler
	if s == nil {
		return nil
	}
	policy, ok := schedPolicy(s.Policy)
	deadline := policy == unix.SCHED_DEADLINE
	switch {
	case !ok:
		return errdefs.Invalid("scheduler: the policy %q is not known", s.Policy)
	case s.Nice < -20 || s.Nice > 19:
		return errdefs.Invalid("scheduler: nice %d is not within -20 and 19", s.Nice)
	case s.Nice != 0 && policy != unix.SCHED_NORMAL && policy != unix.SCHED_BATCH:
		return errdefs.Invalid("scheduler: nice is for SCHED_OTHER and SCHED_BATCH")
	case s.Priority != 0 && policy != unix.SCHED_FIFO && policy != unix.SCHED_RR:
		return errdefs.Invalid("scheduler: priority is for SCHED_FIFO and SCHED_RR")
	case !deadline && (s.Runtime != 0 || s.Deadline != 0 || s.Period != 0):
		return errdefs.Invalid("scheduler: runtime, deadline and period are for SCHED_DEADLINE")
	}
	attr := &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: policy, Nice: s.Nice, Priority: uint32(s.Priority),
		Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
	}
	for _, name := range s.Flags {
		flag := schedFlag(name)
		if flag == 0 {
			return errdefs.Invalid("scheduler: the flag %q is not known", name)
		}
		attr.Flags |= flag
	}
	c.p.Stage("set the scheduler %s", s.Policy)
	c.p.Call(unix.SYS_SCHED_SETATTR, program.Int(0), program.Ptr(c.p, attr), program.Int(0))
	return nil
}

// ioPriority appends ioprio_set (config.md, ioPriority).
func (c *confinement) ioPriority() error {
	io := c.process.IOPriority
	if io == nil {
		return nil
	}
	var class int
	switch io.Class {
	case specs.IOPRIO_CLASS_RT:
		class = 1
	case specs.IOPRIO_CLASS_BE:
		class = 2
	case specs.IOPRIO_CLASS_IDLE:
		class = 3
	default:
		return errdefs.Invalid("ioPriority: the class %q is not known", io.Class)
	}
	if io.Priority < 0 || io.Priority > 7 {
		return errdefs.Invalid("ioPriority: %d is not within 0 and 7", io.Priority)
	}
	const whoProcess, classShift = 1, 13
	c.p.Stage("set the priority of input and output to %s %d", io.Class, io.Priority)
	c.p.Call(unix.SYS_IOPRIO_SET, program.Int(whoProcess), program.Int(0), program.Int(class<<classShift|io.Priority))
	return nil
}

// memory appends set_mempolicy (config-linux.md, memoryPolicy).
func (c *confinement) memory() error {
	m := c.memoryPolicy
	if m == nil {
		return nil
	}
	var mode int
	switch m.Mode {
	case specs.MpolDefault:
		mode = unix.MPOL_DEFAULT
	case specs.MpolPreferred:
		mode = unix.MPOL_PREFERRED
	case specs.MpolBind:
		mode = unix.MPOL_BIND
	case specs.MpolInterleave:
		mode = unix.MPOL_INTERLEAVE
	case specs.MpolLocal:
		mode = unix.MPOL_LOCAL
	case specs.MpolPreferredMany:
		mode = unix.MPOL_PREFERRED_MANY
	case specs.MpolWeightedInterleave:
		mode = unix.MPOL_WEIGHTED_INTERLEAVE
	default:
		return errdefs.Invalid("memoryPolicy: the mode %q is not known", m.Mode)
	}
	for _, flag := range m.Flags {
		switch flag {
		case specs.MpolFNumaBalancing:
			mode |= unix.MPOL_F_NUMA_BALANCING
		case specs.MpolFRelativeNodes:
			mode |= unix.MPOL_F_RELATIVE_NODES
		case specs.MpolFStaticNodes:
			mode |= unix.MPOL_F_STATIC_NODES
		default:
			return errdefs.Invalid("memoryPolicy: the flag %q is not known", flag)
		}
	}
	c.p.Stage("set the memory policy %s", m.Mode)
	if m.Nodes == "" {
		c.p.Call(unix.SYS_SET_MEMPOLICY, program.Int(mode), program.Int(0), program.Int(0))
		return nil
	}
	nodes, err := bitmap(m.Nodes)
	if err != nil {
		return errdefs.Invalid("memoryPolicy: nodes: %w", err)
	}
	c.p.Call(unix.SYS_SET_MEMPOLICY, program.Int(mode), c.p.Bytes(nodes), program.Int(8*len(nodes)+1))
	return nil
}

// affinity appends the choice of the processors that a process may run on; "" leaves them.
func affinity(p *program.Program, list string) error {
	if list == "" {
		return nil
	}
	cpus, err := bitmap(list)
	if err != nil {
		return errdefs.Invalid("execCPUAffinity: %w", err)
	}
	p.Stage("run on the processors %s", list)
	p.Call(unix.SYS_SCHED_SETAFFINITY, program.Int(0), program.Int(len(cpus)), p.Bytes(cpus))
	return nil
}

// maxBit is the highest number in a list of processors or nodes: the kernel's own limit is 8192.
const maxBit = 8191

// bitmap reads a list like "0-3,7" (cpuset(7), list format) into a mask of the kernel's machine words.
func bitmap(list string) ([]byte, error) {
	words := []uint64{0}
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		from, err := strconv.ParseUint(first, 10, 16)
		to := from
		if err == nil && isRange {
			to, err = strconv.ParseUint(last, 10, 16)
		}
		if err != nil || to < from || to > maxBit {
			return nil, errdefs.Invalid("%q is not a list like 0-3,7", list)
		}
		for n := from; n <= to; n++ {
			for int(n/64) >= len(words) {
				words = append(words, 0)
			}
			words[n/64] |= 1 << (n % 64)
		}
	}
	out := make([]byte, 0, len(words)*int(unsafe.Sizeof(words[0])))
	for _, w := range words {
		out = binary.NativeEndian.AppendUint64(out, w)
	}
	return out, nil
}
