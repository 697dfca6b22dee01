package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/procs"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/docker/go-units"
)

// StatsRow is what one container uses. The texts are docker's; the numbers are for programs.
type StatsRow struct {
	Container, ID, Name        string
	CPUPerc, MemUsage, MemPerc string
	NetIO, BlockIO, PIDs       string
	// CPU is in percent of one processor; the others are in bytes.
	CPU                     float64
	Memory, MemoryLimit     uint64
	NetReceived, NetSent    uint64
	BlockRead, BlockWritten uint64
	Tasks                   uint64
	running                 bool
	fullID                  string
}

// FullID is the whole ID.
func (r StatsRow) FullID() string { return r.fullID }

// MarshalJSON gives what docker stats gives: the texts.
func (r StatsRow) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"Container": r.Container, "ID": r.ID, "Name": r.Name, "CPUPerc": r.CPUPerc, "MemUsage": r.MemUsage,
		"MemPerc": r.MemPerc, "NetIO": r.NetIO, "BlockIO": r.BlockIO, "PIDs": r.PIDs})
}

// Sampler reads what containers use, again and again.
type Sampler struct {
	e *Engine
	// names are those that were asked for; none are all containers, those that do not run too when all is set.
	names []string
	all   bool
	last  map[string]sample
}

// sample is how much processor time a container had used at a time.
type sample struct {
	at  time.Time
	cpu time.Duration
}

// Stats makes a Sampler for the named containers, or for all.
func (e *Engine) Stats(ctx context.Context, names []string, all bool) (*Sampler, error) {
	s := &Sampler{e: e, names: names, all: all, last: map[string]sample{}}
	for _, n := range names {
		if _, err := e.records.Get(ctx, n); err != nil {
			return nil, err
		}
	}
	_, err := s.Next(ctx)
	return s, err
}

// Next tells what the containers use now; of the processors, since the last call. Rows of containers that do not run have no figures.
func (s *Sampler) Next(ctx context.Context) ([]StatsRow, error) {
	list, err := s.containers(ctx)
	if err != nil {
		return nil, err
	}
	layout, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	rows := make([]StatsRow, 0, len(list))
	for i, c := range list {
		row := StatsRow{Container: c.Config.ID[:12], ID: c.Config.ID[:12], fullID: c.Config.ID, Name: c.Config.Name}
		if i < len(s.names) {
			row.Container = s.names[i]
		}
		if c.Running() {
			s.read(layout, c, &row)
		}
		row.texts()
		rows = append(rows, row)
	}
	return rows, nil
}

func (s *Sampler) containers(ctx context.Context) ([]*record.Container, error) {
	if len(s.names) == 0 {
		all, err := s.e.records.List(ctx)
		if err != nil || s.all {
			return all, err
		}
		var list []*record.Container
		for _, c := range all {
			if c.Running() {
				list = append(list, c)
			}
		}
		return list, nil
	}
	list := make([]*record.Container, 0, len(s.names))
	for _, n := range s.names {
		c, err := s.e.records.Get(ctx, n)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		if err != nil { // it was there before
			c = &record.Container{Config: record.Config{ID: strings.Repeat("0", 64), Name: n}}
		}
		list = append(list, c)
	}
	return list, nil
}

// read fills in the figures. What the control groups do not count, because no limit asked for it, is added up over the processes.
func (s *Sampler) read(layout cgroup.Layout, c *record.Container, row *StatsRow) {
	row.running = true
	var st cgroup.Stats
	var pids []int
	if g, err := groupIn(layout, c); err == nil {
		defer g.Close() //nolint:errcheck // only a descriptor
		st, _ = g.Stats()
		pids, _ = g.Pids()
		if io, known, err := g.IO(); err == nil && known {
			row.BlockRead, row.BlockWritten = io.Read, io.Written
		} else {
			row.BlockRead, row.BlockWritten = procs.IO(pids)
		}
	} else {
		pids, _ = procs.InPIDNamespaceOf(c.State.Pid)
		row.BlockRead, row.BlockWritten = procs.IO(pids)
	}
	list := procs.List(pids)
	row.Tasks, row.Memory, row.MemoryLimit = st.PIDs.Current, st.Memory.Usage-min(st.Memory.Usage, st.Memory.Inactive), st.Memory.Limit
	cpu := st.CPU.Usage
	for _, p := range list {
		if st.PIDs.Current == 0 {
			row.Tasks += uint64(p.Threads)
		}
		if st.Memory.Usage == 0 {
			row.Memory += p.RSS
		}
		if st.CPU.Usage == 0 {
			cpu += p.CPU
		}
	}
	if total := memTotal(); row.MemoryLimit == 0 || row.MemoryLimit > total {
		row.MemoryLimit = total
	}
	row.NetReceived, row.NetSent, _ = procs.Net(c.State.Pid)
	now := time.Now()
	if last, ok := s.last[c.Config.ID]; ok && cpu >= last.cpu && now.After(last.at) {
		row.CPU = 100 * float64(cpu-last.cpu) / float64(now.Sub(last.at))
	}
	s.last[c.Config.ID] = sample{now, cpu}
}

// texts are the figures in docker's words.
func (r *StatsRow) texts() {
	const none = "--"
	if !r.running {
		r.CPUPerc, r.MemPerc, r.PIDs = none, none, none
		r.MemUsage, r.NetIO, r.BlockIO = none+" / "+none, none, none
		return
	}
	percent := 0.0
	if r.MemoryLimit > 0 {
		percent = 100 * float64(r.Memory) / float64(r.MemoryLimit)
	}
	r.CPUPerc, r.MemPerc, r.PIDs = fmt.Sprintf("%.2f%%", r.CPU), fmt.Sprintf("%.2f%%", percent), strconv.FormatUint(r.Tasks, 10)
	r.MemUsage = units.BytesSize(float64(r.Memory)) + " / " + units.BytesSize(float64(r.MemoryLimit))
	pair := func(a, b uint64) string {
		return units.HumanSizeWithPrecision(float64(a), 3) + " / " + units.HumanSizeWithPrecision(float64(b), 3)
	}
	r.NetIO, r.BlockIO = pair(r.NetReceived, r.NetSent), pair(r.BlockRead, r.BlockWritten)
}

// memTotal is the memory of the machine in bytes.
func memTotal() uint64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			n, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}
