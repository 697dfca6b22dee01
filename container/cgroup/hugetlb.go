package cgroup

import (
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The hugetlb controller: bytes of huge pages per page size ("2MB", "1GB").

func hugetlbWanted(r *specs.LinuxResources) bool { return len(r.HugepageLimits) > 0 }

func hugetlbV1(dir string, r *specs.LinuxResources) error {
	return hugetlb(dir, r, ".limit_in_bytes", ".rsvd.limit_in_bytes")
}

func hugetlbV2(dir string, r *specs.LinuxResources) error {
	return hugetlb(dir, r, ".max", ".rsvd.max")
}

// hugetlb limits both use and reservation: a limit on use alone ends a process
// by SIGBUS long after its mmap. Reservation limits came with Linux 5.7.
func hugetlb(dir string, r *specs.LinuxResources, use, reservation string) error {
	for _, h := range r.HugepageLimits {
		if h.Pagesize == "" || strings.ContainsAny(h.Pagesize, "/.") {
			return errdefs.Invalid("huge page size %q", h.Pagesize)
		}
		err := writeInt(dir, "hugetlb."+h.Pagesize+use, h.Limit)
		if err != nil {
			return err
		}
		if err := writeInt(dir, "hugetlb."+h.Pagesize+reservation, h.Limit); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}
