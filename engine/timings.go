package engine

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Timing is how long one stage of a start took.
type Timing struct {
	Stage string        `json:"stage"`
	Took  time.Duration `json:"took"`
}

// StageProgram is the stage in which the program of a container in the foreground runs: it belongs to no start.
const StageProgram = "the program"

// Timings collects where the time of a start goes. A nil one collects nothing.
type Timings struct {
	mu     sync.Mutex
	last   time.Time
	stages []Timing
}

// NewTimings begins to count. What the process did before is a stage of its own: the processor time that it took.
func NewTimings() *Timings {
	t := &Timings{last: time.Now()}
	var used unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &used) == nil {
		t.stages = append(t.stages, Timing{"start of camada", time.Duration(used.Nano())})
	}
	return t
}

// Mark ends a stage that began with the end of the one before.
func (t *Timings) Mark(stage string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.stages = append(t.stages, Timing{stage, now.Sub(t.last)})
	t.last = now
}

// Stages are those that have ended, in their order.
func (t *Timings) Stages() []Timing {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Timing(nil), t.stages...)
}

// take ends a stage of which another process knows the parts. What is left of it is that process's own start.
func (t *Timings) take(rest string, parts []Timing) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	left := now.Sub(t.last)
	for _, p := range parts {
		left -= p.Took
	}
	t.stages = append(append(t.stages, Timing{rest, max(left, 0)}), parts...)
	t.last = now
}
