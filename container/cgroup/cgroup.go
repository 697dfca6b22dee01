// Package cgroup makes, limits, watches and removes the control groups of
// containers, on cgroup v1, v2 and hybrid machines.
//
//	layout, err := cgroup.Detect()
//	g, err := layout.Create("camada/"+id, spec.Linux.Resources)
//	err = g.Do(func() error { // the child is born inside the group
//		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: g.FD() >= 0, CgroupFD: g.FD()}
//		return cmd.Start()
//	})
//	...
//	err = g.Kill(ctx)
//	err = g.Remove(ctx)
//
// # Which groups are made
//
// One group is always made, to be able to find, freeze and kill all processes
// of the container: in the v2 hierarchy where there is one (also on hybrid
// machines, where it may have no controller at all: cgroup.kill and
// cgroup.freeze need none), in v1's pids or freezer hierarchy otherwise. Beyond
// that a v1 group is made only in the hierarchies of controllers that the given
// limits need.
//
// # Why Do and FD
//
// Moving a running process into a group (AddPid) takes a lock that waits for
// all forks of the machine: 5 to 15 ms for each hierarchy. A child that is
// cloned into a v2 group (CLONE_INTO_CGROUP), or forked by a thread that moved
// itself into the v1 groups, costs about 20 microseconds instead.
//
// # Which limits a v1 and a v2 machine share
//
// Limits are given as the OCI runtime-spec has them, in the terms of v1. On v2
// they are converted: shares to weights, memory+swap to swap alone, the device
// list to an eBPF program. LinuxResources.Unified is for v2 alone.
package cgroup

import (
	"path"
	"strings"

	"github.com/camada/camada/errdefs"
)

// Layout tells where groups can be made. It is a value that Detect fills;
// nothing stops a caller from filling it himself.
type Layout struct {
	// Unified is the directory of the v2 hierarchy below which groups are made:
	// its mount point for root, the top of the delegated subtree otherwise.
	// Empty where there is none that can be written to.
	Unified string
	// Apart tells that this process does not stand below Unified, which is that of its user's systemd: it can read and change
	// groups there, but the kernel lets it put no process into them.
	Apart bool
	// V1 maps the name of a v1 controller to the directory below which its
	// groups are made. Controllers that are mounted together have the same one.
	V1 map[string]string
	// InUserNS tells that the process is in a user namespace that is not the
	// machine's first: device nodes cannot be made, so that a device list that
	// cannot be enforced does no harm.
	InUserNS bool

	// roots are the subtrees of the v1 hierarchies that their mount points show.
	roots map[string]string
}

// Path gives the path of the group of a container below the layout's
// directories. cgroupsPath is the runtime-spec's linux.cgroupsPath: empty gives
// "camada/<id>", systemd's form "slice:prefix:name" gives "container" below the scope that systemd
// would choose (package systemd makes it: what is in it directly is systemd's), anything else is taken as it is.
// ".." never leaves the base.
func Path(cgroupsPath, id string) (string, error) {
	if cgroupsPath == "" {
		cgroupsPath = "camada/" + id
	}
	if strings.ContainsRune(cgroupsPath, 0) || len(cgroupsPath) > 4000 {
		return "", errdefs.Invalid("cgroups path %q: too long or with a NUL byte", cgroupsPath)
	}
	if parts := strings.Split(cgroupsPath, ":"); len(parts) == 3 && !strings.Contains(cgroupsPath, "/") {
		return systemdPath(parts[0], parts[1], parts[2])
	}
	p := strings.TrimPrefix(path.Clean("/"+cgroupsPath), "/")
	if p == "" {
		return "", errdefs.Invalid("cgroups path %q: names no group", cgroupsPath)
	}
	return p, nil
}

// systemdPath expands "a-b.slice" into "a.slice/a-b.slice" and appends the scope.
func systemdPath(slice, prefix, name string) (string, error) {
	if slice == "" {
		slice = "system.slice"
	}
	stem, ok := strings.CutSuffix(slice, ".slice")
	if !ok || name == "" || strings.HasPrefix(stem, "-") && stem != "-" || strings.HasSuffix(stem, "-") && stem != "-" || strings.Contains(stem, "--") {
		return "", errdefs.Invalid("cgroups path %s:%s:%s: not of the form slice:prefix:name", slice, prefix, name)
	}
	var p string
	if stem != "-" {
		so := ""
		for part := range strings.SplitSeq(stem, "-") {
			so += part
			p += so + ".slice/"
			so += "-"
		}
	}
	if strings.HasSuffix(name, ".slice") {
		return p + name, nil
	}
	if prefix != "" {
		name = prefix + "-" + name
	}
	return p + name + ".scope/container", nil
}
