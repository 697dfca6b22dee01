package test

import (
	"fmt"
	"os"
	"strings"

	"github.com/camada/camada/container/cgroup"
	"golang.org/x/sys/unix"
)

// condition answers what scripts ask of the machine: [v1:NAME] is a controller of cgroup v1, [v1:swap] the limit of memory and swap together,
// [disk] a block device that $DISK names.
func condition(name string) (bool, error) {
	if controller, ok := strings.CutPrefix(name, "v1:"); ok {
		l, err := cgroup.Detect()
		if err != nil {
			return false, err
		}
		if controller == "swap" {
			return l.V1["memory"] != "" && cgroup.LimitsSwap(), nil
		}
		return l.V1[controller] != "", nil
	}
	if name == "disk" {
		return disk() != "", nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// disk is a whole block device of this machine, "" when there is none.
func disk() string {
	entries, _ := os.ReadDir("/sys/block")
	for _, e := range entries {
		var st unix.Stat_t
		if name := "/dev/" + e.Name(); unix.Stat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK {
			return name
		}
	}
	return ""
}
