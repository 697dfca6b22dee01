package cgroup

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The net_cls and net_prio controllers: v1 only; v2 leaves both to nftables.

func netClassWanted(r *specs.LinuxResources) bool {
	return r.Network != nil && r.Network.ClassID != nil && *r.Network.ClassID != 0
}

func netClassV1(dir string, r *specs.LinuxResources) error {
	return writeInt(dir, "net_cls.classid", uint64(*r.Network.ClassID))
}

func netPrioWanted(r *specs.LinuxResources) bool {
	return r.Network != nil && len(r.Network.Priorities) > 0
}

func netPrioV1(dir string, r *specs.LinuxResources) error {
	for _, p := range r.Network.Priorities {
		if err := write(dir, "net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority)); err != nil {
			return err
		}
	}
	return nil
}
