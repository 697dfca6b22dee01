package cgroup

import (
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The cpuset controller: which processors and memory nodes may be used.

func cpusetWanted(r *specs.LinuxResources) bool {
	return r.CPU != nil && (r.CPU.Cpus != "" || r.CPU.Mems != "")
}

func cpusetBoth(dir string, r *specs.LinuxResources) error {
	if r.CPU.Cpus != "" {
		if err := write(dir, "cpuset.cpus", r.CPU.Cpus); err != nil {
			return err
		}
	}
	if r.CPU.Mems != "" {
		return write(dir, "cpuset.mems", r.CPU.Mems)
	}
	return nil
}

// inheritCpuset fills the empty cpus and mems of the v1 groups from below base
// down to dir with their parent's: a v1 cpuset starts empty, and no process can
// enter an empty one.
func inheritCpuset(base, dir string) error {
	rel, err := filepath.Rel(base, dir)
	if err != nil {
		return err
	}
	parent := base
	for part := range strings.SplitSeq(rel, "/") {
		child := filepath.Join(parent, part)
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			has, err := read(child, file)
			if err != nil {
				return err
			}
			if strings.TrimSpace(has) != "" {
				continue
			}
			from, err := read(parent, file)
			if err != nil {
				return err
			}
			if err := write(child, file, strings.TrimSpace(from)); err != nil {
				return err
			}
		}
		parent = child
	}
	return nil
}
