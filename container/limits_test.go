package container_test

import (
	"context"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/cgroup"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestMemoryLimit(t *testing.T) {
	eat := "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null; echo $?"
	out, _ := shell(t, eat, nil)
	if out != "0" {
		t.Skipf("200 MB cannot be had here: %q", out)
	}
	limit := int64(50 << 20)
	out, status := shell(t, eat, func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
	})
	if out != "Killed\n137" && out != "137" || !status.OOMKilled {
		t.Errorf("output %q, status %+v", out, status)
	}
}

func TestPidsLimit(t *testing.T) {
	forks := "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait; echo all"
	if out, _ := shell(t, forks, nil); out != "all" {
		t.Errorf("without a limit: %q", out)
	}
	limit := int64(4)
	out, _ := shell(t, forks, func(s *specs.Spec) { s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit} })
	if strings.Contains(out, "all") || !strings.Contains(out, "fork") {
		t.Errorf("with a limit: %q", out)
	}
}

// TestCPULimit looks at the kernel's count of throttled periods, not at time.
func TestCPULimit(t *testing.T) {
	quota, period := int64(5000), uint64(100000)
	work := "i=0; while test $i -lt 100000; do i=$((i+1)); done; cat /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/*/cpu.stat 2>/dev/null | grep nr_throttled"
	out, _ := shell(t, work, func(s *specs.Spec) { s.Linux.Resources.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period} })
	if f := strings.Fields(out); len(f) < 2 || f[1] == "0" {
		t.Errorf("throttled: %q", out)
	}
}

// groupDirs gives the cgroup directories that a container still has.
func groupDirs(t *testing.T, id string) []string {
	t.Helper()
	layout, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	name, err := cgroup.Path("", id)
	if err != nil {
		t.Fatal(err)
	}
	g, err := layout.Load(name)
	if err != nil {
		return nil
	}
	defer g.Close()
	return g.Dirs()
}

func TestNothingIsLeft(t *testing.T) {
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	limit := int64(100)
	shell(t, "sleep 100 & true", func(s *specs.Spec) { s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit} })
	s := defaults(t, "nonexistent")
	s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
	if _, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, busybox(t))}); err == nil {
		t.Error("started what is not there")
	}
	if left := groupDirs(t, unique(t)); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	if after, err := os.ReadFile("/proc/self/mountinfo"); err != nil || string(after) != string(before) {
		t.Errorf("mounts are left:\n%s", after)
	}
	if after, err := os.ReadDir("/proc/self/fd"); err != nil || len(after) > len(fds) {
		t.Errorf("%d descriptors, %d before", len(after), len(fds))
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("child %d is left: %v", pid, err)
	}
}

// TestCancel ends a start that waits for its network.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	pid := 0
	_, err := container.Start(ctx, container.Config{
		ID: unique(t), Spec: defaults(t, "true"), Rootfs: overlayOf(t, busybox(t)),
		Network: func(ctx context.Context, p int) error { pid = p; cancel(); <-ctx.Done(); return ctx.Err() },
	})
	if err == nil || pid == 0 {
		t.Errorf("started in spite of the end: %v", err)
	}
	if err := unix.Kill(pid, 0); err != unix.ESRCH {
		t.Errorf("process %d is left: %v", pid, err)
	}
}

// TestNetworkAndCreated sees the order in which Start calls back.
func TestNetworkAndCreated(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var calls []string
	p, err := container.Start(context.Background(), container.Config{
		ID: unique(t), Spec: defaults(t, "echo", "program"), Rootfs: overlayOf(t, busybox(t)), Stdout: w,
		Network: func(_ context.Context, pid int) error {
			calls = append(calls, "network")
			own, _ := os.Readlink("/proc/self/ns/net")
			if theirs, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/net"); err != nil || theirs == own {
				t.Errorf("network namespace %s, %v", theirs, err)
			}
			return nil
		},
		Created: func(context.Context, int) error {
			calls = append(calls, "created")
			return nil
		},
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := io.ReadAll(r); string(out) != "program\n" || strings.Join(calls, " ") != "network created" {
		t.Errorf("calls %v, output %q", calls, out)
	}
	if _, err := p.Wait(context.Background()); err != nil {
		t.Error(err)
	}
}

// static skips a test that runs this program in a root without libraries.
func static(t *testing.T) {
	t.Helper()
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Skip("needs a static test program (CGO_ENABLED=0)")
		}
	}
}

func TestInit(t *testing.T) {
	static(t)
	root := busybox(t)
	s := defaults(t, "sh", "-c", `sh -c "sleep 0.1 & exec true"
n=0; while set -- /proc/[0-9]*; test $# != 2 && test $n -lt 500; do n=$((n+1)); sleep 0.02; done; echo $#; tr '\0' ' ' </proc/1/cmdline; echo $$; touch /dev/init 2>&1 | grep -o Read-only; exit 5`)
	out, status, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root), Init: true})
	if err != nil || status.Code != 5 {
		t.Fatalf("%q, %+v, %v", out, status, err)
	}
	if f := strings.Fields(out); f[0] != "2" || f[1] != "camada-init" || f[len(f)-1] != "Read-only" {
		t.Errorf("output %q: want init and sh as the processes", out)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := container.Start(context.Background(), container.Config{
		ID: unique(t), Spec: defaults(t, "sh", "-c", "trap 'exit 9' TERM; echo ready; while true; do sleep 0.1; done"),
		Rootfs: overlayOf(t, root), Stdout: w, Init: true,
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 10)); n != 6 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Error(err)
	}
	if status, err := p.Wait(context.Background()); err != nil || status.Code != 9 {
		t.Errorf("status %+v, %v", status, err)
	}
}

// TestInitHearsFromTheStart sends a signal as soon as the container is said to run. It reaches the program.
func TestInitHearsFromTheStart(t *testing.T) {
	static(t)
	root := busybox(t)
	for range 5 {
		p, err := container.Start(context.Background(), container.Config{ID: unique(t), Spec: defaults(t, "sleep", "60"), Rootfs: overlayOf(t, root), Init: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(unix.SIGTERM); err != nil {
			t.Error(err)
		}
		if status, err := p.Wait(context.Background()); err != nil || status.Code != 143 {
			t.Fatalf("status %+v, %v; want 143", status, err)
		}
	}
}

// TestStarterIsKilled runs this test in a process of its own and kills that.
func TestStarterIsKilled(t *testing.T) {
	const marker = "CAMADA_TEST_STARTER"
	if os.Getenv(marker) != "" {
		limit := int64(100)
		s := defaults(t, "sleep", "60")
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
		p, err := container.Start(context.Background(), container.Config{ID: os.Getenv(marker), Spec: s, Rootfs: overlayOf(t, busybox(t)), DieWithParent: true})
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("pid " + strconv.Itoa(p.Pid()) + "\n")
		select {}
	}
	busybox(t)
	id := unique(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestStarterIsKilled$")
	cmd.Env = append(os.Environ(), marker+"="+id, "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, _ := out.Read(b)
	pid, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(string(b[:n])), "pid "))
	if err != nil {
		t.Fatalf("%q", b[:n])
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for range 500 {
		if err = unix.Kill(pid, 0); errors.Is(err, unix.ESRCH) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !errors.Is(err, unix.ESRCH) {
		t.Errorf("the container lives on: %v", err)
	}
	if len(groupDirs(t, id)) == 0 {
		t.Error("no cgroup is left to clean up: the test shows nothing")
	}
	for range 2 { // twice does no harm
		if err := container.Cleanup(context.Background(), id, ""); err != nil {
			t.Error(err)
		}
	}
	if left := groupDirs(t, id); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
}
