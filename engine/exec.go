package engine

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/hostile"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Exec runs a further program in a running container and returns its exit code: 0 at once when it is detached. ErrDetached when the user's keys left
// it; it goes on then.
func (e *Engine) Exec(ctx context.Context, opts ExecOptions) (int, error) {
	c, err := e.toExecIn(ctx, opts.Container)
	if err != nil {
		return 0, err
	}
	switch {
	case opts.Detach:
		opts.Interactive = false
		return 0, e.execInBackground(opts, nil, nil)
	case opts.TTY && opts.Interactive:
		return e.execAttached(ctx, c, opts)
	}
	r, _ := e.externalOf(c)
	s := &streams{opts: RunOptions{Runtime: r.Path, TTY: opts.TTY, Interactive: opts.Interactive, Stdin: opts.Stdin, Stdout: opts.Stdout, Stderr: opts.Stderr, Signals: opts.Signals}}
	return e.execProcess(ctx, c, opts, s, nil)
}

// toExecIn finds a container in which something can be executed.
func (e *Engine) toExecIn(ctx context.Context, name string) (*record.Container, error) {
	c, err := e.records.Get(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case c.State.Status == record.Restarting:
		return nil, errdefs.Conflict("container %s is being restarted: wait until it runs", name)
	case !c.Running():
		return nil, errdefs.Conflict("container %s is not running", name)
	case paused(c):
		return nil, errdefs.Conflict("container %s is paused: unpause it first", name)
	}
	return c, nil
}

// execProcess runs a program to its end. started, when it is not nil, is called once with what came of the start.
func (e *Engine) execProcess(ctx context.Context, c *record.Container, opts ExecOptions, s *streams, started func(*container.Process, error)) (int, error) {
	tell := func(proc *container.Process, err error) {
		if started != nil {
			started(proc, err)
		}
	}
	sp, err := e.execSpec(ctx, c, opts)
	if errdefs.IsInvalid(err) { // a user or a directory that is not there
		err = &container.StartError{Code: 126, Err: err}
	}
	if err != nil {
		tell(nil, err)
		return 0, err
	}
	cfg := container.ExecConfig{Pid: c.State.Pid, Verify: stillRuns(c)}
	if cfg.Stdin, cfg.Stdout, cfg.Stderr, err = s.open(); err != nil {
		tell(nil, err)
		return 0, err
	}
	if opts.trace != nil {
		cfg.Seccomp = sp.Linux.Seccomp
		if err := opts.trace.Exec(&cfg); err != nil {
			tell(nil, err)
			return 0, err
		}
		sp.Linux.Seccomp = cfg.Seccomp
	}
	note := e.execEvents(ctx, c, opts.Args)
	note("exec_create", nil)
	proc, err := e.execIn(ctx, c, sp, cfg)
	s.started(err)
	if err != nil {
		s.finish()
		if _, ok := StartCode(err); !ok && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
			err = &container.StartError{Code: 126, Err: err}
		}
		tell(nil, err)
		return 0, err
	}
	note("exec_start", nil)
	stop := s.attach(proc)
	defer stop()
	tell(proc, nil)
	status, err := proc.Wait(context.WithoutCancel(ctx))
	s.finish()
	note("exec_die", map[string]string{"exitCode": strconv.Itoa(status.Code)})
	return status.Code, err
}

// stillRuns tells whether a container has still the first process that its record names: what was opened of a process by its id
// before is the container's then, and of none that got the same id.
func stillRuns(c *record.Container) func() error {
	return func() error {
		if err := c.Refresh(); err != nil {
			return err
		}
		if !c.Running() {
			return errdefs.Conflict("container %s is not running", c.Config.Name)
		}
		return nil
	}
}

// allRun is stillRuns of several; nil for none.
func allRun(list []*record.Container) func() error {
	if len(list) == 0 {
		return nil
	}
	return func() error {
		for _, c := range list {
			if err := stillRuns(c)(); err != nil {
				return err
			}
		}
		return nil
	}
}

// execEvents returns what notes the events of one further program.
func (e *Engine) execEvents(ctx context.Context, c *record.Container, args []string) func(action string, more map[string]string) {
	id := record.NewID()
	return func(action string, more map[string]string) {
		attrs := map[string]string{"execID": id}
		maps.Copy(attrs, more)
		if action != "exec_die" {
			action += ": " + strings.Join(args, " ")
		}
		e.noteContainer(ctx, c, action, attrs)
	}
}

// execSpec makes the process of an exec: the container's environment, user and rights unless told otherwise.
func (e *Engine) execSpec(ctx context.Context, c *record.Container, opts ExecOptions) (*specs.Spec, error) {
	l, err := launchOf(c)
	if err != nil {
		return nil, err
	}
	user, err := e.execUser(ctx, l, opts.User)
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
	s, err := spec.New(spec.Options{
		Confinement: l.opts.Confinement, Args: opts.Args, Env: env, Cwd: path.Clean("/" + orElse(opts.Workdir, c.Config.Workdir)), User: user, Terminal: opts.TTY,
		Privileged: opts.Privileged || c.Config.Privileged, CapAdd: c.Config.CapAdd, CapDrop: c.Config.CapDrop,
	})
	if err != nil {
		return nil, err
	}
	if l.opts.OomScoreAdj != 0 {
		s.Process.OOMScoreAdj = &l.opts.OomScoreAdj
	}
	s.Process.Rlimits, err = l.opts.rlimits()
	return s, err
}

// execUser is the user of a further program: "" is the container's.
func (e *Engine) execUser(ctx context.Context, l *launch, who string) (spec.User, error) {
	c := l.c
	var groups []string
	if who == "" {
		who, groups = c.Config.User, l.opts.GroupAdd
	}
	if l.opts.Runtime != "" {
		return e.externalUser(ctx, c, who, groups)
	}
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", c.State.Pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return spec.User{}, fmt.Errorf("open the root file system of container %s: %w", c.Config.Name, err)
	}
	defer root.Close()
	return resolveUser(hostile.FS(root), who, groups)
}
