package engine

import (
	"testing"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestChanged(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	positive := func(n uint64) *uint64 { return &n }
	twice := func(n int64) *int64 {
		if !cgroup.LimitsSwap() {
			return nil
		}
		return &n
	}
	for _, tc := range []struct {
		name     string
		old, now RunLimits
		want     specs.LinuxResources
	}{
		{"nothing", RunLimits{}, RunLimits{}, specs.LinuxResources{}},
		{"memory", RunLimits{Memory: 64 << 20}, RunLimits{Memory: 96 << 20}, specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: number(96 << 20), Swap: twice(192 << 20)}}},
		{"memory taken away", RunLimits{Memory: 64 << 20, MemoryReservation: 32 << 20}, RunLimits{}, specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: number(-1), Swap: twice(-1), Reservation: number(-1)}}},
		{"processors", RunLimits{}, RunLimits{NanoCPUs: 5e8}, specs.LinuxResources{CPU: &specs.LinuxCPU{Period: positive(100000), Quota: number(50000)}}},
		{"processors taken away", RunLimits{NanoCPUs: 5e8, CPUShares: 512}, RunLimits{}, specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: number(-1), Shares: positive(1024)}}},
		{"quota taken away", RunLimits{CPUPeriod: 50000, CPUQuota: 20000}, RunLimits{CPUPeriod: 50000}, specs.LinuxResources{CPU: &specs.LinuxCPU{Period: positive(50000), Quota: number(-1)}}},
		{"processes", RunLimits{PidsLimit: 5}, RunLimits{PidsLimit: -1}, specs.LinuxResources{Pids: &specs.LinuxPids{Limit: number(-1)}}},
	} {
		got, err := changed(tc.old, tc.now, true)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		got.BlockIO = nil
		if tc.want.Memory == nil {
			tc.want.Memory = &specs.LinuxMemory{}
		}
		if tc.want.CPU == nil {
			tc.want.CPU = &specs.LinuxCPU{}
		}
		if diff := cmp.Diff(&tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	if got, err := changed(RunLimits{MemoryReservation: 1}, RunLimits{}, false); err != nil || *got.Memory.Reservation != 0 {
		t.Errorf("on cgroup v2 a protection becomes %v, %v", got.Memory.Reservation, err)
	}
}

func TestConflict(t *testing.T) {
	for name, c := range map[string][2]RunLimits{
		"period": {{CPUPeriod: 1000}, {CPUPeriod: 1000, NanoCPUs: 1}}, "quota": {{CPUQuota: 1000}, {CPUQuota: 1000, NanoCPUs: 1}},
		"cpus and period": {{NanoCPUs: 1}, {NanoCPUs: 1, CPUPeriod: 1000}}, "cpus and quota": {{NanoCPUs: 1}, {NanoCPUs: 1, CPUQuota: 1000}},
		"swap": {{Memory: 5, MemorySwap: 10}, {Memory: 11, MemorySwap: 10}},
	} {
		if err := conflict(c[0], c[1]); !errdefs.IsConflict(err) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
	}
	if err := conflict(RunLimits{CPUPeriod: 1000}, RunLimits{NanoCPUs: 1}); err != nil {
		t.Errorf("one in place of the other: %v", err)
	}
}

func TestReflag(t *testing.T) {
	got := reflag([]string{"--memory=64m", "--memory-swap=-1", "--env=A=1", "--cpus=2"}, []string{"--memory=96m", "--cpus=0", "--pids-limit=5"})
	if diff := cmp.Diff([]string{"--memory-swap=-1", "--env=A=1", "--memory=96m", "--pids-limit=5"}, got); diff != "" {
		t.Error(diff)
	}
}
