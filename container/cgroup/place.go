package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// controller is one kernel controller: when it is needed, and how its limits are
// written to a v1 and to a v2 group. A nil writer is a version without it.
type controller struct {
	name, v1name string
	wanted       func(*specs.LinuxResources) bool
	v1, v2       func(dir string, r *specs.LinuxResources) error
}

// controllers is a function, not a table, so that nothing is built at start.
func controllers() []controller {
	return []controller{
		{"memory", "memory", memoryWanted, memoryV1, memoryV2},
		{"cpu", "cpu", cpuWanted, cpuV1, cpuV2},
		{"cpuset", "cpuset", cpusetWanted, cpusetBoth, cpusetBoth},
		{"pids", "pids", pidsWanted, pidsBoth, pidsBoth},
		{"io", "blkio", ioWanted, ioV1, ioV2},
		{"hugetlb", "hugetlb", hugetlbWanted, hugetlbV1, hugetlbV2},
		{"rdma", "rdma", rdmaWanted, rdmaBoth, rdmaBoth},
		{"net_cls", "net_cls", netClassWanted, netClassV1, nil},
		{"net_prio", "net_prio", netPrioWanted, netPrioV1, nil},
	}
}

// placed is a controller that is needed, with the base of its hierarchy.
type placed struct {
	controller
	base string
}

// place finds the hierarchy of each controller that res needs.
func (l Layout) place(res *specs.LinuxResources) ([]placed, error) {
	var places []placed
	for _, c := range controllers() {
		if !c.wanted(res) {
			continue
		}
		base := l.V1[c.v1name]
		if base == "" && c.v2 != nil {
			base = l.Unified
		}
		if base == "" {
			return nil, l.missing(c.name)
		}
		places = append(places, placed{c, base})
	}
	names, err := unifiedControllers(res)
	if err != nil {
		return nil, err
	}
	if len(res.Unified) > 0 && l.Unified == "" {
		return nil, l.missing("unified")
	}
	for _, name := range names {
		if l.V1[name] != "" || name == "io" && l.V1["blkio"] != "" {
			return nil, errdefs.Unsupported("unified limits of the %s controller: it is mounted as cgroup v1 here", name)
		}
	}
	return places, nil
}

// delegation is what a user can do who has no rights over cgroups.
const delegation = "an ordinary user needs cgroup v2 and a session whose cgroup systemd delegates: systemd-run --user --scope -p Delegate=yes camada ..."

// mounting is what root can do.
const mounting = "mount them so that they can be (mount -t cgroup2 cgroup2 /sys/fs/cgroup)"

// advice is what this user can do about control groups that cannot be written to.
func (l Layout) advice() string {
	if l.InUserNS || os.Geteuid() != 0 {
		return delegation
	}
	return mounting
}

func (l Layout) missing(name string) error {
	if l.Unified == "" && len(l.V1) == 0 {
		return errdefs.Unsupported("%s limits: no cgroup can be written to; %s", name, l.advice())
	}
	return errdefs.Unsupported("%s limits: this machine has no such cgroup controller", name)
}

// apply writes all limits.
func (g *Group) apply(places []placed, res *specs.LinuxResources) error {
	for _, p := range places {
		if p.base != g.layout.Unified {
			if err := p.v1(g.v1[p.v1name], res); err != nil {
				return fmt.Errorf("set %s limits: %w", p.name, g.explain(err))
			}
			continue
		}
		if err := g.retryEnabled(p.name, func() error { return p.v2(g.unified, res) }); err != nil {
			return fmt.Errorf("set %s limits: %w", p.name, g.explain(err))
		}
	}
	if len(res.Unified) > 0 {
		names, err := unifiedControllers(res)
		if err != nil {
			return err
		}
		// The first failure may be of any of the controllers: enable all.
		if err := g.retryEnabled(strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), " "), func() error { return writeUnified(g.unified, res) }); err != nil {
			return g.explain(err)
		}
	}
	if err := g.applyDevices(res.Devices); err != nil {
		return fmt.Errorf("set device rules: %w", err)
	}
	return nil
}

// retryEnabled writes v2 limits, and when a file is missing enables the named
// controllers down to the group and writes once more: after the first container
// they are enabled, and asking first would cost every further one.
func (g *Group) retryEnabled(names string, set func() error) error {
	err := set()
	if !gone(err) || names == "" {
		return err
	}
	if err := enable(g.layout.Unified, filepath.Dir(g.unified), strings.Fields(names)); err != nil {
		return err
	}
	return set()
}

// enable hands the controllers on in all groups from base down to parent.
func enable(base, parent string, names []string) error {
	rel, err := filepath.Rel(base, parent)
	if err != nil || strings.HasPrefix(rel, "..") {
		return errdefs.Invalid("cgroup %s is not below %s", parent, base)
	}
	dirs := []string{base}
	if rel != "." {
		for part := range strings.SplitSeq(rel, "/") {
			dirs = append(dirs, filepath.Join(dirs[len(dirs)-1], part))
		}
	}
	for _, dir := range dirs {
		for _, name := range names {
			err := write(dir, "cgroup.subtree_control", "+"+name)
			switch {
			case err == nil:
			case errors.Is(err, unix.EBUSY):
				return errdefs.Unsupported("controller %s: processes stand directly in %s, which cgroup v2 does not allow beside groups with limits: %w", name, dir, err)
			case errors.Is(err, unix.EINVAL), gone(err):
				return errdefs.Unsupported("controller %s: not to be had in %s: %w", name, dir, err)
			default:
				return err
			}
		}
	}
	return nil
}

// explain gives the kernel's answers a class.
func (g *Group) explain(err error) error {
	var class errdefs.Class
	if errors.As(err, &class) {
		return err
	}
	switch {
	case refused(err), gone(err):
		return errdefs.With(errdefs.ErrUnsupported, err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE):
		return errdefs.With(errdefs.ErrInvalid, err)
	}
	return err
}
