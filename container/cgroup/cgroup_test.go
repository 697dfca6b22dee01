package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestPath(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "camada/c1"},
		{"/pods/a/b", "pods/a/b"},
		{"pods/a", "pods/a"},
		{"../../etc", "etc"},
		{"/a/../../b", "b"},
		{"user-1000.slice:camada:c1", "user.slice/user-1000.slice/camada-c1.scope/container"},
		{":camada:c1", "system.slice/camada-c1.scope/container"},
		{"-.slice:camada:c1", "camada-c1.scope/container"},
		{"a-b-c.slice::d.slice", "a.slice/a-b.slice/a-b-c.slice/d.slice"},
	} {
		if got, err := Path(c.in, "c1"); err != nil || got != c.want {
			t.Errorf("Path(%q) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
	for _, bad := range []string{"/", "..", "a\x00b", "a--b.slice:x:y", "notaslice:x:y", "a.slice:x:", strings.Repeat("a/", 3000)} {
		if got, err := Path(bad, "c1"); !errdefs.IsInvalid(err) {
			t.Errorf("Path(%.40q) = %q, %v, want an invalid argument", bad, got, err)
		}
	}
}

const hybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/mem\040ory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 /half /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
broken - cgroup
`

func TestParseMounts(t *testing.T) {
	got := parseMounts([]byte(hybrid))
	want := map[string]string{"cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/mem ory"}
	if d := cmp.Diff(want, got.v1); d != "" {
		t.Error(d)
	}
	if got.roots["cpu"] != "/docker/abc" {
		t.Errorf("root of cpu = %q", got.roots["cpu"])
	}
	if got.unified != (mountpoint{root: "/half", point: "/sys/fs/cgroup/unified"}) {
		t.Errorf("unified = %v", got.unified)
	}
	for in, want := range map[string]string{"/half": "/sys/fs/cgroup/unified", "/half/a": "/sys/fs/cgroup/unified/a", "/": "/sys/fs/cgroup/unified", "/halfway": "/sys/fs/cgroup/unified"} {
		if p := got.unified.inside(in); p != want {
			t.Errorf("inside(%s) = %s, want %s", in, p, want)
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add([]byte(hybrid), []byte("3:cpu:/x\n0::/a/b\n"))
	f.Fuzz(func(t *testing.T, mounts, own []byte) {
		h := parseMounts(mounts)
		if p := parseOwn(own); !strings.HasPrefix(p, "/") {
			t.Errorf("own path %q", p)
		}
		for c := range h.v1 {
			if !v1Controller(c) {
				t.Errorf("controller %q", c)
			}
		}
	})
}

func TestDelegated(t *testing.T) {
	user := "/c/user.slice/user-1000.slice/user@1000.service"
	for _, c := range []struct {
		name, own, want string
		writable        []string
	}{
		{"root", "/c/user.slice/session-1.scope", "/c", []string{"/c", "/c/user.slice"}},
		{"delegated", user + "/app.slice/t.scope", user, []string{user, user + "/app.slice", user + "/app.slice/t.scope"}},
		{"session of ssh", "/c/user.slice/user-1000.slice/session-2.scope", "", []string{user}},
		{"a gap", user + "/app.slice/t.scope", user + "/app.slice/t.scope", []string{user, user + "/app.slice/t.scope"}},
	} {
		can := func(dir string) bool {
			for _, w := range c.writable {
				if w == dir {
					return true
				}
			}
			return false
		}
		if got := delegated("/c", c.own, can); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestUsersManager(t *testing.T) {
	const dir = "/c/user.slice/user-1000.slice/user@1000.service"
	can := func(d string) bool { return d == dir || d == "/c" }
	for _, c := range []struct{ root, user, want string }{
		{"/", "1000", dir},
		{"/", "1001", ""},
		{"/user.slice/user-1000.slice/session-2.scope", "1000", ""}, // not shown by the mount
	} {
		if got := usersManager(mountpoint{root: c.root, point: "/c"}, c.user, can); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.user, c.root, got, c.want)
		}
	}
}

func TestWeight(t *testing.T) {
	last := uint64(0)
	for _, c := range []struct{ shares, want uint64 }{{0, 1}, {2, 1}, {512, 59}, {1024, 100}, {2048, 174}, {262144, 10000}, {1 << 40, 10000}} {
		got := Weight(c.shares)
		if got != c.want {
			t.Errorf("Weight(%d) = %d, want %d", c.shares, got, c.want)
		}
		if got < last {
			t.Errorf("Weight(%d) = %d is below the one before", c.shares, got)
		}
		last = got
	}
}

// fakeV2 is a directory tree that looks like a v2 hierarchy with one group.
func fakeV2(t *testing.T, files ...string) (Layout, string) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "camada/c1")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range append(files, "cgroup.procs") {
		touch(t, filepath.Join(dir, p))
	}
	return Layout{Unified: root}, dir
}

func touch(t *testing.T, p string) {
	t.Helper()
	if err := os.WriteFile(p, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

func p[T any](v T) *T { return &v }

func weights(major, minor int64, weight uint16) []specs.LinuxWeightDevice {
	d := specs.LinuxWeightDevice{Weight: &weight}
	d.Major, d.Minor = major, minor
	return []specs.LinuxWeightDevice{d}
}

func TestV2Files(t *testing.T) {
	for _, c := range []struct {
		name string
		res  specs.LinuxResources
		want map[string]string
	}{
		{"memory and swap", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p(int64(100)), Swap: p(int64(150)), Reservation: p(int64(50))}},
			map[string]string{"memory.max": "100", "memory.swap.max": "50", "memory.low": "50"}},
		{"no limits", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p(int64(-1)), Swap: p(int64(-1))}, Pids: &specs.LinuxPids{Limit: p(int64(0))}},
			map[string]string{"memory.max": "max", "memory.swap.max": "max", "pids.max": "max"}},
		{"pids", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: p(int64(7))}}, map[string]string{"pids.max": "7"}},
		{"cpu", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: p(uint64(2048)), Quota: p(int64(50000)), Period: p(uint64(100000)), Burst: p(uint64(9)), Cpus: "0-1", Mems: "0"}},
			map[string]string{"cpu.weight": "174", "cpu.max": "50000 100000", "cpu.max.burst": "9", "cpuset.cpus": "0-1", "cpuset.mems": "0"}},
		{"no quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: p(int64(-1))}}, map[string]string{"cpu.max": "max"}},
		{"io", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: p(uint16(500)), ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 8, Minor: 16}, Rate: 1024}}}},
			map[string]string{"io.weight": "default 4950", "io.max": "8:16 rbps=1024"}},
		{"io of bfq", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: p(uint16(500))}}, map[string]string{"io.bfq.weight": "500"}},
		{"io of a device", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{WeightDevice: weights(8, 16, 300)}}, map[string]string{"io.weight": "8:16 2930"}},
		{"io of a device of bfq", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{WeightDevice: weights(8, 16, 300)}}, map[string]string{"io.bfq.weight": "8:16 300"}},
		{"huge pages", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4096}}}, map[string]string{"hugetlb.2MB.max": "4096"}},
		{"unified", specs.LinuxResources{Unified: map[string]string{"memory.high": "5", "cgroup.max.depth": "2"}}, map[string]string{"memory.high": "5", "cgroup.max.depth": "2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var files []string
			for f := range c.want {
				files = append(files, f)
			}
			l, dir := fakeV2(t, files...)
			g, err := l.Load("camada/c1")
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			if err := g.Update(&c.res); err != nil {
				t.Fatal(err)
			}
			for f, want := range c.want {
				if got, _ := os.ReadFile(filepath.Join(dir, f)); string(got) != want {
					t.Errorf("%s = %q, want %q", f, got, want)
				}
			}
		})
	}
}

func TestV2PeriodKeepsQuota(t *testing.T) {
	l, dir := fakeV2(t)
	if err := os.WriteFile(filepath.Join(dir, "cpu.max"), []byte("20000 100000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	g, err := l.Load("camada/c1")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.Update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Period: p(uint64(40000))}}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "cpu.max")); string(got) != "20000 40000" {
		t.Errorf("cpu.max = %q", got)
	}
}

// A missing limit file makes the controller be enabled from the base down.
func TestV2Enables(t *testing.T) {
	l, dir := fakeV2(t)
	control := []string{filepath.Join(l.Unified, "cgroup.subtree_control"), filepath.Join(l.Unified, "camada/cgroup.subtree_control")}
	for _, f := range control {
		touch(t, f)
	}
	g, err := l.Load("camada/c1")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	// No kernel makes the file appear here, so the second try fails: the error says so.
	if err := g.Update(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: p(int64(7))}}); !errdefs.IsUnsupported(err) {
		t.Errorf("Update = %v, want not supported", err)
	}
	for _, f := range control {
		if got, _ := os.ReadFile(f); string(got) != "+pids" {
			t.Errorf("%s = %q, want +pids", f, got)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.subtree_control")); err == nil {
		t.Error("the controller was handed on below the group, where processes stand")
	}
}

func TestRefusedLimits(t *testing.T) {
	l, _ := fakeV2(t, "memory.max", "memory.swap.max", "io.weight", "cgroup.kill")
	for _, c := range []struct {
		name  string
		l     Layout
		res   specs.LinuxResources
		class errdefs.Class
	}{
		{"swap below memory", l, specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p(int64(100)), Swap: p(int64(50))}}, errdefs.ErrInvalid},
		{"swap without memory", l, specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: p(int64(50))}}, errdefs.ErrInvalid},
		{"weight out of range", l, specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: p(uint16(5))}}, errdefs.ErrInvalid},
		{"unified path", l, specs.LinuxResources{Unified: map[string]string{"../memory.max": "1"}}, errdefs.ErrInvalid},
		{"unified kill", l, specs.LinuxResources{Unified: map[string]string{"cgroup.kill": "1"}}, errdefs.ErrInvalid},
		{"unified on v1", Layout{Unified: l.Unified, V1: map[string]string{"memory": "/nowhere"}}, specs.LinuxResources{Unified: map[string]string{"memory.max": "1"}}, errdefs.ErrUnsupported},
		{"net_cls on v2", l, specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: p(uint32(1))}}, errdefs.ErrUnsupported},
		{"no cgroups", Layout{}, specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p(int64(100))}}, errdefs.ErrUnsupported},
	} {
		g, err := c.l.Load("camada/c1")
		if err != nil {
			g = &Group{layout: c.l, fd: -1}
		}
		if err := g.Update(&c.res); !errors.Is(err, c.class) {
			t.Errorf("%s: %v, want class %q", c.name, err, c.class)
		}
		_ = g.Close()
	}
}

// A user without a writable hierarchy runs without a group, unless limits are asked for.
func TestNoCgroup(t *testing.T) {
	l := Layout{InUserNS: true}
	g, err := l.Create("camada/c1", &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}})
	if err != nil {
		t.Fatal(err)
	}
	if g.Tracks() || g.FD() != -1 || len(g.Dirs()) != 0 {
		t.Errorf("the group is somewhere: %v", g.Dirs())
	}
	if err := g.Kill(t.Context()); !errdefs.IsUnsupported(err) {
		t.Errorf("Kill = %v", err)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := (Layout{}).Create("camada/c1", &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}); !errdefs.IsUnsupported(err) {
		t.Errorf("device rules outside of a user namespace: %v", err)
	}
}

// What cannot be filtered is refused, but for a list that allows everything.
func TestNoDeviceFilter(t *testing.T) {
	l, _ := fakeV2(t)
	for _, c := range []struct {
		name  string
		rules []specs.LinuxDeviceCgroup
		ok    bool
	}{
		{"all allowed", []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}, true},
		{"none allowed", []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, false},
		{"all but one", []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}, {Type: "c", Major: p(int64(1)), Minor: p(int64(3)), Access: "r"}}, false},
		{"all, for reading", []specs.LinuxDeviceCgroup{{Allow: true, Access: "r"}}, false},
	} {
		parsed, err := parseDevices(c.rules)
		if err != nil {
			t.Fatal(err)
		}
		if got := allowsAll(parsed); got != c.ok {
			t.Errorf("%s: allowsAll = %v", c.name, got)
		}
	}
	for err, want := range map[error]bool{unix.ENOSYS: true, unix.EINVAL: true, unix.EPERM: false, unix.EBADF: false} {
		if got := noFilters(fmt.Errorf("load device filter: %w", err)); got != want {
			t.Errorf("noFilters(%v) = %v", err, got)
		}
	}
	// In a user namespace nothing is refused, see applyDevices; here the filter cannot be attached.
	g, err := l.Load("camada/c1")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.Update(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}); !errdefs.IsUnsupported(err) {
		t.Errorf("deny all without a filter = %v, want not supported", err)
	}
}
