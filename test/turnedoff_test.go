package test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTurnedOff tells those who look after containers to end, as systemd tells all processes when the machine is turned off: each stops its
// container in order, nothing is started again, and what should run is brought back by system start.
func TestTurnedOff(t *testing.T) {
	const obeys = `trap "echo asked; exit 7" %s; sleep 1000 & echo ready; wait`
	list := []struct {
		name, program string
		flags         []string
		code          int
		back          bool // by system start
	}{
		{"always", fmt.Sprintf(obeys, "TERM"), []string{"--restart", "always"}, 7, true},
		{"unless", fmt.Sprintf(obeys, "USR1"), []string{"--restart", "unless-stopped", "--stop-signal", "USR1"}, 7, true},
		{"failed", fmt.Sprintf(obeys, "TERM"), []string{"--restart", "on-failure:3"}, 7, true},
		{"paused", fmt.Sprintf(obeys, "TERM"), []string{"--memory", "32m"}, 7, false},
		{"terminal", fmt.Sprintf(obeys, "TERM"), []string{"-t"}, 7, false},
		{"deaf", "trap : TERM; echo ready; while :; do sleep 1; done", []string{"--stop-timeout", "1"}, 137, false},
		{"between", "echo ready; exit 3", []string{"--restart", "always"}, 3, true},
		{"removed", fmt.Sprintf(obeys, "TERM"), []string{"--rm"}, 0, false},
	}
	onMachine(t, func(m *machine) {
		m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\n")
		m.camada("build", "-q", "-t", "app", "ctx")
		var names []string
		for _, c := range list {
			names = append(names, c.name)
			args := append([]string{"run", "-d", "--name", c.name, "--network", "none"}, c.flags...)
			m.camada(append(args, "app", "sh", "-c", c.program)...)
		}
		m.none("after the start,", func() (silent []string) {
			for _, name := range names {
				if !strings.Contains(m.camada("logs", name), "ready") {
					silent = append(silent, name)
				}
			}
			return silent
		})
		m.camada("pause", "paused")
		m.none("of what ends at once,", func() (left []string) { // it waits a second or more by then
			if s := m.camada("inspect", "-f", "{{.State.Status}} {{ge .RestartCount 4}}", "between"); s != "restarting true" {
				left = append(left, s)
			}
			return left
		})
		k := &killer{m: m}
		for _, pid := range k.monitors() {
			m.must(syscall.Kill(pid, syscall.SIGTERM))
		}
		m.none("after all were told to end,", func() (left []string) {
			for _, pid := range k.monitors() {
				left = append(left, fmt.Sprintf("monitor %d", pid))
			}
			return left
		})
		var back []string
		for _, c := range list {
			if c.back {
				back = append(back, c.name)
			}
			if c.name == "removed" {
				if r := m.run("inspect", "removed"); r.code == 0 {
					t.Error("what was to be removed at its end is there")
				}
				continue
			}
			if got, want := m.camada("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", c.name), fmt.Sprintf("exited %d", c.code); got != want {
				t.Errorf("%s: %s, want %s", c.name, got, want)
			}
			if logs := m.camada("logs", c.name); c.code == 7 && !strings.Contains(logs, "asked") {
				t.Errorf("%s: it was not asked to end: %s", c.name, logs)
			}
		}
		m.none("of the containers,", m.living)
		time.Sleep(200 * time.Millisecond) // longer than the first wait of a policy
		if running := m.camada("ps", "-q"); running != "" {
			t.Errorf("started again by itself: %s", running)
		}
		if got, want := m.camada("system", "start"), strings.Join(back, "\n"); got != want {
			t.Errorf("system start: %q, want %q", got, want)
		}
		m.camada(append([]string{"rm", "-f"}, names[:len(names)-1]...)...)
		m.none("after rm -f,", m.leftovers)
	})
}
