package engine

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/external"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/userns"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ownRuntime is the name of the runtime that needs no other program.
const ownRuntime = "camada"

// planRuntime finds the program of --runtime, a name or a path.
func planRuntime(o *RunOptions) error {
	if o.Runtime == "" || o.Runtime == ownRuntime {
		if len(o.RuntimeFlags) > 0 {
			return errdefs.Invalid("--runtime-flag is for another runtime: name it with --runtime")
		}
		o.Runtime = ""
		return nil
	}
	if o.Init {
		return errdefs.Unsupported("--init: the small init is of camada's own runtime; --runtime %s has none", o.Runtime)
	}
	name, err := exec.LookPath(o.Runtime)
	if err == nil {
		name, err = filepath.Abs(name)
	}
	if err != nil {
		return errdefs.NotFound("unknown or invalid runtime name: %s: %w", o.Runtime, err)
	}
	o.Runtime = name
	return nil
}

// external is the runtime of a container that is not our own; false when it is.
func (e *Engine) external(l *launch) (external.Runtime, bool) {
	if l.opts.Runtime == "" {
		return external.Runtime{}, false
	}
	dir := "/run/camada"
	if userns.Rootless() {
		if dir = e.getenv("XDG_RUNTIME_DIR"); dir == "" {
			dir = e.root
		}
		dir = filepath.Join(dir, "camada")
	}
	c := l.c.Config
	r := external.Runtime{Path: l.opts.Runtime, State: filepath.Join(dir, "external"), Bundle: filepath.Join(dir, "bundles", c.ID)}
	r.CgroupsPath = orElse(c.CgroupsPath, e.cgroupsPath(c.ID))
	r.Cgroup = absoluteGroup(r.CgroupsPath)
	for _, f := range l.opts.RuntimeFlags {
		r.Flags = append(r.Flags, "--"+strings.TrimPrefix(f, "--"))
	}
	return r, true
}

// externalOf is external of a container that was made before.
func (e *Engine) externalOf(c *record.Container) (external.Runtime, bool) {
	l, err := launchOf(c)
	if err != nil { // one that cannot be started was not started by another runtime
		return external.Runtime{}, false
	}
	return e.external(l)
}

// startProcess starts the container with its runtime.
func (e *Engine) startProcess(ctx context.Context, l *launch, cfg container.Config) (*container.Process, error) {
	if r, ok := e.external(l); ok {
		return r.Start(ctx, cfg)
	}
	return container.Start(ctx, cfg)
}

// absoluteGroup is the path of a container's group for other runtimes, which take a relative one for one below the group that they are called in.
func absoluteGroup(name string) string {
	const mounted = "/sys/fs/cgroup"
	base := "/"
	if layout, err := cgroup.Detect(); err == nil && len(layout.V1) == 0 {
		base += strings.TrimPrefix(layout.Unified, mounted)
	}
	return filepath.Join(base, name)
}

// execIn starts a further process in a container with its runtime.
func (e *Engine) execIn(ctx context.Context, c *record.Container, s *specs.Spec, cfg container.ExecConfig) (*container.Process, error) {
	if r, ok := e.externalOf(c); ok {
		return r.Exec(ctx, external.ExecConfig{ID: c.Config.ID, Process: s.Process, Stdin: cfg.Stdin, Stdout: cfg.Stdout, Stderr: cfg.Stderr})
	}
	cfg.Process, cfg.Seccomp, cfg.ID, cfg.CgroupsPath, cfg.DieWithParent = s.Process, s.Linux.Seccomp, c.Config.ID, c.Config.CgroupsPath, true
	return container.Exec(ctx, cfg)
}

// externalUser resolves a user in the files of a container of another runtime, whose processes may be none of this machine.
func (e *Engine) externalUser(ctx context.Context, c *record.Container, who string, groups []string) (spec.User, error) {
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return spec.User{}, err
	}
	root, err := snaps.Mount(ctx, c.Config.Snapshot)
	if err != nil {
		return spec.User{}, err
	}
	return resolveUser(layerFS{root}, who, groups)
}

// signalFirst sends a signal to the first process of a container with its runtime; false when that is our own.
func (e *Engine) signalFirst(ctx context.Context, c *record.Container, sig syscall.Signal) (bool, error) {
	r, ok := e.externalOf(c)
	if !ok {
		return false, nil
	}
	err := r.Kill(ctx, c.Config.ID, sig)
	if err != nil && !c.Alive() {
		err = nil // it ended at this moment
	}
	return true, err
}

// apart reports whether the processes of a container are none of this machine, because its runtime has a kernel of its own.
func (e *Engine) apart(ctx context.Context, c *record.Container) (external.Runtime, bool, error) {
	r, ok := e.externalOf(c)
	if !ok {
		return r, false, nil
	}
	apart, err := r.Apart(ctx, c.Config.ID, c.State.Pid)
	return r, apart, err
}

// forget takes away what another runtime knows of a container whose keeper was killed.
func (e *Engine) forget(ctx context.Context, c *record.Container) error {
	if r, ok := e.externalOf(c); ok {
		return r.Delete(ctx, c.Config.ID)
	}
	return nil
}
