package test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/container/cgroup"
)

// fewDescriptors is a low limit of open files, RLIMIT_NOFILE.
func (h *hardship) fewDescriptors() {
	for _, n := range []int{64, 32, 16, 8} {
		h.when = fmt.Sprintf("with %d descriptors", n)
		h.wrap = []string{"prlimit", fmt.Sprintf("--nofile=%d:%d", n, n)}
		h.either("too many open files", "run", "--rm", "-p", "80", "app")
		h.either("too many open files", "run", "--rm", "-d", "-p", "80", "app")
	}
	h.wrap = []string{"prlimit", "--nofile=64:64"}
	h.works("it works", "run", "--rm", "-p", "80", "-m", "64m", "app")
}

// either runs a command that does what it is to do, or says why it cannot.
func (h *hardship) either(says string, args ...string) {
	h.m.t.Helper()
	r := h.run(args...)
	if r.code != 0 && (r.code != 125 || !strings.HasPrefix(r.errors, "camada: ") || !strings.Contains(r.errors, says)) {
		h.m.t.Errorf("%s: want it to work, or exit code 125 and %q: %v", h.when, says, r)
	}
	h.clean(args)
}

// TestFewTasks runs containers under a low limit of processes and threads of the caller's control group, pids.max. With less than five Go's runtime
// ends the program before its first line, and says of itself that it cannot have a thread.
func TestFewTasks(t *testing.T) {
	onMachine(t, func(m *machine) {
		dir := ownGroup(m, "pids", "pids.max")
		if dir == "" {
			t.Skip("no control group with pids.max can be made")
		}
		m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\nCMD [\"echo\", \"it works\"]\n")
		m.camada("build", "-q", "-t", "app", "ctx")
		m.camada("run", "--rm", "-p", "80", "app") // what stays of the first one is there
		m.env = append(m.env, "GOMAXPROCS=2")      // more need more
		(&hardship{m: m}).fewTasks(dir)
	})
}

// fewTasks is given the control group.
func (h *hardship) fewTasks(dir string) {
	m := h.m
	limit := func(n string) {
		m.must(os.WriteFile(dir+"/pids.max", []byte(n), 0))
		h.when = "with pids.max " + n
		h.wrap = []string{"sh", "-c", `echo $$ > "$0/cgroup.procs"; exec "$@"`, dir}
	}
	says := "processes and threads cannot be started: pids.max of " + dir
	limit("9")
	h.fails(125, []string{says, "is 9, of which "}, "run", "--rm", "-p", "80", "app")
	h.fails(125, []string{says}, "run", "--rm", "-d", "app")
	h.fails(125, []string{says}, "build", "-q", "ctx")
	limit("12")
	h.works("", "ps", "-aq")
	h.runtimeOf(says, limit)
	for _, n := range []string{"12", "14", "16", "18", "20"} {
		limit(n)
		h.either("cannot be started: pids.max of "+dir, "run", "--rm", "-p", "80", "app")
		h.either("cannot be started: pids.max of "+dir, "run", "--rm", "-d", "-p", "80", "app")
	}
	limit("60")
	h.works("", "run", "-d", "--name", "box", "app", "sleep", "1000")
	limit("20")
	for range 3 { // the monitor has what it needs
		h.either(says, "exec", "box", "true")
	}
	h.works("true", "inspect", "--format", "{{.State.Running}}", "box")
	h.works("box", "rm", "-f", "box")

	// Many at once take the room from each other after they saw it.
	limit("40")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { h.run("run", "--rm", "--network", "none", "app") })
	}
	all.Wait()
	h.when, h.wrap = "with room again", nil
	m.collect()
	if left := m.camada("ps", "-aq"); left != "" {
		m.t.Errorf("after many at once there are left: %s", left)
	}
	h.works("it works", "run", "--rm", "app")
	m.accounted("with room again")
}

// runtimeOf makes a container of the OCI runtime with room, and looks at it and ends it with nearly none.
func (h *hardship) runtimeOf(says string, limit func(string)) {
	m := h.m
	m.write("bundle/config.json", `{"ociVersion": "1.2.0", "root": {"path": "`+m.path("ctx/rootfs")+`", "readonly": true}, "process": {"cwd": "/", "args": ["sleep", "1000"]},
		"linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]}, "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}]}`)
	limit("60")
	create := m.command("runtime", "create", "--bundle", m.path("bundle"), "web") // what it starts would keep a pipe open
	m.must(create.Run())
	h.works("", "runtime", "start", "web")
	limit("12")
	h.fails(1, []string{says}, "runtime", "--log-format", "json", "--log", m.path("log"), "create", "--bundle", m.path("bundle"), "other")
	if log, err := os.ReadFile(m.path("log")); err != nil || !strings.Contains(string(log), says) {
		m.t.Errorf("the log says %q (%v), want %q", log, err, says)
	}
	if r := h.run("runtime", "state", "web"); !strings.Contains(r.out, `"running"`) {
		m.t.Errorf("%s: %v", h.when, r)
	}
	h.works("", "runtime", "kill", "web", "KILL")
	for range 500 {
		if r := h.run("runtime", "state", "web"); r.code != 0 || strings.Contains(r.out, `"stopped"`) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	h.works("", "runtime", "delete", "web")
	h.works("[]", "runtime", "list", "--format", "json")
	m.must(os.Remove(m.path("log")))
	m.must(os.RemoveAll(m.path("bundle")))
}

// TestFewMemory runs containers under a low limit of memory of the caller's control group: the kernel kills commands and monitors at any point.
// What ps says of a container is so, and nothing is left that gc and rm -f do not remove.
func TestFewMemory(t *testing.T) {
	onMachine(t, func(m *machine) {
		dir, file := ownGroup(m, "memory", "memory.limit_in_bytes"), "memory.limit_in_bytes"
		if dir == "" {
			dir, file = ownGroup(m, "memory", "memory.max"), "memory.max"
		}
		if dir == "" {
			t.Skip("no control group that limits memory can be made")
		}
		m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\nCMD [\"echo\", \"it works\"]\n")
		m.camada("build", "-q", "-t", "app", "ctx")
		m.camada("run", "--rm", "-p", "80", "app")
		h := &hardship{m: m, wrap: []string{"sh", "-c", `echo $$ > "$0/cgroup.procs"; exec "$@"`, dir}}
		killed := 0
		for _, kib := range []int{3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000, 12000, 15000} {
			m.must(os.WriteFile(dir+"/"+file, fmt.Append(nil, kib<<10), 0))
			for i, args := range [][]string{{"run", "--rm", "-p", "80", "app"}, {"run", "-d", "-p", "80", "--name", fmt.Sprint("box", kib), "app", "sleep", "1000"}} {
				r := h.run(args...)
				// The kernel kills, or refuses a new process the memory for its tables.
				if r.code == -1 || strings.Contains(r.errors, "ended before it started") || r.code == 125 && strings.Contains(r.errors, "cannot allocate memory") {
					killed++
				} else if r.code != 0 || i == 0 && r.out != "it works\n" {
					t.Errorf("with %d KiB: %v", kib, r)
				}
			}
		}
		if killed == 0 {
			t.Error("nobody was killed")
		}
		for line := range strings.Lines(m.camada("ps", "-a", "--format", "{{.Names}} {{.State}}")) {
			name, state, _ := strings.Cut(strings.TrimSpace(line), " ")
			if r := m.run("exec", name, "true"); (r.code == 0) != (state == "running") {
				t.Errorf("%s is %s: %v", name, state, r)
			}
			m.camada("rm", "-f", name)
		}
		m.collect()
		m.accounted("after kills for lack of memory")
	})
}

// ownGroup makes a control group of a controller that has a file; "" when none can be made.
func ownGroup(m *machine, controller, file string) string {
	layout, err := cgroup.Detect()
	m.must(err)
	top := layout.V1[controller]
	if top == "" {
		top = layout.Unified
	}
	if top == "" {
		return ""
	}
	dir, err := os.MkdirTemp(top, "camada-test-")
	if err != nil {
		return ""
	}
	m.t.Cleanup(func() { _ = os.Remove(dir) })
	if _, err := os.Stat(dir + "/" + file); err != nil {
		return ""
	}
	return dir
}
