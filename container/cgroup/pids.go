package cgroup

import specs "github.com/opencontainers/runtime-spec/specs-go"

// The pids controller: how many tasks may be. Zero or less is no limit.

func pidsWanted(r *specs.LinuxResources) bool { return r.Pids != nil && r.Pids.Limit != nil }

func pidsBoth(dir string, r *specs.LinuxResources) error {
	limit := *r.Pids.Limit
	if limit == 0 {
		limit = -1
	}
	return writeMax(dir, "pids.max", limit)
}
