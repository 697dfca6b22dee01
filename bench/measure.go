package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// scene is one piece of work that all contenders do.
type scene struct {
	name, title string
	// contenders are camada first, then the peers.
	contenders func(*bench) []contender
	// rounds, when not 0, is the most rounds that are worth the time.
	rounds int
	// advisories says that it needs exports of OSV.
	advisories bool
}

// contender does a scene's work.
type contender struct {
	name string
	// before prepares a round and is not measured.
	before func(ctx context.Context, round int) error
	// do is the work.
	do func(ctx context.Context, round int) error
	// after, when not nil, takes away what stood through all rounds.
	after func(ctx context.Context) error
	// size, when not nil, is measured in place of time, in bytes, once at the end.
	size func() (int64, error)
	// daemon is the name of the daemon whose CPU time counts too.
	daemon string
}

// sample is one round of one contender.
type sample struct {
	Wall float64 `json:"wall"` // seconds
	CPU  float64 `json:"cpu"`  // seconds
	// Memory is the largest resident size of client and daemon, in bytes.
	Memory int64 `json:"memory"`
}

// row is one contender's result.
type row struct {
	Contender string   `json:"contender"`
	Samples   []sample `json:"samples,omitempty"`
	Min       float64  `json:"min,omitempty"`
	Median    float64  `json:"median,omitempty"`
	CPU       float64  `json:"cpu,omitempty"`
	Memory    int64    `json:"memory,omitempty"`
	Bytes     int64    `json:"bytes,omitempty"`
	Failed    string   `json:"failed,omitempty"`
}

type result struct {
	Scene string `json:"scene"`
	Title string `json:"title"`
	Rows  []row  `json:"rows"`
}

type bench struct {
	dir, camada string
	// advisories has exports of OSV: below it, all.zip in a directory for each ecosystem.
	advisories string
	// short is a directory with a short name: podman takes at most 50 characters.
	short   string
	rounds  int
	absent  map[string]string
	daemons map[string]*daemon
	// started counts daemons, and clientMemory is the largest program since it was set to 0.
	started      int
	clientMemory int64
}

func (b *bench) measure(ctx context.Context, s scene) (result, error) {
	res := result{Scene: s.name, Title: s.title}
	contenders := s.contenders(b)
	rows := make([]row, len(contenders))
	for i, c := range contenders {
		rows[i].Contender = c.name
	}
	rounds := b.rounds
	if s.rounds > 0 && s.rounds < rounds {
		rounds = s.rounds
	}
	for round := 0; round <= rounds; round++ { // round 0 warms up
		for i, c := range contenders {
			if rows[i].Failed != "" {
				continue
			}
			sm, err := b.once(ctx, c, round)
			if ctx.Err() != nil {
				return res, ctx.Err()
			}
			if err != nil {
				if i == 0 {
					return res, fmt.Errorf("%s: %w", c.name, err)
				}
				rows[i].Failed = err.Error()
				fmt.Fprintf(os.Stderr, "   %s failed: %v\n", c.name, err)
				continue
			}
			if round > 0 {
				rows[i].Samples = append(rows[i].Samples, sm)
			}
		}
	}
	for i, c := range contenders {
		r := &rows[i]
		if c.after != nil {
			if err := c.after(ctx); err != nil && r.Failed == "" {
				r.Failed = err.Error()
			}
		}
		if r.Failed != "" {
			continue
		}
		if c.size != nil {
			n, err := c.size()
			if err != nil {
				r.Failed = err.Error()
			}
			r.Bytes = n
			continue
		}
		r.Min, r.Median, r.CPU = summary(r.Samples)
		for _, sm := range r.Samples {
			r.Memory = max(r.Memory, sm.Memory)
		}
		fmt.Fprintf(os.Stderr, "   %-22s min %8.1f ms  median %8.1f ms  cpu %8.1f ms\n", r.Contender, r.Min*1e3, r.Median*1e3, r.CPU*1e3)
	}
	res.Rows = rows
	return res, nil
}

func (b *bench) once(ctx context.Context, c contender, round int) (sample, error) {
	if c.before != nil {
		if err := c.before(ctx, round); err != nil {
			return sample{}, err
		}
	}
	// What the one before has left to be written is not this one's work.
	syscall.Sync()
	daemonBefore := b.daemonCPU(c.daemon)
	childBefore := childrenCPU()
	b.clientMemory = 0
	start := time.Now()
	if err := c.do(ctx, round); err != nil {
		return sample{}, err
	}
	wall := time.Since(start).Seconds()
	return sample{Wall: wall, CPU: childrenCPU() - childBefore + b.daemonCPU(c.daemon) - daemonBefore, Memory: b.clientMemory + b.daemonMemory(c.daemon)}, nil
}

func summary(samples []sample) (lowest, median, cpu float64) {
	var walls, cpus []float64
	for _, s := range samples {
		walls, cpus = append(walls, s.Wall), append(cpus, s.CPU)
	}
	if len(walls) == 0 {
		return 0, 0, 0
	}
	slices.Sort(walls)
	slices.Sort(cpus)
	return walls[0], walls[len(walls)/2], cpus[len(cpus)/2]
}

// command runs a program quietly; its output is part of the error.
func (b *bench) command(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	err := cmd.Run()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		b.clientMemory = max(b.clientMemory, usage.Maxrss<<10)
	}
	if err != nil {
		text := strings.TrimSpace(errOut.String())
		if n := len(text) - 600; n > 0 {
			text = "..." + text[n:]
		}
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
	}
	return nil
}

// Fields of /proc/<pid>/stat, counted from 1 as in proc(5).
const (
	statState  = 3
	statUtime  = 14
	statStime  = 15
	statCutime = 16
	statCstime = 17
)

// childrenCPU is the CPU time of all ended children of this process, in seconds.
func childrenCPU() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// processCPU is the CPU time of a process and its ended children, in seconds.
func processCPU(pid int) float64 {
	return procTicks(strconv.Itoa(pid), statUtime, statStime, statCutime, statCstime)
}

// processPeak is the largest resident size that a process had, in bytes.
func processPeak(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kb := int64(0)
	_, _ = fmt.Sscan(rest, &kb)
	return kb << 10
}

// procTicks adds fields up, in seconds (the kernel counts in hundredths).
func procTicks(pid string, fields ...int) float64 {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // begins with the state
	sum := int64(0)
	for _, n := range fields {
		if n-statState < len(f) {
			v, _ := strconv.ParseInt(f[n-statState], 10, 64)
			sum += v
		}
	}
	return float64(sum) / 100
}
