package cgroup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// These tests set real limits on real processes. Which version of which
// controller they meet depends on the machine.

// TestMain is also the program inside the groups: see child.
func TestMain(m *testing.M) {
	if what := os.Getenv("CGROUP_TEST_CHILD"); what != "" {
		os.Exit(child(what))
	}
	code := m.Run()
	if l, err := Detect(); err == nil {
		for _, base := range append([]string{l.Unified}, values(l.V1)...) {
			_ = unix.Rmdir(filepath.Join(base, "camada-test"))
		}
	}
	os.Exit(code)
}

func values(m map[string]string) []string {
	var vs []string
	for _, v := range m {
		vs = append(vs, v)
	}
	return vs
}

// child does one thing in a group and exits with 0, or with 1 and a reason.
func child(what string) int {
	switch what {
	case "sleep":
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "eat":
		var kept [][]byte
		for range 64 {
			b := make([]byte, 4<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
		}
		fmt.Println("ate", len(kept))
	case "fork":
		for range 64 {
			if err := exec.Command("/proc/self/exe").Start(); err != nil {
				fmt.Println(err)
				return 1
			}
		}
	case "burn":
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
		}
	case "forker":
		// Children that get children, so that a kill has something to race with.
		for {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = []string{"CGROUP_TEST_CHILD=sleep"}
			if cmd.Start() != nil {
				time.Sleep(time.Millisecond)
			}
		}
	case "devices":
		return childDevices()
	}
	return 0
}

// childDevices tries what the rules of TestDevices allow and forbid.
func childDevices() int {
	dir, err := os.MkdirTemp("", "camada-devices")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	try := func(name string, err error, want error) bool {
		if !errors.Is(err, want) && !(err == nil && want == nil) {
			fmt.Printf("%s: %v, want %v\n", name, err, want)
			return false
		}
		return true
	}
	open := func(path string, flags int) error {
		f, err := os.OpenFile(path, flags, 0)
		if err == nil {
			f.Close()
		}
		return err
	}
	ok := try("open null rw", open("/dev/null", os.O_RDWR), nil)
	ok = try("open zero r", open("/dev/zero", os.O_RDONLY), nil) && ok
	ok = try("open zero w", open("/dev/zero", os.O_WRONLY), unix.EPERM) && ok
	ok = try("open full rw", open("/dev/full", os.O_RDWR), unix.EPERM) && ok
	ok = try("mknod of a forbidden device", unix.Mknod(dir+"/mem", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 1))), unix.EPERM) && ok
	ok = try("mknod of an allowed device", unix.Mknod(dir+"/any", unix.S_IFCHR|0o600, int(unix.Mkdev(10, 229))), nil) && ok
	ok = try("mknod of its block twin", unix.Mknod(dir+"/blk", unix.S_IFBLK|0o600, int(unix.Mkdev(10, 229))), unix.EPERM) && ok
	if !ok {
		return 1
	}
	return 0
}

func root(t *testing.T) Layout {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make cgroups")
	}
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	if l.Unified == "" && !writable(l.V1["pids"]) {
		t.Skip("no cgroup hierarchy can be written to")
	}
	return l
}

// v1 takes the v2 hierarchy out of a layout.
func v1(t *testing.T, l Layout) Layout {
	t.Helper()
	if len(l.V1) == 0 {
		t.Skip("no cgroup v1 on this machine")
	}
	l.Unified = ""
	return l
}

func create(t *testing.T, l Layout, res *specs.LinuxResources) *Group {
	t.Helper()
	g, err := l.Create("camada-test/"+strings.ReplaceAll(t.Name(), "/", "_"), res)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = g.Kill(context.Background())
		if err := g.Remove(context.Background()); err != nil {
			t.Error(err)
		}
		for _, dir := range g.Dirs() {
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s is left behind", dir)
			}
		}
	})
	return g
}

// spawn starts the child inside the group.
func spawn(t *testing.T, g *Group, what string, out *bytes.Buffer) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"CGROUP_TEST_CHILD=" + what, "GOMAXPROCS=1"}
	if out != nil {
		cmd.Stdout, cmd.Stderr = out, out
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: g.FD() >= 0, CgroupFD: g.FD()}
	if err := g.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func both(t *testing.T, f func(t *testing.T, l Layout)) {
	t.Run("all", func(t *testing.T) { f(t, root(t)) })
	t.Run("v1", func(t *testing.T) { f(t, v1(t, root(t))) })
}

func TestMemoryLimit(t *testing.T) {
	both(t, func(t *testing.T, l Layout) {
		for _, c := range []struct {
			limit  int64
			killed bool
		}{{64 << 20, true}, {1 << 30, false}} {
			var out bytes.Buffer
			g := create(t, l, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &c.limit, Swap: &c.limit}})
			err := spawn(t, g, "eat", &out).Wait()
			kills, e := g.OOMKills()
			if e != nil {
				t.Fatal(e)
			}
			if c.killed != (err != nil) || c.killed != (kills > 0) {
				t.Errorf("limit %d: child ended with %v (%s), %d kills", c.limit, err, out.String(), kills)
			}
			s, err := g.Stats()
			if err != nil || s.Memory.Limit != uint64(c.limit) || s.Memory.Peak < 1<<20 {
				t.Errorf("statistics: %+v, %v", s.Memory, err)
			}
			if err := g.Remove(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestMemoryUpdate(t *testing.T) {
	l := root(t)
	g := create(t, l, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p(int64(64 << 20)), Swap: p(int64(64 << 20))}})
	for _, limit := range []int64{256 << 20, 32 << 20, -1} {
		if err := g.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit}}); err != nil {
			t.Fatal(err)
		}
		s, err := g.Stats()
		if want := uint64(limit); err != nil || s.Memory.Limit != want && limit > 0 || limit < 0 && s.Memory.Limit != Unlimited {
			t.Errorf("limit = %d, %v, want %d", s.Memory.Limit, err, limit)
		}
	}
}

func TestPidsLimit(t *testing.T) {
	both(t, func(t *testing.T, l Layout) {
		var out bytes.Buffer
		g := create(t, l, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: p(int64(20))}})
		if err := spawn(t, g, "fork", &out).Wait(); err == nil || !strings.Contains(out.String(), "resource temporarily unavailable") {
			t.Errorf("64 children under a limit of 20 tasks: %v, %s", err, out.String())
		}
	})
}

func TestCPUQuota(t *testing.T) {
	both(t, func(t *testing.T, l Layout) {
		var out bytes.Buffer
		cpus := "0"
		if has, err := os.ReadFile(l.Unified + "/cgroup.controllers"); err == nil && l.V1["cpuset"] == "" && !strings.Contains(string(has), "cpuset") {
			cpus = "" // a kernel without it
		}
		g := create(t, l, &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: p(int64(5000)), Period: p(uint64(50000)), Shares: p(uint64(512)), Cpus: cpus}})
		if err := spawn(t, g, "burn", &out).Wait(); err != nil {
			t.Fatal(err, out.String())
		}
		s, err := g.Stats()
		if err != nil || s.CPU.Throttled == 0 || s.CPU.ThrottledTime == 0 {
			t.Errorf("a tenth of a processor never held a busy loop: %+v, %v", s.CPU, err)
		}
		if dir := g.v1["cpuset"]; dir != "" {
			if cpus, err := read(dir, "cpuset.cpus"); strings.TrimSpace(cpus) != "0" {
				t.Errorf("cpuset.cpus = %q, %v", cpus, err)
			}
		}
	})
}

func TestDevices(t *testing.T) {
	rules := []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		{Allow: true, Type: "c", Major: p(int64(1)), Minor: p(int64(3)), Access: "r"},
		{Allow: true, Type: "c", Major: p(int64(1)), Minor: p(int64(3)), Access: "w"},
		{Allow: true, Type: "c", Major: p(int64(1)), Minor: p(int64(5)), Access: "rwm"},
		{Allow: true, Type: "c", Major: p(int64(10)), Access: "m"},
		{Allow: false, Type: "c", Major: p(int64(1)), Minor: p(int64(5)), Access: "w"},
		// what the Go runtime and os/exec open
		{Allow: true, Type: "c", Major: p(int64(136)), Access: "rw"},
	}
	both(t, func(t *testing.T, l Layout) {
		var out bytes.Buffer
		g := create(t, l, &specs.LinuxResources{Devices: rules})
		if (g.v1["devices"] != "") == (l.Unified != "") {
			t.Errorf("rules are in v1: %v, v2 hierarchy: %q", g.v1, l.Unified)
		}
		if err := spawn(t, g, "devices", &out).Wait(); err != nil {
			t.Errorf("%v\n%s", err, out.String())
		}
		// Rules that come later take the place of those before.
		out.Reset()
		if err := g.Update(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}}); err != nil {
			t.Fatal(err)
		}
		if err := spawn(t, g, "devices", &out).Wait(); err == nil || !strings.Contains(out.String(), "open full rw: <nil>") {
			t.Errorf("with all devices allowed: %v, %s", err, out.String())
		}
	})
}

func TestDeviceProgramLoads(t *testing.T) {
	l := root(t)
	if l.Unified == "" {
		t.Skip("no cgroup v2")
	}
	var rules []specs.LinuxDeviceCgroup
	for i := range int64(maxDevices) {
		rules = append(rules, specs.LinuxDeviceCgroup{Allow: i%2 == 0, Type: "b", Major: p(i % 4096), Minor: p(i), Access: "rm"})
	}
	for _, rules := range [][]specs.LinuxDeviceCgroup{rules, rules[:1], {{Access: "rwm"}, rules[0]}, {rules[0], {Allow: true}}} {
		parsed, err := parseDevices(rules)
		if err != nil {
			t.Fatal(err)
		}
		log := make([]byte, 1<<20)
		fd, err := loadProgram(encode(deviceProgram(parsed)), log)
		if err != nil {
			t.Errorf("%d rules: %v\n%s", len(rules), err, bytes.TrimRight(log, "\x00"))
			continue
		}
		unix.Close(fd)
	}
}

func TestKillsAll(t *testing.T) {
	both(t, func(t *testing.T, l Layout) {
		g := create(t, l, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: p(int64(200))}})
		cmd := spawn(t, g, "forker", nil)
		for {
			if pids, err := g.Pids(); err != nil {
				t.Fatal(err)
			} else if len(pids) > 5 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		again, err := l.Load(g.Path())
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if err := again.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if err := g.Remove(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := l.Load(g.Path()); err == nil {
			t.Error("the group is still there")
		}
	})
}

func TestFreeze(t *testing.T) {
	both(t, func(t *testing.T, l Layout) {
		g := create(t, l, nil)
		cmd := spawn(t, g, "burn", nil)
		defer cmd.Wait()
		if err := g.Freeze(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := cpuTicks(t, cmd.Process.Pid)
		time.Sleep(100 * time.Millisecond)
		if after := cpuTicks(t, cmd.Process.Pid); after != before {
			t.Errorf("a frozen process used the processor: %s, then %s", before, after)
		}
		if err := g.Thaw(); err != nil {
			t.Fatal(err)
		}
		if frozen, err := g.Frozen(); frozen || err != nil {
			t.Errorf("Frozen = %v, %v after Thaw", frozen, err)
		}
	})
}

// cpuTicks gives fields 14 and 15 of /proc/<pid>/stat: user and system time.
func cpuTicks(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	f := strings.Fields(rest)
	return f[11] + " " + f[12]
}

// Whoever starts a process in a group stays where he was.
func TestDoComesBack(t *testing.T) {
	l := root(t)
	before, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	g := create(t, l, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p(int64(1 << 30))}, Pids: &specs.LinuxPids{Limit: p(int64(100))}})
	cmd := spawn(t, g, "sleep", nil)
	pids, err := g.Pids()
	if err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
		t.Errorf("Pids = %v, %v, want the child %d", pids, err, cmd.Process.Pid)
	}
	for _, dir := range g.Dirs() {
		if pids, err := readPids(dir); err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
			t.Errorf("%s holds %v, %v, want only the child %d", dir, pids, err, cmd.Process.Pid)
		}
	}
	tasks, err := filepath.Glob("/proc/self/task/*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tasks {
		if after, err := os.ReadFile(f); err == nil && !bytes.Equal(before, after) {
			t.Errorf("thread %s moved from\n%sto\n%s", f, before, after)
		}
	}
	if err := g.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

func TestAddPid(t *testing.T) {
	both(t, func(t *testing.T, l Layout) {
		g := create(t, l, nil)
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{"CGROUP_TEST_CHILD=sleep"}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		if err := g.AddPid(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
		if pids, err := g.Pids(); err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
			t.Errorf("Pids = %v, %v", pids, err)
		}
		if _, err := l.Create(g.Path(), nil); err == nil {
			t.Error("a group that is in use was made a second time")
		}
	})
}

func BenchmarkCreateSpawnRemove(b *testing.B) {
	l, err := Detect()
	if err != nil || os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	for name, res := range map[string]*specs.LinuxResources{
		"none":    nil,
		"devices": {Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}, {Allow: true, Type: "c", Major: p(int64(1)), Minor: p(int64(3)), Access: "rwm"}}},
		"limits":  {Memory: &specs.LinuxMemory{Limit: p(int64(1 << 30))}, Pids: &specs.LinuxPids{Limit: p(int64(100))}, CPU: &specs.LinuxCPU{Quota: p(int64(100000))}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				g, err := l.Create("camada-test/bench", res)
				if err != nil {
					b.Fatal(err)
				}
				if err := g.Do(func() error { return nil }); err != nil {
					b.Fatal(err)
				}
				if err := g.Remove(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("detect", func(b *testing.B) {
		for b.Loop() {
			if _, err := Detect(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
