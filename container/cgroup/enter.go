package cgroup

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Do runs start on a thread that stands in all of the group's v1 hierarchies, so
// that a process which start forks is born inside. The v2 hierarchy is not
// entered: there start has to clone with CLONE_INTO_CGROUP and FD. start must
// fork on the calling goroutine, as os/exec and a raw clone do. Do keeps the
// goroutine's thread: a parent-death signal of the child stays with it when the
// caller locked it before.
func (g *Group) Do(start func() error) error {
	if len(g.v1) == 0 {
		return start()
	}
	runtime.LockOSThread()
	back, err := g.home()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	var entered []string
	for controller, dir := range g.v1 {
		// Zero is the writing thread. Moving it waits for no lock.
		if err = write(dir, "tasks", "0"); err != nil {
			break
		}
		entered = append(entered, controller)
	}
	if err == nil {
		err = start()
	}
	for _, controller := range entered {
		if e := write(back[controller], "tasks", "0"); e != nil {
			// The thread cannot serve others any more: it stays locked and dies
			// with its goroutine.
			return errors.Join(err, fmt.Errorf("leave cgroup %s: %w", g.path, e))
		}
	}
	runtime.UnlockOSThread()
	return err
}

// home gives the directory of the calling thread in each of the group's v1 hierarchies.
func (g *Group) home() (map[string]string, error) {
	data, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("find own cgroup: %w", err)
	}
	back := map[string]string{}
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			if base := g.layout.V1[controller]; base != "" {
				m := mountpoint{root: g.layout.roots[controller], point: base}
				back[controller] = m.inside(parts[2])
			}
		}
	}
	return back, nil
}

// AddPid moves a running process, with all its threads, into the group. It takes
// milliseconds for each hierarchy; Do and FD do not.
func (g *Group) AddPid(pid int) error {
	for _, dir := range g.Dirs() {
		if err := write(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("add process %d to cgroup %s: %w", pid, g.path, err)
		}
	}
	return nil
}

// Pids gives the processes in the group and in the groups below it.
func (g *Group) Pids() ([]int, error) {
	dir := g.tracking()
	if dir == "" {
		return nil, nil
	}
	pids, err := pidsBelow(dir, 0)
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup %s: %w", g.path, err)
	}
	return pids, nil
}

// maxDepth bounds how deep groups below a container's are looked for.
const maxDepth = 64

func pidsBelow(dir string, depth int) ([]int, error) {
	pids, err := readPids(dir)
	if gone(err) {
		return nil, nil
	}
	if errors.Is(err, unix.EOPNOTSUPP) { // a threaded v2 group has threads only
		err = nil
	}
	if err != nil || depth > maxDepth {
		return pids, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return pids, nil //nolint:nilerr // removed in the meantime: no process was in it
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		below, err := pidsBelow(dir+"/"+e.Name(), depth+1)
		if err != nil {
			return nil, err
		}
		pids = append(pids, below...)
	}
	return pids, nil
}

// tracking is the directory in which all processes are found.
func (g *Group) tracking() string {
	if g.unified != "" {
		return g.unified
	}
	if dir := g.v1["freezer"]; dir != "" {
		return dir
	}
	for _, dir := range g.Dirs() {
		return dir
	}
	return ""
}
