package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/internal/peers"
	"golang.org/x/sys/unix"
)

// otherRuntime runs camada, whose containers another runtime runs.
type otherRuntime struct {
	t *testing.T
	c *ours
	// name is that of the program, flags are those of camada run, context is the directory of the image's files.
	name    string
	flags   []string
	context string
}

// TestOtherRuntimes has camada's containers run by the runtimes of others. With CAMADA_TEST_LONG=1 that of gVisor is built when it is missing.
func TestOtherRuntimes(t *testing.T) {
	c, p := withPeers(t)
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nENV PATH=/bin\n")
	c.run("build", "-q", "-t", "img:1", dir)
	for _, name := range []string{"runc", "crun", "runsc"} {
		t.Run(name, func(t *testing.T) {
			program := name
			if name == "runsc" {
				program = peers.Runsc(t)
			} else if _, err := exec.LookPath(name); err != nil {
				t.Skipf("%s is not installed", name)
			}
			r := &otherRuntime{t: t, c: c.in(t), name: name, flags: []string{"--runtime", program, "--network", "none"}, context: dir}
			if _, messages, code := r.try("", append(append([]string{"run", "--rm"}, r.flags...), "img:1", "sh", "-c", ":")...); code != 0 {
				t.Skipf("%s does not run here: %s", name, messages)
			}
			t.Run("run", func(t *testing.T) { r.in(t).runs() })
			t.Run("life", func(t *testing.T) { r.in(t).lives() })
			t.Run("end", func(t *testing.T) { r.in(t).endsWhileProbed() })
		})
	}
}

func (r *otherRuntime) in(t *testing.T) *otherRuntime {
	d := *r
	d.t = t
	return &d
}

// command is one of camada's. crun accepts no machine that has both versions of cgroups: it is shown the old one.
func (r *otherRuntime) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	r.t.Cleanup(cancel)
	words := append([]string{r.c.bin}, args...)
	if r.name == "crun" {
		script := `u=/sys/fs/cgroup/unified; if mountpoint -q $u; then umount $u && mount -t tmpfs none $u; fi; exec "$0" "$@"`
		words = append([]string{"unshare", "-m", "sh", "-c", script}, words...)
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "CAMADA_ROOT="+r.c.root, "NO_COLOR=1")
	return cmd
}

func (r *otherRuntime) try(stdin string, args ...string) (out, messages string, code int) {
	r.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := r.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(stdout.String()), strings.TrimSpace(stderr.String()), cmd.ProcessState.ExitCode()
}

// says checks what a command writes, and its exit code.
func (r *otherRuntime) says(want string, code int, stdin string, args ...string) {
	r.t.Helper()
	if out, messages, got := r.try(stdin, args...); out != want || got != code {
		r.t.Errorf("%s: exit code %d, want %d; says %q, want %q\n%s", strings.Join(args, " "), got, code, out, want, messages)
	}
}

// do runs a command that must succeed.
func (r *otherRuntime) do(args ...string) string {
	r.t.Helper()
	out, messages, code := r.try("", args...)
	if code != 0 {
		r.t.Fatalf("%s: exit code %d\n%s\n%s", strings.Join(args, " "), code, out, messages)
	}
	return out
}

func (r *otherRuntime) until(what string, so func() bool) {
	r.t.Helper()
	for range 600 {
		if so() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.t.Fatalf("not after half a minute: %s", what)
}

// runs looks at containers in the foreground.
func (r *otherRuntime) runs() {
	run := func(more ...string) []string { return append(append([]string{"run", "--rm"}, r.flags...), more...) }
	script := `read line; echo $line; id -u; pwd; echo $NEW; hostname; ulimit -n; ulimit -Hn; grep CapEff /proc/self/status
		touch /t/x && echo made; touch /x 2>/dev/null || echo refused; test -f /ctx/Dockerfile && echo there; touch /ctx/x 2>/dev/null || echo refused; exit 7`
	r.says("hello\n1000\n/tmp\nyes\nnamed\n100\n200\nCapEff:\t0000000000000000\nmade\nrefused\nthere\nrefused", 7, "hello\n", run("-i", "-u", "app", "-w", "/tmp", "-e", "NEW=yes", "-h", "named",
		"--ulimit", "nofile=100:200", "--cap-drop", "ALL", "--read-only", "--tmpfs", "/t:mode=1777", "-v", r.context+":/ctx:ro", "img:1", "sh", "-c", script)...)
	for program, want := range map[string]int{"nosuch": 127, "/nosuch": 127, "/etc/passwd": 126} {
		out, messages, code := r.try("", run("img:1", program)...)
		if code != want || out != "" || strings.Count(messages, "\n") > 0 { // the runtime's own message is a part of ours
			r.t.Errorf("run %s: exit code %d, want %d: %s\n%s", program, code, want, out, messages)
		}
	}
	file := filepath.Join(r.t.TempDir(), "out")
	to, err := os.Create(file)
	if err != nil {
		r.t.Fatal(err)
	}
	defer to.Close()
	for range 2 { // a file that is written to goes on where it ended
		cmd := r.command(run("img:1", "echo", "a line")...)
		cmd.Stdout = to
		if err := cmd.Run(); err != nil {
			r.t.Error(err)
		}
	}
	if b, err := os.ReadFile(file); string(b) != "a line\na line\n" {
		r.t.Errorf("written to a file: %q, %v", b, err)
	}
	r.onTerminal("sized", `while [ "$(busybox stty size)" != "37 91" ]; do sleep 0.05; done; echo si""zed; exit 5`+"\n", 5, run("-it", "img:1", "sh")...)
	memory := "16m"
	if r.apart() {
		memory = "64m" // its kernel needs more
	}
	name := "oom-" + r.name
	_, _, code := r.try("", append(append([]string{"run", "--name", name, "--memory", memory, "--memory-swap", memory}, r.flags...), "img:1", "sh", "-c", "a=xxxxxxxx; while :; do a=$a$a; done")...)
	if code != 137 {
		r.t.Errorf("without memory: exit code %d, want 137", code)
	}
	r.says("true", 0, "", "inspect", "-f", "{{.State.OOMKilled}}", name)
	r.do("rm", name)
}

// apart tells that the runtime has a kernel of its own.
func (r *otherRuntime) apart() bool { return r.name == "runsc" }

// lives looks at a container in the background.
func (r *otherRuntime) lives() {
	t, name := r.t, "life-"+r.name
	const loop = `trap "echo got it" USR1; trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.05; done`
	args := []string{"run", "-d", "--name", name, "--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--health-cmd", "test -e /tmp && echo fine", "--health-interval", "1s"}
	id := r.do(append(append(args, r.flags...), "img:1", "sh", "-c", loop)...)
	t.Cleanup(func() { _, _, _ = r.try("", "rm", "-f", name) })
	logs := func(text string, times int) {
		t.Helper()
		r.until(fmt.Sprintf("it says %q", text), func() bool { return strings.Count(r.do("logs", name), text) >= times })
	}
	logs("ready", 1)
	pid := r.do("inspect", "-f", "{{.State.Pid}}", name)
	r.limit(pid, id, "67108864", "memory/memory.limit_in_bytes", "memory.max")
	r.limit(pid, id, "50000", "cpu/cpu.cfs_quota_us", "cpu.max")

	r.says("1000 /tmp yes", 5, "", "exec", "-u", "app", "-w", "/tmp", "-e", "NEW=yes", name, "sh", "-c", "echo $(id -u) $(pwd) $NEW; exit 5")
	r.says("in", 0, "in", "exec", "-i", name, "cat")
	if kernel := r.do("exec", name, "cat", "/proc/version"); r.apart() != strings.Contains(kernel, "gvisor") {
		t.Errorf("exec sees the kernel %s", kernel)
	}
	if _, messages, code := r.try("", "exec", name, "nosuch"); code != 127 || strings.Count(messages, "\n") > 0 {
		t.Errorf("exec of no program: exit code %d: %s", code, messages)
	}
	r.onTerminal("37 91", "busybox stty size; exit 6\n", 6, "exec", "-it", name, "sh")
	r.do("exec", "-d", name, "sh", "-c", "touch /detached; exec sleep 100")
	r.until("a detached exec works", func() bool { _, _, code := r.try("", "exec", name, "test", "-e", "/detached"); return code == 0 })
	if top := r.do("top", name); !strings.Contains(top, "sleep") || r.apart() && strings.Contains(top, "sandbox") {
		t.Errorf("top: %s", top)
	}
	if stats := r.do("stats", "--no-stream", "--format", "{{.MemUsage}}", name); !strings.HasSuffix(stats, " / 64MiB") || strings.HasPrefix(stats, "0B") {
		t.Errorf("stats: %s", stats)
	}
	r.until("it is healthy", func() bool { return r.do("inspect", "-f", "{{.State.Health.Status}}", name) == "healthy" })
	if out := r.do("inspect", "-f", "{{(index .State.Health.Log 0).Output}}", name); out != "fine" {
		t.Errorf("the health check says %q", out)
	}
	r.do("pause", name)
	r.says("paused", 0, "", "inspect", "-f", "{{.State.Status}}", name)
	r.still(pid)
	r.do("unpause", name)
	r.do("update", "--memory", "96m", "--memory-swap", "96m", name)
	r.limit(pid, id, "100663296", "memory/memory.limit_in_bytes", "memory.max")
	r.copies(name)
	r.do("kill", "-s", "USR1", name)
	logs("got it", 1)
	r.do("stop", "-t", "20", name)
	r.says("3", 0, "", "wait", name)
	logs("bye", 1)
	if changes := r.do("diff", name); !strings.Contains(changes, "A /detached") || strings.Contains(changes, "gvisor") {
		t.Errorf("diff: %s", changes)
	}
	r.do("start", name)
	logs("ready", 2)
	r.do("restart", "-t", "0", name)
	logs("ready", 3)
	r.do("kill", name)
	r.says("137", 0, "", "wait", name)
	r.do("start", name)
	logs("ready", 4)
	r.outlives(name)
	r.do("rm", name)
	r.nothingLeft(id)
}

// endsWhileProbed ends containers in which a health check starts at just that moment: what the runtime leaves of an exec that fails then must not keep
// the container's PID namespace, and its first process with that.
func (r *otherRuntime) endsWhileProbed() {
	name := "probed-" + r.name
	for range bySize(5, 50) {
		args := []string{"run", "-d", "--name", name, "--health-cmd", "true", "--health-interval", "20ms"}
		r.do(append(append(args, r.flags...), "img:1", "sh", "-c", `trap "exit 3" TERM; while :; do sleep 0.01; done`)...)
		r.t.Cleanup(func() { _, _, _ = r.try("", "rm", "-f", name) })
		r.until("it is healthy", func() bool { return r.do("inspect", "-f", "{{.State.Health.Status}}", name) == "healthy" })
		r.do("stop", "-t", "30", name)
		r.says("3", 0, "", "wait", name)
		r.do("rm", name)
	}
}

// limit looks at a limit in the kernel: in a file of cgroup v1 below the hierarchies' mounts, or in one of v2.
func (r *otherRuntime) limit(pid, id, want, v1, v2 string) {
	r.t.Helper()
	hierarchy, file := filepath.Split(v1)
	found, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup", hierarchy, "camada/*"+id, file))
	if len(found) == 0 {
		found, _ = filepath.Glob(filepath.Join("/sys/fs/cgroup/camada/*"+id, v2))
	}
	if len(found) == 0 {
		r.t.Errorf("no cgroup has %s", file)
		return
	}
	b, err := os.ReadFile(found[0])
	if err != nil || !strings.HasPrefix(string(b), want) {
		r.t.Errorf("%s: %q (%v), want %s", found[0], b, err, want)
	}
	in, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil || !strings.Contains(string(in), id) {
		r.t.Errorf("process %s is in %q (%v)", pid, in, err)
	}
}

// still asks the kernel whether a process stands still: it uses no processor time, in a loop.
func (r *otherRuntime) still(pid string) {
	r.t.Helper()
	frozen := func() bool {
		for _, name := range []string{"freezer/camada/*/freezer.state", "unified/camada/*/cgroup.events", "camada/*/cgroup.events"} {
			files, _ := filepath.Glob("/sys/fs/cgroup/" + name)
			for _, file := range files {
				procs, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup.procs"))
				state, _ := os.ReadFile(file)
				if strings.Contains("\n"+string(procs), "\n"+pid+"\n") && (strings.Contains(string(state), "FROZEN") || strings.Contains(string(state), "frozen 1")) {
					return true
				}
			}
		}
		return false
	}
	if !frozen() {
		r.t.Errorf("process %s is not frozen", pid)
	}
}

// copies copies into the container and out of it.
func (r *otherRuntime) copies(name string) {
	t, dir := r.t, r.t.TempDir()
	write(t, dir, "in", "hello")
	if r.apart() {
		if _, messages, code := r.try("", "cp", dir+"/in", name+":/tmp/in"); code == 0 || !strings.Contains(messages, "kernel of its own") {
			t.Errorf("cp: exit code %d: %s", code, messages)
		}
		return
	}
	r.do("cp", dir+"/in", name+":/tmp/in")
	r.says("hello", 0, "", "exec", name, "cat", "/tmp/in")
	r.do("cp", name+":/tmp/in", dir+"/out")
	if b, err := os.ReadFile(dir + "/out"); string(b) != "hello" {
		t.Errorf("copied out: %q, %v", b, err)
	}
}

// outlives kills who looks after the container, which must end with him.
func (r *otherRuntime) outlives(name string) {
	t := r.t
	pid := r.do("inspect", "-f", "{{.State.Pid}}", name)
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	monitor, err := strconv.Atoi(strings.Fields(rest)[1])
	if err != nil {
		t.Fatal(err)
	}
	if cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", monitor)); !bytes.Contains(cmd, []byte("container-monitor")) {
		t.Fatalf("the parent of the container's process is %q", cmd)
	}
	if err := unix.Kill(monitor, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.until("it ends with its monitor", func() bool { return r.do("inspect", "-f", "{{.State.Status}}", name) == "exited" })
}

// nothingLeft looks for what is left of a container that was removed.
func (r *otherRuntime) nothingLeft(id string) {
	t := r.t
	for _, pattern := range []string{"/run/camada/bundles/" + id, "/run/camada/external/" + id + "*", "/sys/fs/cgroup/camada/*" + id, "/sys/fs/cgroup/*/camada/*" + id} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left: %s", left)
		}
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		if b, _ := os.ReadFile(file); bytes.Contains(b, []byte(id)) && !bytes.Contains(b, []byte(t.Name())) {
			t.Errorf("%s: %q", file, b)
		}
	}
	for _, m := range mountinfo(t) {
		if strings.Contains(m, id) {
			t.Errorf("mounted: %s", m)
		}
	}
}

// onTerminal runs a command on a terminal of 91 columns and 37 lines, types keys, and checks the exit code and that it says something.
func (r *otherRuntime) onTerminal(want, keys string, code int, args ...string) {
	t := r.t
	t.Helper()
	master, slave, err := terminal()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 91, Row: 37}); err != nil {
		t.Fatal(err)
	}
	cmd := r.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	var said []byte
	for b := make([]byte, 4096); ; { // until the terminal hangs up
		n, err := master.Read(b)
		if err != nil {
			break
		}
		said = append(said, b[:n]...)
		if keys != "" && bytes.Contains(said, []byte("# ")) { // a shell drops what was typed before it asked
			if _, err := io.WriteString(master, keys); err != nil {
				t.Error(err)
			}
			keys = ""
		}
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != code || !bytes.Contains(said, []byte(want)) {
		t.Errorf("%s: exit code %d, want %d, and %q in %q", strings.Join(args, " "), got, code, want, said)
	}
}
