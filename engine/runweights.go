package engine

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/camada/camada/container/cgroup"
	"golang.org/x/sys/unix"
)

// weigh drops the weights of devices that nothing here would heed, and says so, as docker does.
func (o *RunOptions) weigh() {
	o.BlkioWeightDevices = slices.DeleteFunc(slices.Clone(o.BlkioWeightDevices), func(text string) bool {
		name, _, _ := strings.Cut(text, ":")
		var st unix.Stat_t
		if unix.Stat(name, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK || cgroup.WeighsDevices() {
			return false // what is wrong is found later
		}
		schedulers, heeds := schedulersOf(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)))
		if heeds {
			return false
		}
		if o.Warn != nil {
			o.Warn(fmt.Sprintf("--blkio-weight-device %s: no scheduler of %s heeds weights. Weight discarded. Of %q, bfq does: choose it in /sys/block/NAME/queue/scheduler", text, name, schedulers))
		}
		return true
	})
}

// schedulersOf are the schedulers that a device can have; heeds reports whether the one that it has, knows weights. dir is the device's in /sys.
func schedulersOf(dir string) (list string, heeds bool) {
	b, err := os.ReadFile(dir + "/queue/scheduler")
	if err != nil { // a partition has its disk's
		b, err = os.ReadFile(dir + "/../queue/scheduler")
	}
	if err != nil {
		return "", false
	}
	list = strings.TrimSpace(string(b))
	return list, strings.Contains(list, "[bfq]")
}
