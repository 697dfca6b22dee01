package test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// lives loads the image and does all that people do with containers.
func (e *engine) lives(archive string) {
	e.run("load", "-i", archive)
	e.t.Cleanup(func() { _, _, _ = e.try("", "rm", "-f", "life", "oom") })
	before := e.mounts()
	for _, c := range []struct {
		name, stdin string
		flags       []string
		script      string
		code        int
		want        string
	}{
		{name: "exit code and standard input", stdin: "hello\n", flags: []string{"-i"}, script: "cat; echo end; exit 7", code: 7, want: "hello\nend"},
		{name: "confined", flags: []string{
			"-t", "-u", "app", "-w", "/tmp", "-h", "named", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only", "--tmpfs", "/t:size=1m,mode=1777",
			"-v", e.context + ":/ctx:ro", "--ulimit", "nofile=100:200", "--ulimit", "nproc=500:500", "--sysctl", "net.ipv4.ip_forward=1",
		}, script: `busybox tty; id -u; pwd; hostname; grep -e CapEff -e CapBnd -e NoNewPrivs -e Seccomp: /proc/self/status | busybox tr '\n\t' ' '
			echo; touch /t/x && echo made; touch /x 2>/dev/null || echo refused; test -f /ctx/Dockerfile && echo there; touch /ctx/x 2>/dev/null || echo refused
			echo $(ulimit -n) $(ulimit -Hn) $(cat /proc/sys/net/ipv4/ip_forward)`,
			want: "/dev/pts/0\r\n1000\r\n/tmp\r\nnamed\r\nCapEff: 0000000000000000 CapBnd: 0000000000000000 NoNewPrivs: 1 Seccomp: 2 \r\n" +
				"made\r\nrefused\r\nthere\r\nrefused\r\n100 200 1"},
		{name: "privileged, in namespaces of the host", flags: []string{"--privileged", "--pid", "host", "--uts", "host"},
			script: "grep -e Seccomp: -e NoNewPrivs /proc/self/status; mount -t tmpfs t /tmp && echo mounted; test -d /proc/" + strconv.Itoa(os.Getpid()) + " && echo seen",
			want:   "NoNewPrivs:\t0\nSeccomp:\t0\nmounted\nseen"},
	} {
		e.t.Run(c.name, func(t *testing.T) {
			args := append(append([]string{"run", "--rm", "--network", "none"}, c.flags...), "img:1", "sh", "-c", c.script)
			out, messages, code := e.in(t).try(c.stdin, args...)
			if code != c.code || out != c.want {
				t.Errorf("exit code %d, want %d; says %q, want %q\n%s", code, c.code, out, c.want, messages)
			}
		})
	}
	for program, want := range map[string]int{"nosuch": 127, "/nosuch": 127, "/etc/passwd": 126, "/etc": 126} {
		if _, messages, code := e.try("", "run", "--rm", "--network", "none", "img:1", program); code != want {
			e.t.Errorf("run %s: exit code %d, want %d: %s", program, code, want, messages)
		}
	}
	e.onTerminal("sized", resized, 5, "run", "-it", "--rm", "--network", "none", "img:1", "sh")
	e.t.Run("life", func(t *testing.T) { e.in(t).life() })
	if e.limits {
		e.t.Run("out of memory", func(t *testing.T) { e.in(t).exhaust() })
	}
	e.nothingLeft(before)
}

// loop is a program that tells of signals.
const loop = `trap "echo got it" USR1; trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.05; done`

// life is that of a container in the background.
func (e *engine) life() {
	t := e.t
	args := []string{"run", "-d", "--name", "life", "--network", "none"}
	if e.limits {
		args = append(args, "--memory", "64m", "--memory-swap", "64m", "--pids-limit", "50", "--cpu-shares", "512", "--cpus", "0.5")
	}
	if e.device() {
		args = append(args, "--device", fuse+":/dev/mine:r")
	}
	id := e.run(append(args, "img:1", "sh", "-c", loop)...)
	logs := func(text string) func() bool {
		return func() bool { return strings.Contains(e.run("logs", "life"), text) }
	}
	until(t, "the program says ready", logs("ready"))
	pid := e.run("inspect", "-f", "{{.State.Pid}}", "life")
	if len(e.kept(id)) != 1 {
		t.Errorf("camada keeps nothing of the container in %s", e.states)
	}
	for range 5 { // as a program that ends at once
		if _, messages, code := e.try("", "exec", "life", "sh", "-c", "exit 5"); code != 5 {
			t.Errorf("exec: exit code %d, want 5: %s", code, messages)
		}
	}
	if _, messages, code := e.try("", "exec", "life", "nosuch"); code != 127 && code != 126 { // docker takes what the runtime says for 126 in some versions
		t.Errorf("exec of no program: exit code %d: %s", code, messages)
	}
	e.says("1000 /tmp yes", "exec", "-u", "app", "-w", "/tmp", "-e", "NEW=yes", "life", "sh", "-c", "echo $(id -u) $(pwd) $NEW")
	e.onTerminal("sized", resized, 5, "exec", "-it", "life", "sh")
	if out, messages, code := e.try("in", "exec", "-i", "life", "cat"); out != "in" || code != 0 {
		t.Errorf("exec -i: %q, exit code %d: %s", out, code, messages)
	}
	e.run("exec", "-d", "life", "sh", "-c", "touch /detached")
	until(t, "a detached exec does its work", func() bool { _, _, code := e.try("", "exec", "life", "test", "-e", "/detached"); return code == 0 })
	if top := e.run("top", "life"); !strings.Contains(top, "sleep 0.05") && !strings.Contains(top, "sh -c") {
		t.Errorf("top: %s", top)
	}
	if e.limits {
		e.limited(pid)
	}

	e.run("kill", "-s", "USR1", "life")
	until(t, "the signal came", logs("got it"))
	e.run("stop", "-t", "60", "life")
	e.says("3", "wait", "life")
	if !logs("bye")() {
		t.Error("it did not end by itself")
	}
	e.run("start", "life")
	until(t, "it runs again", func() bool { return strings.Count(e.run("logs", "life"), "ready") == 2 })
	e.run("restart", "-t", "0", "life")
	until(t, "it runs once more", func() bool { return strings.Count(e.run("logs", "life"), "ready") == 3 })
	pid = e.run("inspect", "-f", "{{.State.Pid}}", "life")
	e.run("kill", "life")
	e.says("137", "wait", "life")
	e.run("rm", "life")
	e.gone(id, pid)
}

// fuse is a device that containers do not have by themselves.
const fuse = "/dev/fuse"

// device tells whether it can be given to a container.
func (e *engine) device() bool {
	_, err := os.Stat(fuse)
	return err == nil && e.limits
}

// limited looks at the cgroup of the container life.
func (e *engine) limited(pid string) {
	t := e.t
	t.Helper()
	expectLimit(t, pid, "memory", "memory.limit_in_bytes", "memory.max", "67108864")
	expectLimit(t, pid, "pids", "pids.max", "pids.max", "50")
	expectLimit(t, pid, "cpu", "cpu.cfs_quota_us", "cpu.max", "50000")
	expectLimit(t, pid, "cpu", "cpu.shares", "", "512")
	if e.device() {
		e.says("opened\nrefused", "exec", "life", "sh", "-c", "(: < /dev/mine) && echo opened; (: > /dev/mine) 2>/dev/null || echo refused")
	}
	if stats := e.run("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "life"); !strings.Contains(stats, "64MiB") && !strings.Contains(stats, "67.11MB") {
		t.Errorf("stats: %s", stats)
	}
	e.run("pause", "life")
	if !frozen(t, pid) {
		t.Error("not frozen")
	}
	e.says("paused", "inspect", "-f", "{{.State.Status}}", "life")
	e.run("unpause", "life")
	if frozen(t, pid) {
		t.Error("frozen after unpause")
	}
	e.run("update", "--memory", "96m", "--memory-swap", "96m", "life")
	expectLimit(t, pid, "memory", "memory.limit_in_bytes", "memory.max", "100663296")
}

// mapped looks at a container whose users are others outside, and at terminals of it.
func (e *engine) mapped() {
	t := e.t
	t.Cleanup(func() { _, _, _ = e.try("", "rm", "-f", "mapped") })
	e.run("run", "-dt", "--name", "mapped", "--network", "none", "--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536", "img:1", "sh", "-c", "echo $(stat -c %u:%g:%a $(busybox tty)); "+loop)
	until(t, "the program says ready", func() bool { return strings.Contains(e.run("logs", "mapped"), "0:5:620\r\nready") })
	if status, err := os.Stat("/proc/" + e.run("inspect", "-f", "{{.State.Pid}}", "mapped")); err != nil || status.Sys().(*syscall.Stat_t).Uid != 100000 {
		t.Errorf("its process is another user's outside: %+v %v", status, err)
	}
	e.onTerminal("sized", resized, 5, "exec", "-it", "mapped", "sh")
	e.run("rm", "-f", "mapped")
}

// exhaust lets containers run out of memory: one dies of it, the other looks on.
func (e *engine) exhaust() {
	t := e.t
	const eat = "a=xxxxxxxx; while :; do a=$a$a; done"
	args := []string{"run", "--name", "oom", "--network", "none", "--memory", "16m", "--memory-swap", "16m", "img:1", "sh", "-c"}
	if out, messages, code := e.try("", append(args, eat)...); code != 137 {
		t.Errorf("without memory: exit code %d, want 137: %s%s", code, out, messages)
	}
	// conmon 2.1 makes the file that says so where podman was called, and podman 4.3 looks for it elsewhere.
	if _, err := os.Stat(filepath.Join(e.own, "oom")); err != nil {
		e.says("true", "inspect", "-f", "{{.State.OOMKilled}}", "oom")
	}
	e.run("rm", "oom")
	id := e.run(append(append([]string{"run", "-d"}, args[1:]...), "("+eat+"); echo $?; "+loop)...)
	until(t, "it goes on", func() bool { return strings.HasPrefix(e.run("logs", "oom"), "137\nready") })
	pid := e.run("inspect", "-f", "{{.State.Pid}}", "oom")
	if n := oomKills(t, pid); n != 1 {
		t.Errorf("the kernel has counted %d ends for lack of memory", n)
	}
	e.run("rm", "-f", "oom")
	e.gone(id, pid)
}

// kept are the files in which camada keeps a container's state.
func (e *engine) kept(id string) []string {
	files, err := filepath.Glob(filepath.Join(e.states, id, "state.json"))
	if err != nil {
		e.t.Fatal(err)
	}
	return files
}

// gone checks that nothing is left of a container that was removed.
func (e *engine) gone(id, pid string) {
	t := e.t
	t.Helper()
	for _, dir := range append(groupsNamed(t, id), e.kept(id)...) {
		t.Errorf("left of a container: %s", dir)
	}
	if cmdline, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && len(cmdline) > 0 {
		t.Errorf("process %s is left: %q", pid, cmdline)
	}
}

// nothingLeft checks what is there when all containers were removed; before are the mounts that were there without any.
func (e *engine) nothingLeft(before []string) {
	t := e.t
	t.Helper()
	left := []string{"?"}
	defer func() { // dockerd deletes tasks behind its client's back
		for _, file := range left {
			state, err := os.ReadFile(file)
			t.Logf("left: %s %v\n%s", file, err, state)
		}
	}()
	until(t, "nothing is left of containers", func() bool { left = e.kept("*"); return len(left) == 0 })
	for _, m := range e.mounts() {
		if !slices.Contains(before, m) {
			t.Errorf("a mount is left: %s", m)
		}
	}
}

// mounts are those below the engine's directory: others come and go.
func (e *engine) mounts() []string {
	return slices.DeleteFunc(mountinfo(e.t), func(m string) bool { return !strings.Contains(m, e.own) })
}
