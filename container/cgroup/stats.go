package cgroup

import (
	"fmt"
	"math"
	"time"
)

// Unlimited is the value of a limit that is not set, and of a v1 memory limit
// near the largest page count.
const Unlimited = math.MaxUint64

// Stats is what a container uses. A part whose controller the group is not in is zero.
type Stats struct {
	Memory MemoryStats
	CPU    CPUStats
	PIDs   PIDStats
}

// MemoryStats are bytes.
type MemoryStats struct {
	// Usage includes the page cache, of which Inactive can be taken back at once.
	Usage, Inactive, Peak uint64
	// Limit is Unlimited without one.
	Limit uint64
	// Swap is what is swapped out.
	Swap uint64
	// OOMKills counts processes that the limit killed.
	OOMKills uint64
}

// CPUStats are times since the group was made.
type CPUStats struct {
	Usage, User, System time.Duration
	// Periods of the quota so far, those in which processes were held, and how long.
	Periods, Throttled uint64
	ThrottledTime      time.Duration
}

// PIDStats are numbers of tasks.
type PIDStats struct{ Current, Limit uint64 }

// Stats reads what the group uses now.
func (g *Group) Stats() (Stats, error) {
	var s Stats
	for _, part := range []func(*Stats) error{g.memoryStats, g.cpuStats, g.pidStats} {
		if err := part(&s); err != nil && !gone(err) {
			return Stats{}, fmt.Errorf("statistics of cgroup %s: %w", g.path, err)
		}
	}
	return s, nil
}

// OOMKills gives how many processes of the container the memory limit killed.
// Zero for a group without a memory limit.
func (g *Group) OOMKills() (uint64, error) {
	g.follow()
	dir, file := g.v1["memory"], "memory.oom_control"
	if dir == "" {
		dir, file = g.unified, "memory.events"
	}
	if dir == "" {
		return 0, nil
	}
	keys, err := readKeys(dir, file)
	if gone(err) {
		return 0, nil
	}
	return keys["oom_kill"], err
}

// number is a file that holds one number.
type number struct {
	file string
	to   *uint64
}

func readNumbers(dir string, numbers []number) error {
	for _, n := range numbers {
		v, err := readUint(dir, n.file)
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		*n.to = v
	}
	return nil
}

func (g *Group) memoryStats(s *Stats) error {
	m := &s.Memory
	var err error
	if m.OOMKills, err = g.OOMKills(); err != nil {
		return err
	}
	dir := g.v1["memory"]
	if dir == "" {
		if dir = g.unified; dir == "" {
			return nil
		}
		if err := readNumbers(dir, []number{{"memory.current", &m.Usage}, {"memory.peak", &m.Peak}, {"memory.max", &m.Limit}, {"memory.swap.current", &m.Swap}}); err != nil {
			return err
		}
		keys, err := readKeys(dir, "memory.stat")
		m.Inactive = keys["inactive_file"]
		return err
	}
	if err := readNumbers(dir, []number{{"memory.usage_in_bytes", &m.Usage}, {"memory.max_usage_in_bytes", &m.Peak}, {"memory.limit_in_bytes", &m.Limit}}); err != nil {
		return err
	}
	if m.Limit > math.MaxInt64-1<<20 {
		m.Limit = Unlimited
	}
	keys, err := readKeys(dir, "memory.stat")
	m.Inactive, m.Swap = keys["total_inactive_file"], keys["total_swap"]
	return err
}

func (g *Group) cpuStats(s *Stats) error {
	c := &s.CPU
	if g.unified != "" {
		// Usage is there without the controller.
		keys, err := readKeys(g.unified, "cpu.stat")
		if err != nil {
			return err
		}
		c.Usage, c.User, c.System = usec(keys["usage_usec"]), usec(keys["user_usec"]), usec(keys["system_usec"])
		c.Periods, c.Throttled, c.ThrottledTime = keys["nr_periods"], keys["nr_throttled"], usec(keys["throttled_usec"])
	}
	if dir := g.v1["cpuacct"]; dir != "" && g.unified == "" {
		var total, user, system uint64
		if err := readNumbers(dir, []number{{"cpuacct.usage", &total}, {"cpuacct.usage_user", &user}, {"cpuacct.usage_sys", &system}}); err != nil {
			return err
		}
		c.Usage, c.User, c.System = time.Duration(total), time.Duration(user), time.Duration(system)
	}
	if dir := g.v1["cpu"]; dir != "" {
		keys, err := readKeys(dir, "cpu.stat")
		if err != nil {
			return err
		}
		c.Periods, c.Throttled, c.ThrottledTime = keys["nr_periods"], keys["nr_throttled"], time.Duration(keys["throttled_time"])
	}
	return nil
}

func (g *Group) pidStats(s *Stats) error {
	dir := g.v1["pids"]
	if dir == "" {
		dir = g.unified
	}
	if dir == "" {
		return nil
	}
	return readNumbers(dir, []number{{"pids.current", &s.PIDs.Current}, {"pids.max", &s.PIDs.Limit}})
}

func usec(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }
