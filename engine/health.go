package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/record"
	"golang.org/x/sys/unix"
)

// Docker's values of a health check.
const (
	healthInterval      = 30 * time.Second
	healthTimeout       = 30 * time.Second
	healthStartInterval = 5 * time.Second
	healthRetries       = 3
	healthLog           = 5    // results
	healthOutput        = 4096 // bytes of one
)

// healthCheck is what is checked, and how.
type healthCheck struct {
	args                                          []string
	interval, timeout, startPeriod, startInterval time.Duration
	retries                                       int
	onFailure                                     string
}

// healthCheck joins the image's health check and the user's; false when there is none.
func (l *launch) healthCheck() (healthCheck, bool) {
	o := l.opts.Health
	h := healthCheck{
		interval: healthInterval, timeout: healthTimeout, startInterval: healthStartInterval, retries: healthRetries, onFailure: orElse(o.OnFailure, HealthNone),
	}
	if o.Disable {
		return h, false
	}
	test := []string(nil)
	if img := l.Image.Healthcheck; img != nil {
		test = img.Test
		h.set(img.Interval, img.Timeout, img.StartPeriod, img.StartInterval, img.Retries)
	}
	h.set(o.Interval, o.Timeout, o.StartPeriod, o.StartInterval, o.Retries)
	if o.Cmd != "" {
		test = []string{"CMD-SHELL", o.Cmd}
	}
	if len(test) < 2 {
		return h, false
	}
	switch test[0] {
	case "CMD":
		h.args = test[1:]
	case "CMD-SHELL":
		shell := l.Image.Shell
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		h.args = append(append([]string{}, shell...), strings.Join(test[1:], " "))
	default:
		return h, false
	}
	return h, true
}

func (h *healthCheck) set(interval, timeout, startPeriod, startInterval time.Duration, retries int) {
	for _, f := range []struct {
		to   *time.Duration
		from time.Duration
	}{{&h.interval, interval}, {&h.timeout, timeout}, {&h.startPeriod, startPeriod}, {&h.startInterval, startInterval}} {
		if f.from > 0 {
			*f.to = f.from
		}
	}
	if retries > 0 {
		h.retries = retries
	}
}

// check runs the health check beside the container's process; the returned function ends that.
func (k *keeper) check(ctx context.Context, proc *container.Process) func() {
	h, ok := k.l.healthCheck()
	if !ok {
		return func() {}
	}
	c := &checker{healthCheck: h, k: k, proc: proc, begun: time.Now(), health: record.Health{Status: record.HealthStarting}}
	_ = k.l.c.SetHealth(&c.health) // a full disk must not end the container
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() { c.run(ctx) })
	return func() {
		cancel()
		work.Wait()
	}
}

// checker checks one process of a container.
type checker struct {
	healthCheck
	k      *keeper
	proc   *container.Process
	begun  time.Time
	health record.Health
}

func (c *checker) run(ctx context.Context) {
	for {
		wait := c.interval
		if c.starting() {
			wait = c.startInterval
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-c.proc.Done():
		case <-t.C:
		}
		t.Stop()
		select {
		case <-ctx.Done():
			return
		case <-c.proc.Done():
			return
		default:
		}
		if paused(c.k.l.c) { // what stands still cannot answer
			continue
		}
		res := c.probe(ctx)
		if ctx.Err() != nil {
			return
		}
		if res.ExitCode < 0 && paused(c.k.l.c) { // it was paused in the middle
			continue
		}
		before := c.health.Status
		c.add(res)
		_ = c.k.l.c.SetHealth(&c.health)
		if c.health.Status == before {
			continue
		}
		c.k.e.noteContainer(ctx, c.k.l.c, "health_status: "+c.health.Status, nil)
		if c.health.Status == record.HealthUnhealthy && c.act() {
			return
		}
	}
}

// starting reports whether failures do not count yet.
func (c *checker) starting() bool {
	return c.startPeriod > 0 && c.health.Status == record.HealthStarting && time.Since(c.begun) < c.startPeriod
}

// add takes a result into account.
func (c *checker) add(res record.HealthResult) {
	h := &c.health
	if h.Log = append(h.Log, res); len(h.Log) > healthLog {
		h.Log = h.Log[len(h.Log)-healthLog:]
	}
	switch {
	case res.ExitCode == 0:
		h.Status, h.FailingStreak = record.Healthy, 0
	case h.Status == record.HealthStarting && res.Start.Sub(c.begun) < c.startPeriod:
	default:
		if h.FailingStreak++; h.FailingStreak >= c.retries {
			h.Status = record.HealthUnhealthy
		}
	}
}

// act does what the user wants of an unhealthy container; true when it was ended.
func (c *checker) act() bool {
	switch c.onFailure {
	case HealthKill:
	case HealthRestart:
		c.k.again.Store(true)
	case HealthStop:
		_ = c.k.l.c.RequestStop()
		c.k.stopNow(c.proc)
		return true
	default:
		return false
	}
	_ = c.proc.Signal(unix.SIGKILL)
	return true
}

// probe runs the check once. Whatever it started and did not end in time is killed.
func (c *checker) probe(ctx context.Context) record.HealthResult {
	res := record.HealthResult{Start: time.Now().UTC(), ExitCode: -1}
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	out, code, err := c.exec(limited)
	res.End, res.Output = time.Now().UTC(), out
	switch {
	case limited.Err() != nil && ctx.Err() == nil:
		res.Output = fmt.Sprintf("Health check exceeded timeout (%s)", c.timeout)
		if out != "" {
			res.Output += ": " + out
		}
	case err != nil:
		res.Output = err.Error()
	default:
		res.ExitCode = code
	}
	return res
}

func (c *checker) exec(ctx context.Context) (out string, code int, err error) {
	rec := c.k.l.c
	s, err := c.k.e.execSpec(ctx, rec, ExecOptions{Args: c.args})
	if err != nil {
		return "", 0, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	proc, err := c.k.e.execIn(ctx, rec, s, container.ExecConfig{Pid: c.proc.Pid(), Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		return "", 0, err
	}
	text := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(r, healthOutput))
		text <- string(b)
		_, _ = io.Copy(io.Discard, r)
	}()
	status, err := proc.Wait(ctx)
	if err != nil {
		err = errors.Join(err, proc.KillSession())
		_, _ = proc.Wait(context.WithoutCancel(ctx))
	}
	const moment = 200 * time.Millisecond // what it left running can hold the pipe
	_ = r.SetReadDeadline(time.Now().Add(moment))
	return <-text, status.Code, err
}
