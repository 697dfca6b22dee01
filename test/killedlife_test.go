package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// victim is what is killed while a verb works.
type victim string

const (
	theCommand victim = "the command"
	theMonitor victim = "the monitor"
	theInit    victim = "the first process"
)

// change is a verb that changes a container, and what that has to be before.
type change struct {
	args   []string
	before string // running, exited or paused
}

func changes() []change {
	return []change{
		{[]string{"start", "box"}, "exited"},
		{[]string{"stop", "-t", "1", "box"}, "running"},
		{[]string{"restart", "-t", "0", "box"}, "running"},
		{[]string{"exec", "box", "sh", "-c", "sleep 0.02"}, "running"},
		{[]string{"rm", "-f", "box"}, "running"},
		{[]string{"pause", "box"}, "running"},
		{[]string{"unpause", "box"}, "paused"},
		{[]string{"network", "connect", "other", "box"}, "running"},
		{[]string{"network", "disconnect", "own", "box"}, "running"},
	}
}

// TestKilledLife kills the command, the monitor or the first process at random moments while a verb changes a container. Whatever comes of it, ps
// says what the kernel says, system start brings back what should run, rm -f removes the container, and nothing else is left.
func TestKilledLife(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\n")
		m.camada("build", "-q", "-t", "app", "ctx")
		k := &killer{m: m, random: seeded(t)}
		k.begin()
		n := bySize(10, 200)
		for _, c := range changes() {
			took, hits := k.measure(c), 0
			for i := range n {
				whom := []victim{theCommand, theMonitor, theCommand, theInit}[i%4]
				if k.attempt(c, whom, i/4%2 == 0, time.Duration(k.random.Int64N(int64(took)))) {
					hits++
				}
				if t.Failed() {
					return
				}
			}
			m.whole(fmt.Sprintf("after kills in %v", c.args))
			m.accounted(fmt.Sprintf("after kills in %v", c.args))
			t.Logf("%v: %d of %d times somebody was killed in %v", c.args, hits, n, took)
			if hits == 0 {
				t.Errorf("%v: nobody was killed", c.args)
			}
		}
	})
}

// killer kills.
type killer struct {
	m      *machine
	random *rand.Rand
}

// begin makes two networks, whose bridges stay.
func (k *killer) begin() {
	m := k.m
	m.t.Helper()
	m.camada("network", "create", "own")
	m.camada("network", "create", "other")
	k.up(false)
	m.camada("network", "connect", "other", "box")
	m.camada("rm", "-f", "box")
	m.collect()
	m.links = m.interfaces()
	m.stays, _ = filepath.Glob("/run/camada/network/*/*")
}

// up starts a container; one that is to be started again whenever it ends, when always is set.
func (k *killer) up(always bool) {
	k.m.t.Helper()
	policy := "no"
	if always {
		policy = "unless-stopped"
	}
	k.m.camada("run", "-d", "--name", "box", "--network", "own", "-p", "127.0.0.1::80", "--restart", policy, "--init", "app", "sh", "-c", "sleep 1000 & wait")
}

// ready brings a container into the state that a change wants.
func (k *killer) ready(c change, always bool) {
	k.m.t.Helper()
	k.up(always)
	switch c.before {
	case "exited":
		k.m.camada("stop", "-t", "0", "box")
	case "paused":
		k.m.camada("pause", "box")
	}
}

// measure says how long a change takes when nobody is killed.
func (k *killer) measure(c change) time.Duration {
	k.m.t.Helper()
	k.ready(c, false)
	began := time.Now()
	k.m.camada(c.args...)
	took := time.Since(began)
	if c.args[0] != "rm" {
		k.m.camada("rm", "-f", "box")
	}
	return took
}

// attempt makes a change, kills somebody meanwhile, and looks what came of it. It reports whether there was somebody to be killed.
func (k *killer) attempt(c change, whom victim, always bool, after time.Duration) (hit bool) {
	m := k.m
	m.t.Helper()
	k.ready(c, always)
	id := m.camada("ps", "-aq", "--no-trunc")
	when := fmt.Sprintf("after %v, in which %s was killed after %v (started again: %t),", c.args, whom, after, always)
	var out bytes.Buffer
	cmd := m.command(c.args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	m.must(cmd.Start())
	time.Sleep(after)
	switch whom {
	case theCommand:
		_ = cmd.Process.Kill()
	case theMonitor:
		pids := k.monitors()
		hit = k.kill(pids...)
		k.dead(pids)
	case theInit:
		if pids := k.inside(id); len(pids) > 0 {
			hit = k.kill(slices.Min(pids))
		}
	}
	_ = cmd.Wait()
	hit = hit || cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled()
	k.truth(when, id)
	r := m.run("system", "start")
	if r.code != 0 {
		m.t.Errorf("%s %v", when, r)
	}
	k.truth(when+" and system start,", id)
	if verb := c.args[0]; always && (verb == "exec" || strings.HasSuffix(verb, "pause") || verb == "network") && k.state(id) == "" {
		m.t.Errorf("%s and %v, the container does not run: %s", when, r, m.camada("inspect", "-f", "{{json .State}}", id))
	}
	if r := m.run("rm", "-f", "box"); r.code != 0 && !strings.Contains(r.errors, "no such container") {
		m.t.Errorf("%s %v", when, r)
	}
	m.none(when+" and rm -f,", m.leftovers)
	if left := m.camada("ps", "-aq"); left != "" {
		m.t.Errorf("%s and rm -f, there is the container %s", when, left)
	}
	if m.t.Failed() {
		m.t.Logf("it said: %s", out.String())
	}
	return hit
}

func (k *killer) kill(pids ...int) bool {
	hit := false
	for _, pid := range pids {
		hit = syscall.Kill(pid, syscall.SIGKILL) == nil || hit
	}
	return hit
}

// dead waits until processes that were killed are dead: one that waits for a disk dies only then, and counts as alive until it does.
func (k *killer) dead(pids []int) {
	k.m.none("after a kill", func() (alive []string) {
		for _, pid := range pids {
			if k.living(pid) {
				alive = append(alive, fmt.Sprintf("process %d lives", pid))
			}
		}
		return alive
	})
}

// living reports whether one of a process's threads is more than a zombie.
func (k *killer) living(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return slices.ContainsFunc(threads, func(name string) bool {
		stat, err := os.ReadFile(name)
		state := bytes.LastIndexByte(stat, ')') + 2
		return err == nil && state < len(stat) && stat[state] != 'Z' && stat[state] != 'X'
	})
}

func (k *killer) monitors() (pids []int) {
	for pid := range k.m.processes() {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && bytes.Contains(b, []byte("container-monitor")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// inside are the processes in a container's control groups that are more than zombies.
func (k *killer) inside(id string) (pids []int) {
	for pid := range k.m.processes() {
		groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil || !bytes.Contains(groups, []byte(id)) {
			continue
		}
		if k.living(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// truth waits until ps says of a container what the kernel says: it runs when there are processes in its control group, and is paused when they stand
// still. A container that is being started again becomes one that runs.
func (k *killer) truth(when, id string) {
	m := k.m
	m.t.Helper()
	m.none(when, func() []string {
		says := m.camada("ps", "-a", "--no-trunc", "--format", "{{.State}} {{.Status}}", "--filter", "id="+id)
		is := k.state(id)
		switch {
		case is == "running" && strings.HasPrefix(says, "running Up "), is == "paused" && strings.HasPrefix(says, "paused Up ") && strings.HasSuffix(says, "(Paused)"):
		case is == "" && (says == "" || strings.HasPrefix(says, "exited Exited (")):
		default:
			return []string{fmt.Sprintf("ps says %q, the kernel %q", says, is)}
		}
		return nil
	})
}

// state is what the kernel says of a container.
func (k *killer) state(id string) string {
	if len(k.inside(id)) == 0 {
		return ""
	}
	for _, g := range k.m.groups() {
		if !strings.HasSuffix(g, id) {
			continue
		}
		events, _ := os.ReadFile(g + "/cgroup.events")
		freezer, _ := os.ReadFile(g + "/freezer.state")
		if bytes.Contains(events, []byte("frozen 1")) || bytes.Contains(freezer, []byte("FROZEN")) {
			return "paused"
		}
	}
	return "running"
}
