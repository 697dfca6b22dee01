package test

import (
	"strings"
	"testing"
)

// tasks lives with containers of containerd, whose shim calls the runtime at link.
func (e *engine) tasks(archive, link string) {
	t := e.t
	e.run("images", "import", "--snapshotter", "native", archive)
	image := e.run("images", "list", "-q")
	t.Cleanup(func() {
		for id := range strings.FieldsSeq(e.run("container", "list", "-q")) {
			_, _, _ = e.try("", "task", "delete", "-f", id)
			_, _, _ = e.try("", "container", "delete", id)
		}
	})
	before := e.mounts()
	with := func(id, script string, flags ...string) []string {
		args := append([]string{"run", "--snapshotter", "native", "--runc-binary", link, "--runc-root", strings.TrimSuffix(e.states, "/default")}, flags...)
		return append(args, image, id, "sh", "-c", script)
	}
	for _, c := range []struct {
		name, stdin, script string
		flags               []string
		code                int
		want                string
	}{
		{name: "exit", stdin: "hello\n", script: "read a; echo $a; echo end; exit 7", code: 7, want: "hello\nend"},
		{name: "confined", flags: []string{
			"--cwd", "/tmp", "--env", "NEW=yes", "--seccomp", "--read-only", "--mount", "type=bind,src=" + e.context + ",dst=/ctx,options=rbind:ro",
		}, script: `echo $(pwd) $NEW; grep Seccomp: /proc/self/status; touch /x 2>/dev/null || echo refused
			test -f /ctx/Dockerfile && echo there; touch /ctx/x 2>/dev/null || echo refused`,
			want: "/tmp yes\nSeccomp:\t2\nrefused\nthere\nrefused"},
		{name: "privileged", script: "mount -t tmpfs t /tmp && echo mounted", flags: []string{"--privileged"}, want: "mounted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, messages, code := e.in(t).try(c.stdin, with(c.name, c.script, append([]string{"--rm"}, c.flags...)...)...)
			if code != c.code || out != c.want {
				t.Errorf("exit code %d, want %d; says %q, want %q\n%s", code, c.code, out, c.want, messages)
			}
		})
	}
	args := with("nosuch", "", "--rm")
	if _, messages, code := e.try("", append(args[:len(args)-3], "/nosuch")...); code == 0 || !strings.Contains(messages, "no such file") {
		t.Errorf("a program that is not there: exit code %d: %s", code, messages)
	}
	args = with("tty", "", "-t", "--rm")
	e.onTerminal("sized", resized, 5, append(args[:len(args)-2], "-i")...)
	t.Run("life", func(t *testing.T) {
		e.in(t).task(with("camada-life", `trap "exit 3" TERM; trap "touch /got" USR1; touch /ready; while :; do sleep 0.05; done`,
			"-d", "--memory-limit", "67108864", "--cpus", "0.5"))
	})
	e.run(with("camada-killed", "sleep 1000", "-d")...)
	pid := e.pid("camada-killed")
	e.run("task", "delete", "-f", "camada-killed")
	e.run("container", "delete", "camada-killed")
	e.gone("camada-killed", pid)
	e.nothingLeft(before)
}

// pid is that of a task.
func (e *engine) pid(id string) string {
	e.t.Helper()
	for line := range strings.Lines(e.run("task", "list")) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == id {
			return f[1]
		}
	}
	e.t.Fatalf("no task %s", id)
	return ""
}

// task is the life of one in the background, which args start.
func (e *engine) task(args []string) {
	t := e.t
	e.run(args...)
	inside := func(args ...string) (string, int) {
		out, _, code := e.try("", append([]string{"task", "exec", "--exec-id", "look", "camada-life"}, args...)...)
		return out, code
	}
	has := func(name string) func() bool {
		return func() bool { _, code := inside("test", "-e", name); return code == 0 }
	}
	until(t, "the program has begun", has("/ready"))
	pid := e.pid("camada-life")
	if len(e.kept("camada-life")) != 1 {
		t.Errorf("camada keeps nothing of the container in %s", e.states)
	}
	expectLimit(t, pid, "memory", "memory.limit_in_bytes", "memory.max", "67108864")
	expectLimit(t, pid, "cpu", "cpu.cfs_quota_us", "cpu.max", "50000")
	for range 5 { // as a program that ends at once
		if _, code := inside("sh", "-c", "exit 5"); code != 5 {
			t.Errorf("exec: exit code %d, want 5", code)
		}
	}
	if _, code := inside("nosuch"); code == 0 {
		t.Error("exec of no program succeeds")
	}
	if out, _, _ := e.try("in\n", "task", "exec", "--exec-id", "in", "camada-life", "sh", "-c", "read a; echo $a"); out != "in" {
		t.Errorf("exec with standard input: %q", out)
	}
	e.onTerminal("sized", resized, 5, "task", "exec", "-t", "--exec-id", "tty", "camada-life", "sh", "-i")
	if ps := e.run("task", "ps", "camada-life"); !strings.Contains(ps, pid) {
		t.Errorf("ps: %s", ps)
	}
	if metrics := e.run("task", "metrics", "--format", "json", "camada-life"); !strings.Contains(metrics, "67108864") {
		t.Errorf("metrics: %s", metrics)
	}
	e.run("task", "pause", "camada-life")
	if list := e.run("task", "list"); !frozen(t, pid) || !strings.Contains(list, "PAUSED") {
		t.Errorf("not frozen: %s", list)
	}
	e.run("task", "resume", "camada-life")
	if frozen(t, pid) {
		t.Error("frozen after resume")
	}
	e.run("task", "kill", "-s", "SIGUSR1", "camada-life")
	until(t, "the signal came", has("/got"))
	e.run("task", "kill", "camada-life")
	until(t, "it ends", func() bool { return strings.Contains(e.run("task", "list"), "STOPPED") })
	if out, messages, code := e.try("", "task", "delete", "camada-life"); code != 3 && !strings.Contains(messages, "exit code 3") { // as versions have it
		t.Errorf("its exit code is not 3: %d %s%s", code, out, messages)
	}
	e.run("container", "delete", "camada-life")
	e.gone("camada-life", pid)
}
