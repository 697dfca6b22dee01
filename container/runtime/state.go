package runtime

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// State tells what a container is and does. ErrNotFound when it does not exist.
func (r *Runtime) State(id string) (State, error) {
	e, err := r.lookup(id)
	if err != nil {
		return State{}, err
	}
	return e.state(), nil
}

// List tells of all containers, sorted by id. One that cannot be read is left out, and told of by the error.
func (r *Runtime) List() ([]State, error) {
	entries, err := os.ReadDir(r.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []State
	var failed []error
	for _, d := range entries {
		s, err := r.State(d.Name())
		switch {
		case err == nil:
			all = append(all, s)
		case !errdefs.IsNotFound(err) && !errdefs.IsInvalid(err):
			failed = append(failed, err)
		}
	}
	return all, errors.Join(failed...)
}

func (e *entry) state() State {
	s := State{State: e.oci(e.status()), Rootfs: e.saved.Rootfs, Created: e.saved.Created, Owner: e.owner()}
	if s.Status == specs.StateStopped {
		s.Pid = 0
	}
	return s
}

// oci is the state as hooks and callers get it.
func (e *entry) oci(status specs.ContainerState) specs.State {
	version := e.saved.Version
	if version == "" {
		version = specs.Version
	}
	return specs.State{
		Version: version, ID: e.saved.ID, Status: status, Pid: e.saved.Pid,
		Bundle: e.saved.Bundle, Annotations: e.saved.Annotations,
	}
}

// status asks the kernel what the container does.
func (e *entry) status() specs.ContainerState {
	switch {
	case e.saved.Pid == 0 && e.lock == nil && e.busy():
		return specs.StateCreating
	case !alive(e.saved.Pid, e.saved.Tick):
		return specs.StateStopped
	case e.frozen():
		return StatusPaused
	case container.Held(e.dir):
		return specs.StateCreated
	}
	return specs.StateRunning
}

// frozen tells whether the container's processes stand still. A container without a cgroup cannot be frozen.
func (e *entry) frozen() bool {
	g, err := e.group()
	if err != nil {
		return false
	}
	defer g.Close()
	frozen, err := g.Frozen()
	return err == nil && frozen
}

// group opens the container's cgroups. ErrNotFound when there are none.
func (e *entry) group() (*cgroup.Group, error) {
	layout, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	name, err := cgroup.Path(e.saved.CgroupsPath, e.saved.ID)
	if err != nil {
		return nil, err
	}
	return layout.Load(name)
}

// owner names who made the directory.
func (e *entry) owner() string {
	st, err := os.Lstat(e.dir)
	if err != nil {
		return ""
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	if sys.Uid == 0 {
		return "root"
	}
	id := strconv.Itoa(int(sys.Uid))
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// alive tells whether a process is there, has not ended, and is the one that was noted.
func alive(pid int, tick uint64) bool {
	if pid <= 0 {
		return false
	}
	now, zombie := startTick(pid)
	return now != 0 && !zombie && now == tick
}

// startTick reads when a process started (field 22 of /proc/<pid>/stat, in ticks since the machine did), 0 when it is
// not there, and whether it is a zombie.
func startTick(pid int) (tick uint64, zombie bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // begins with field 3; the name before it can hold anything
	if len(f) < 20 {
		return 0, false
	}
	tick, err = strconv.ParseUint(string(f[19]), 10, 64)
	if err != nil {
		return 0, false
	}
	return tick, f[0][0] == 'Z' || f[0][0] == 'X'
}
