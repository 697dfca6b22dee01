package engine

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/userns"
	"golang.org/x/sys/unix"
)

// Info is what "camada info" shows.
type Info struct {
	Version string
	Root    string
	// Driver of the snapshots, and why it is not overlay when it is not.
	Driver       string
	DriverReason string `json:",omitempty"`
	UserXattr    bool
	Reflink      bool
	Rootless     bool
	// IDs says how many ids the user namespace has, for a rootless one.
	IDs             string `json:",omitempty"`
	Cgroups         string
	Kernel          string
	Platform        string
	CPUs            int
	Images          int
	Containers      int
	Running         int
	DefaultNetwork  string
	SeccompProfile  string
	StorageFreeByte uint64
}

// Line is one line of the text that shows Info.
type Line struct{ Name, Value string }

// Lines are what people read.
func (i Info) Lines() []Line {
	driver := i.Driver
	switch {
	case i.DriverReason != "":
		driver += " (overlay cannot be used: " + i.DriverReason + ")"
	case i.UserXattr:
		driver += " (userxattr)"
	}
	user := "root"
	if i.Rootless {
		user = "rootless, " + i.IDs
	}
	return []Line{
		{"camada", i.Version}, {"Store", i.Root}, {"Free space", fmt.Sprintf("%.1f GB", float64(i.StorageFreeByte)/1e9)}, {"Snapshots", driver}, {"User", user},
		{"Cgroups", i.Cgroups}, {"Kernel", i.Kernel}, {"Platform", i.Platform}, {"Processors", fmt.Sprint(i.CPUs)},
		{"Images", fmt.Sprint(i.Images)}, {"Containers", fmt.Sprintf("%d, %d running", i.Containers, i.Running)},
	}
}

// Info tells what was found on this machine and what was chosen.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	c, err := e.choose(ctx)
	if err != nil {
		return Info{}, err
	}
	i := Info{
		Root: e.root, Driver: c.Driver, DriverReason: c.Reason, UserXattr: c.UserXattr, Reflink: c.Reflink, Rootless: userns.Rootless(),
		Kernel: c.Kernel, Platform: platform.Format(platform.Host()), CPUs: runtime.NumCPU(), DefaultNetwork: "bridge", SeccompProfile: "default",
	}
	if i.Rootless {
		i.IDs = idsInNamespace()
	}
	if l, err := cgroup.Detect(); err == nil {
		i.Cgroups = describe(l)
	}
	tags, err := e.refs.List(ctx)
	if err != nil {
		return Info{}, err
	}
	i.Images = len(tags)
	list, err := e.records.List(ctx)
	if err != nil {
		return Info{}, err
	}
	i.Containers = len(list)
	for _, c := range list {
		if c.Running() {
			i.Running++
		}
	}
	var fs unix.Statfs_t
	if unix.Statfs(e.root, &fs) == nil {
		i.StorageFreeByte = fs.Bavail * uint64(fs.Bsize)
	}
	return i, nil
}

// describe names the hierarchies that limits are set in.
func describe(l cgroup.Layout) string {
	if l.InUserNS && l.Unified == "" { // of v1 nothing can be delegated safely
		return "none delegated to this user: no limits"
	}
	switch {
	case l.Unified != "" && len(l.V1) > 0:
		return "v1 and v2 (hybrid)"
	case l.Unified != "":
		return "v2"
	case len(l.V1) > 0:
		return "v1"
	}
	return "none that can be written: no limits"
}

// idsInNamespace reads how many user ids there are.
func idsInNamespace() string {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return "ids unknown"
	}
	var sum int64
	for l := range strings.Lines(string(b)) {
		var inside, outside, n int64
		if _, err := fmt.Sscan(l, &inside, &outside, &n); err == nil {
			sum += n
		}
	}
	if sum == 1 {
		return "1 id (no ranges in /etc/subuid, or no newuidmap)"
	}
	return fmt.Sprintf("%d ids", sum)
}
