package engine

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/errdefs"
	"github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// RunLimits say how much of the machine a container may use; the names are those of docker run's flags. Zero values are no limit.
type RunLimits struct {
	// Memory in bytes, NanoCPUs in billionths of a processor.
	Memory, NanoCPUs, PidsLimit int64
	// MemorySwap is the limit of memory and swap together in bytes, -1 for none; 0 is twice Memory.
	MemorySwap, MemoryReservation int64
	// MemorySwappiness is 0 to 100; nil is the kernel's.
	MemorySwappiness *int64
	OomKillDisable   bool
	// OomScoreAdj is -1000 to 1000.
	OomScoreAdj int
	// CPUShares is a weight, 1024 as a rule; CPUPeriod and CPUQuota are microseconds.
	CPUShares              int64
	CPUPeriod, CPUQuota    int64
	CPUSetCPUs, CPUSetMems string
	// BlkioWeight is 10 to 1000; BlkioWeightDevices are DEVICE:WEIGHT.
	BlkioWeight        uint16
	BlkioWeightDevices []string
	// ReadBps and WriteBps are DEVICE:BYTES a second, as 1mb; ReadIOps and WriteIOps are DEVICE:OPERATIONS a second.
	ReadBps, WriteBps, ReadIOps, WriteIOps []string
	// Ulimits are NAME=SOFT[:HARD].
	Ulimits []string
	// CgroupParent is the control group in which the container's is made.
	CgroupParent string
}

// minMemory is the least memory that a container can be limited to, docker's.
const minMemory = 6 << 20

// check refuses what contradicts itself. The errors are docker's.
func (r RunLimits) check() error {
	if err := r.checkMemory(); err != nil {
		return err
	}
	if err := r.checkCPU(); err != nil {
		return err
	}
	if r.BlkioWeight != 0 && (r.BlkioWeight < 10 || r.BlkioWeight > 1000) {
		return errdefs.Invalid("--blkio-weight %d: Range of blkio weight is from 10 to 1000", r.BlkioWeight)
	}
	if r.OomScoreAdj < -1000 || r.OomScoreAdj > 1000 {
		return errdefs.Invalid("Invalid value %d, range for oom score adj is [-1000, 1000]", r.OomScoreAdj)
	}
	if r.PidsLimit < -1 {
		return errdefs.Invalid("--pids-limit %d: want a number, or -1 for none", r.PidsLimit)
	}
	if _, err := r.rlimits(); err != nil {
		return err
	}
	_, err := r.blockIO()
	return err
}

func (r RunLimits) checkMemory() error {
	switch {
	case r.Memory != 0 && r.Memory < minMemory:
		return errdefs.Invalid("Minimum memory limit allowed is 6MB")
	case r.MemorySwap > 0 && r.Memory == 0:
		return errdefs.Invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
	case r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return errdefs.Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
	case r.MemoryReservation != 0 && r.MemoryReservation < minMemory:
		return errdefs.Invalid("Minimum memory reservation allowed is 6MB")
	case r.Memory > 0 && r.MemoryReservation > r.Memory:
		return errdefs.Invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
	case r.MemorySwappiness != nil && (*r.MemorySwappiness < 0 || *r.MemorySwappiness > 100):
		return errdefs.Invalid("Invalid value: %d, valid memory swappiness range is 0-100", *r.MemorySwappiness)
	}
	return nil
}

func (r RunLimits) checkCPU() error {
	n := int64(runtime.NumCPU())
	switch {
	case r.NanoCPUs > 0 && r.CPUPeriod > 0:
		return errdefs.Invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set")
	case r.NanoCPUs > 0 && r.CPUQuota > 0:
		return errdefs.Invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
	case r.NanoCPUs > n*1e9:
		return errdefs.Invalid("Range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", n, n)
	case r.CPUShares < 0:
		return errdefs.Invalid("invalid CPU shares (%d): value must be a positive integer", r.CPUShares)
	case r.CPUPeriod != 0 && (r.CPUPeriod < 1000 || r.CPUPeriod > 1_000_000):
		return errdefs.Invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case r.CPUQuota > 0 && r.CPUQuota < 1000:
		return errdefs.Invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
	}
	for _, set := range []struct{ flag, text string }{{"cpus", r.CPUSetCPUs}, {"mems", r.CPUSetMems}} {
		if !isSet(set.text) {
			return errdefs.Invalid("Invalid value %s for cpuset %s", set.text, set.flag)
		}
	}
	return nil
}

// isSet reports whether s is a list of numbers and ranges, as cpuset(7) has them.
func isSet(s string) bool {
	if s == "" {
		return true
	}
	for part := range strings.SplitSeq(s, ",") {
		from, to, ranged := strings.Cut(part, "-")
		a, err := strconv.ParseUint(from, 10, 16)
		if err != nil {
			return false
		}
		if b, err := strconv.ParseUint(to, 10, 16); ranged && (err != nil || b < a) {
			return false
		}
	}
	return true
}

// apply puts the limits into the spec, in which those that spec.Options has are already.
func (r RunLimits) apply(s *specs.Spec) error {
	if r.OomScoreAdj != 0 {
		s.Process.OOMScoreAdj = &r.OomScoreAdj
	}
	var err error
	if s.Process.Rlimits, err = r.rlimits(); err != nil {
		return err
	}
	return r.resources(s.Linux.Resources)
}

// resources adds the limits of the control group.
func (r RunLimits) resources(res *specs.LinuxResources) (err error) {
	if cmp.Or(r.Memory, r.MemorySwap, r.MemoryReservation) != 0 || r.MemorySwappiness != nil || r.OomKillDisable {
		r.memory(res)
	}
	if cmp.Or(r.CPUShares, r.CPUPeriod, r.CPUQuota) != 0 || r.CPUSetCPUs != "" || r.CPUSetMems != "" {
		if res.CPU == nil {
			res.CPU = &specs.LinuxCPU{}
		}
		res.CPU.Cpus, res.CPU.Mems = r.CPUSetCPUs, r.CPUSetMems
		if r.CPUShares > 0 {
			shares := uint64(r.CPUShares)
			res.CPU.Shares = &shares
		}
		if r.CPUPeriod > 0 {
			period := uint64(r.CPUPeriod)
			res.CPU.Period = &period
		}
		if r.CPUQuota != 0 {
			res.CPU.Quota = &r.CPUQuota
		}
	}
	res.BlockIO, err = r.blockIO()
	return err
}

func (r RunLimits) memory(res *specs.LinuxResources) {
	m := &specs.LinuxMemory{}
	if r.Memory > 0 {
		m.Limit = &r.Memory
	}
	switch {
	case r.MemorySwap != 0:
		m.Swap = &r.MemorySwap
	case r.Memory > 0 && cgroup.LimitsSwap():
		twice := 2 * r.Memory
		m.Swap = &twice
	}
	if r.MemoryReservation > 0 {
		m.Reservation = &r.MemoryReservation
	}
	if r.MemorySwappiness != nil {
		n := uint64(*r.MemorySwappiness)
		m.Swappiness = &n
	}
	if r.OomKillDisable {
		m.DisableOOMKiller = &r.OomKillDisable
	}
	res.Memory = m
}

func (r RunLimits) rlimits() (list []specs.POSIXRlimit, err error) {
	for _, text := range r.Ulimits {
		u, err := units.ParseUlimit(text)
		if err != nil {
			return nil, errdefs.Invalid("invalid argument %q for \"--ulimit\": %w", text, err)
		}
		list = append(list, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: uint64(u.Soft), Hard: uint64(u.Hard)})
	}
	return list, nil
}

// blockIO are the limits of devices.
func (r RunLimits) blockIO() (*specs.LinuxBlockIO, error) {
	b := &specs.LinuxBlockIO{}
	if r.BlkioWeight != 0 {
		b.Weight = &r.BlkioWeight
	}
	for _, text := range r.BlkioWeightDevices {
		major, minor, value, err := deviceValue("--blkio-weight-device", text, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 16) })
		if err != nil {
			return nil, err
		}
		if value != 0 && (value < 10 || value > 1000) {
			return nil, errdefs.Invalid("--blkio-weight-device %s: invalid weight for device", text)
		}
		weight := uint16(value)
		d := specs.LinuxWeightDevice{Weight: &weight}
		d.Major, d.Minor = major, minor
		b.WeightDevice = append(b.WeightDevice, d)
	}
	for _, k := range []struct {
		flag  string
		texts []string
		to    *[]specs.LinuxThrottleDevice
		parse func(string) (uint64, error)
	}{
		{"--device-read-bps", r.ReadBps, &b.ThrottleReadBpsDevice, parseRate},
		{"--device-write-bps", r.WriteBps, &b.ThrottleWriteBpsDevice, parseRate},
		{"--device-read-iops", r.ReadIOps, &b.ThrottleReadIOPSDevice, parseCount},
		{"--device-write-iops", r.WriteIOps, &b.ThrottleWriteIOPSDevice, parseCount},
	} {
		for _, text := range k.texts {
			major, minor, value, err := deviceValue(k.flag, text, k.parse)
			if err != nil {
				return nil, err
			}
			d := specs.LinuxThrottleDevice{Rate: value}
			d.Major, d.Minor = major, minor
			*k.to = append(*k.to, d)
		}
	}
	return b, nil
}

func parseRate(s string) (uint64, error) {
	n, err := units.RAMInBytes(s)
	if err == nil && n < 0 {
		err = fmt.Errorf("%d is below 0", n)
	}
	return uint64(n), err
}

func parseCount(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }

// deviceValue reads DEVICE:VALUE.
func deviceValue(flag, text string, parse func(string) (uint64, error)) (major, minor int64, value uint64, err error) {
	name, v, ok := strings.Cut(text, ":")
	if !ok || !strings.HasPrefix(name, "/dev/") {
		return 0, 0, 0, errdefs.Invalid("%s %s: bad format for device path: want /dev/NAME:VALUE", flag, text)
	}
	if value, err = parse(v); err != nil {
		return 0, 0, 0, errdefs.Invalid("%s %s: invalid value for device: %w", flag, text, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return 0, 0, 0, errdefs.NotFound("%s: %w", flag, &os.PathError{Op: "stat", Path: name, Err: err})
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, 0, errdefs.Invalid("%s %s: %s is not a block device", flag, text, name)
	}
	return int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)), value, nil
}
