package cgroup

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The rdma controller: handles and objects per device, alike on v1 and v2.

func rdmaWanted(r *specs.LinuxResources) bool { return len(r.Rdma) > 0 }

func rdmaBoth(dir string, r *specs.LinuxResources) error {
	for device, limit := range r.Rdma {
		line := device
		if limit.HcaHandles != nil {
			line += fmt.Sprintf(" hca_handle=%d", *limit.HcaHandles)
		}
		if limit.HcaObjects != nil {
			line += fmt.Sprintf(" hca_object=%d", *limit.HcaObjects)
		}
		if err := write(dir, "rdma.max", line); err != nil {
			return err
		}
	}
	return nil
}
