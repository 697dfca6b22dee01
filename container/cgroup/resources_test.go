package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// disk gives a block device of this machine as "major:minor".
func disk(t *testing.T) (major, minor int64) {
	t.Helper()
	names, _ := filepath.Glob("/sys/block/*/dev")
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if n, _ := fmt.Sscanf(string(b), "%d:%d", &major, &minor); n == 2 {
			return major, minor
		}
	}
	t.Skip("no block device")
	return 0, 0
}

// TestResourcesV1 reads back from the kernel what was asked for.
func TestResourcesV1(t *testing.T) {
	l := v1(t, root(t))
	major, minor := disk(t)
	dev := specs.LinuxBlockIODevice{Major: major, Minor: minor}
	rate := func(n uint64) []specs.LinuxThrottleDevice {
		return []specs.LinuxThrottleDevice{{LinuxBlockIODevice: dev, Rate: n}}
	}
	for _, c := range []struct {
		name, controller string
		res              specs.LinuxResources
		want             map[string]string
	}{
		{"memory", "memory", specs.LinuxResources{Memory: &specs.LinuxMemory{
			Limit: p(int64(64 << 20)), Reservation: p(int64(32 << 20)), Swappiness: p(uint64(13)), DisableOOMKiller: p(true), UseHierarchy: p(true),
		}}, map[string]string{
			"memory.limit_in_bytes": "67108864", "memory.soft_limit_in_bytes": "33554432", "memory.swappiness": "13", "memory.oom_control": "oom_kill_disable 1",
		}},
		{"cpu", "cpu", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: p(uint64(300)), Quota: p(int64(20000)), Period: p(uint64(50000)), Burst: p(uint64(10000))}}, map[string]string{
			"cpu.shares": "300", "cpu.cfs_quota_us": "20000", "cpu.cfs_period_us": "50000", "cpu.cfs_burst_us": "10000",
		}},
		{"idle", "cpu", specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: p(int64(1))}}, map[string]string{"cpu.idle": "1"}},
		{"cpuset", "cpuset", specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0", Mems: "0"}}, map[string]string{"cpuset.cpus": "0", "cpuset.mems": "0"}},
		{"throttle", "blkio", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{
			ThrottleReadBpsDevice: rate(1 << 20), ThrottleWriteBpsDevice: rate(2 << 20), ThrottleReadIOPSDevice: rate(30), ThrottleWriteIOPSDevice: rate(40),
		}}, map[string]string{
			"blkio.throttle.read_bps_device": "1048576", "blkio.throttle.write_bps_device": "2097152",
			"blkio.throttle.read_iops_device": "30", "blkio.throttle.write_iops_device": "40",
		}},
		{"pids", "pids", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: p(int64(77))}}, map[string]string{"pids.max": "77"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if l.V1[c.controller] == "" {
				t.Skipf("no cgroup v1 controller %s", c.controller)
			}
			g := create(t, l, &c.res)
			for file, want := range c.want {
				if got, err := read(g.v1[c.controller], file); err != nil || !strings.Contains(got, want) {
					t.Errorf("%s = %q, %v, want %s", file, got, err, want)
				}
			}
		})
	}
}

// TestHugePages limits them where their controller is, and so do unified limits.
func TestHugePages(t *testing.T) {
	l := root(t)
	sizes, _ := filepath.Glob("/sys/kernel/mm/hugepages/hugepages-2048kB")
	controllers, _ := read(l.Unified, "cgroup.controllers")
	if len(sizes) == 0 || l.V1["hugetlb"] == "" && !strings.Contains(controllers, "hugetlb") {
		t.Skip("no huge pages of 2 MB, or no controller for them")
	}
	g := create(t, l, &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}})
	dir, file := g.v1["hugetlb"], "hugetlb.2MB.limit_in_bytes"
	if dir == "" {
		dir, file = g.unified, "hugetlb.2MB.max"
	}
	if got, err := readUint(dir, file); err != nil || got != 4<<20 {
		t.Errorf("%s = %d, %v", file, got, err)
	}
	if dir != g.unified {
		return
	}
	if err := g.Update(&specs.LinuxResources{Unified: map[string]string{file: "6291456"}}); err != nil {
		t.Fatal(err)
	}
	if got, err := readUint(dir, file); err != nil || got != 6<<20 {
		t.Errorf("%s = %d, %v", file, got, err)
	}
}

// TestBurstUpdate raises and lowers quota and burst: the kernel wants burst within quota at every moment.
func TestBurstUpdate(t *testing.T) {
	l := v1(t, root(t))
	if l.V1["cpu"] == "" {
		t.Skip("no cgroup v1 controller cpu")
	}
	cpu := func(quota int64, burst uint64) *specs.LinuxResources {
		return &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &quota, Burst: &burst}}
	}
	g := create(t, l, cpu(20000, 20000))
	for _, n := range []int64{90000, 5000, 50000} {
		if err := g.Update(cpu(n, uint64(n))); err != nil {
			t.Fatal(err)
		}
		if got, err := read(g.v1["cpu"], "cpu.cfs_burst_us"); err != nil || strings.TrimSpace(got) != fmt.Sprint(n) {
			t.Errorf("burst %q, %v, want %d", got, err, n)
		}
	}
}

// TestOOMControlUpdate switches the killer off and on.
func TestOOMControlUpdate(t *testing.T) {
	l := v1(t, root(t))
	if l.V1["memory"] == "" {
		t.Skip("no cgroup v1 controller memory")
	}
	g := create(t, l, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p(int64(64 << 20))}})
	for _, off := range []bool{true, false, false} {
		if err := g.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: &off}}); err != nil {
			t.Fatal(err)
		}
		keys, err := readKeys(g.v1["memory"], "memory.oom_control")
		if err != nil || (keys["oom_kill_disable"] == 1) != off {
			t.Errorf("oom_control %v, %v, want off = %v", keys, err, off)
		}
	}
}

// TestResourcesRefused wants what a version of cgroups cannot do to be said by name.
func TestResourcesRefused(t *testing.T) {
	dir := t.TempDir()
	for name, err := range map[string]error{
		"swappiness":       memoryV2(dir, &specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: p(uint64(1))}}),
		"disableOOMKiller": memoryV2(dir, &specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: p(true)}}),
		"kernel memory":    memoryV2(dir, &specs.LinuxResources{Memory: &specs.LinuxMemory{Kernel: p(int64(1))}}), //nolint:staticcheck // deprecated, and refused for that
		"useHierarchy":     memoryV2(dir, &specs.LinuxResources{Memory: &specs.LinuxMemory{UseHierarchy: p(false)}}),
		"realtime":         cpuV2(dir, &specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimeRuntime: p(int64(1))}}),
		"leafWeight":       ioV1(dir, &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{LeafWeight: p(uint16(10))}}),
	} {
		if !errdefs.IsUnsupported(err) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := kernelMemoryV1(dir, &specs.LinuxMemory{KernelTCP: p(int64(1))}); !errdefs.IsUnsupported(err) {
		t.Errorf("kernel memory without the file: %v", err)
	}
}
