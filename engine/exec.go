package engine

import (
	"context"
	"fmt"
	"os"
	"path"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Exec runs a further program in a running container and returns its exit code.
func (e *Engine) Exec(ctx context.Context, opts ExecOptions) (int, error) {
	c, err := e.records.Get(ctx, opts.Container)
	if err != nil {
		return 0, err
	}
	if !c.Running() {
		return 0, errdefs.Conflict("container %s is not running", opts.Container)
	}
	if paused(c) {
		return 0, errdefs.Conflict("container %s is paused: unpause it first", opts.Container)
	}
	s, err := execSpec(c, opts)
	if err != nil {
		return 0, err
	}
	io := &streams{opts: RunOptions{TTY: opts.TTY, Interactive: opts.Interactive, Stdin: opts.Stdin, Stdout: opts.Stdout, Stderr: opts.Stderr, Signals: opts.Signals}}
	cfg := container.ExecConfig{Pid: c.State.Pid, Process: s.Process, Seccomp: s.Linux.Seccomp, ID: c.Config.ID, CgroupsPath: c.Config.CgroupsPath, DieWithParent: true}
	if cfg.Stdin, cfg.Stdout, cfg.Stderr, err = io.open(); err != nil {
		return 0, err
	}
	proc, err := container.Exec(ctx, cfg)
	io.started()
	if err != nil {
		io.finish()
		return 0, err
	}
	stop := io.attach(proc)
	defer stop()
	status, err := proc.Wait(context.WithoutCancel(ctx))
	io.finish()
	return status.Code, err
}

// execSpec makes the process of an exec: the container's environment, user and rights unless told otherwise.
func execSpec(c *record.Container, opts ExecOptions) (*specs.Spec, error) {
	root, err := os.OpenRoot(fmt.Sprintf("/proc/%d/root", c.State.Pid))
	if err != nil {
		return nil, fmt.Errorf("open the root file system of container %s: %w", c.Config.Name, err)
	}
	defer root.Close()
	user, err := spec.ResolveUser(root.FS(), orElse(opts.User, c.Config.User))
	if err != nil {
		return nil, err
	}
	env := append(append([]string{}, c.Config.Env...), opts.Env...)
	if !hasEnv(env, "HOME") {
		env = append(env, "HOME="+orElse(user.Home, "/"))
	}
	if opts.TTY && !hasEnv(env, "TERM") {
		env = append(env, "TERM=xterm")
	}
	return spec.New(spec.Options{
		Args: opts.Args, Env: env, Cwd: path.Clean("/" + orElse(opts.Workdir, c.Config.Workdir)), User: user, Terminal: opts.TTY,
		Privileged: opts.Privileged || c.Config.Privileged, CapAdd: c.Config.CapAdd, CapDrop: c.Config.CapDrop,
	})
}
