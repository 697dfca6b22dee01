package runtime

import (
	"context"
	"fmt"
	"os"
	"path"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ExecOptions say what runs in a container besides its program.
type ExecOptions struct {
	// Process is what runs. What it leaves out (capabilities, limits) is as in the container's spec.
	Process *specs.Process
	// Cgroup is the path of a group below the container's; "" for that itself.
	Cgroup string
	// Stdin, Stdout, Stderr, ExtraFiles, ConsoleSocket and PidFile are as in CreateOptions.
	Stdin, Stdout, Stderr  *os.File
	ExtraFiles             []*os.File
	ConsoleSocket, PidFile string
	// Detach is as in CreateOptions.
	Detach bool
}

// Process is the process of a container's spec, to be changed and given to Exec.
func (r *Runtime) Process(id string) (*specs.Process, error) {
	e, err := r.lookup(id)
	if err != nil {
		return nil, err
	}
	s, err := e.spec()
	if err != nil {
		return nil, err
	}
	return s.Process, nil
}

// Exec starts a process in a running container and returns when its program has been executed. ErrConflict when the
// container does not run; other errors are container.Exec's. The process is the caller's child.
func (r *Runtime) Exec(ctx context.Context, id string, o ExecOptions) (*container.Process, error) {
	e, err := r.lookup(id)
	if err != nil {
		return nil, err
	}
	switch status := e.status(); status {
	case specs.StateRunning, specs.StateCreated:
	case StatusPaused:
		return nil, errdefs.Conflict("cannot exec in a paused container: %s", id)
	default:
		return nil, errdefs.Conflict("cannot exec in a container that is %s: %s", status, id)
	}
	spec, err := e.spec()
	if err != nil {
		return nil, err
	}
	process := withDefaults(*o.Process, spec.Process)
	setHome(&process, homeOf(e.saved.Pid, process.User.UID))
	if !process.Terminal && o.ConsoleSocket != "" {
		return nil, errdefs.Invalid("cannot use console socket if the runtime will not detach or allocate tty")
	}
	cfg := container.ExecConfig{
		Pid: e.saved.Pid, Process: &process, Seccomp: spec.Linux.Seccomp, Personality: spec.Linux.Personality, Bundle: e.saved.Bundle,
		Annotations: e.saved.Annotations, SharedMounts: container.SharesMounts(spec), ID: id, CgroupsPath: e.saved.CgroupsPath, Leave: o.Detach,
		Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, ExtraFiles: o.ExtraFiles,
		Verify: func() error {
			if !alive(e.saved.Pid, e.saved.Tick) {
				return e.notRunning()
			}
			return nil
		},
	}
	if o.Cgroup != "" {
		if cfg.CgroupsPath, err = e.groupBelow(o.Cgroup); err != nil {
			return nil, err
		}
	}
	p, err := container.Exec(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err = giveConsole(p, &process, o.ConsoleSocket); err == nil {
		err = writePid(o.PidFile, p.Pid())
	}
	if err != nil {
		_ = p.Signal(unix.SIGKILL)
		return nil, fmt.Errorf("exec in container %s: %w", id, err)
	}
	return p, nil
}

// withDefaults completes a process with what the container's has; nil has nothing. Without any capabilities named, the
// process has none.
func withDefaults(p specs.Process, of *specs.Process) specs.Process {
	if of != nil {
		if p.Capabilities == nil {
			p.Capabilities = of.Capabilities
		}
		if p.Rlimits == nil {
			p.Rlimits = of.Rlimits
		}
		if p.ApparmorProfile == "" {
			p.ApparmorProfile = of.ApparmorProfile
		}
		if p.SelinuxLabel == "" {
			p.SelinuxLabel = of.SelinuxLabel
		}
	}
	if p.Capabilities == nil {
		p.Capabilities = &specs.LinuxCapabilities{}
	}
	return p
}

// groupBelow gives the cgroups path of a group that was made in the container's.
func (e *entry) groupBelow(name string) (string, error) {
	g, err := e.group()
	if err != nil {
		return "", err
	}
	_ = g.Close()
	below := path.Join(g.Path(), path.Clean("/"+name))
	b := &entry{saved: saved{ID: e.saved.ID, CgroupsPath: "/" + below}}
	if g, err = b.group(); err != nil {
		return "", fmt.Errorf("exec in container %s: %w", e.saved.ID, err)
	}
	_ = g.Close()
	return "/" + below, nil
}
