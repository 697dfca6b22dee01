package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// Process is a running process of a container: its first, made by Start, or a
// further one, made by Exec. Its methods may be called side by side.
type Process struct {
	// Console is the master of the process's terminal, nil without one. It is
	// the caller's to close.
	Console *os.File

	pid     int
	group   *cgroup.Group // removed at the end, nil for Exec
	ownPids bool          // it is the first of a PID namespace: all others die with it
	done    chan struct{}
	signal  func(syscall.Signal) error // of a process that another runtime has started; nil asks the kernel

	mu     sync.Mutex
	reaped bool
	status ExitStatus
	err    error
}

// Pid is the process's id as the caller sees it.
func (p *Process) Pid() int { return p.pid }

// Wait waits until the process has ended and, for a container's first process,
// until all others have and its cgroups are gone. When ctx ends before, the
// process goes on and Wait may be called again.
func (p *Process) Wait(ctx context.Context) (ExitStatus, error) {
	select {
	case <-p.done:
		return p.status, p.err
	case <-ctx.Done():
		return ExitStatus{}, context.Cause(ctx)
	}
}

// Done is closed when Wait would return at once.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the process. ErrNotFound when it has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return errdefs.NotFound("process %d has ended", p.pid)
	}
	if err := p.send(sig); err != nil {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	return nil
}

// Kill ends the process, and for a container's first process all others of the
// container. Killing what has ended is no error.
func (p *Process) Kill(ctx context.Context) error {
	err := p.Signal(unix.SIGKILL)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if p.group != nil && p.group.Tracks() && !p.ownPids {
		return errors.Join(err, p.group.Kill(ctx))
	}
	return err
}

// Resize sets the size of the terminal in characters.
func (p *Process) Resize(columns, rows int) error {
	if p.Console == nil {
		return errdefs.Invalid("process %d has no terminal", p.pid)
	}
	ws := &unix.Winsize{Col: uint16(columns), Row: uint16(rows)}
	if err := unix.IoctlSetWinsize(int(p.Console.Fd()), unix.TIOCSWINSZ, ws); err != nil {
		return fmt.Errorf("resize the terminal of process %d: %w", p.pid, err)
	}
	return nil
}

// adopt takes the process that the forked one made in its place. When ctx ends before, the forked one is killed: in a
// container that is paused meanwhile it stands still.
func (p *Process) adopt(ctx context.Context, child *program.Child) error {
	first := p.pid
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(killed)
		_ = unix.Kill(first, unix.SIGKILL)
	})
	pid, err := child.NextPid()
	if err == nil {
		p.pid = pid
		for unix.Waitid(unix.P_PID, first, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}
	if !stop() {
		<-killed // while the id is taken
	}
	if err != nil {
		return err
	}
	for {
		if _, err := unix.Wait4(first, nil, 0, nil); err != unix.EINTR {
			return nil
		}
	}
}

// abort ends a process whose start failed.
func (p *Process) abort() {
	_ = unix.Kill(p.pid, unix.SIGKILL)
	_, _ = p.reap()
	close(p.done)
}

// reap waits for the process and frees its id. The id stays taken until reaped
// is set, so that Signal cannot hit another process.
func (p *Process) reap() (unix.WaitStatus, error) {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return 0, fmt.Errorf("wait for process %d: %w", p.pid, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(p.pid, &ws, 0, nil)
		if err == nil {
			return ws, nil
		}
		if err != unix.EINTR {
			return 0, fmt.Errorf("wait for process %d: %w", p.pid, err)
		}
	}
}

// note keeps how the process ended.
func (p *Process) note(ws unix.WaitStatus, err error) {
	p.err = err
	if err != nil { // nobody knows how it ended
		p.status.Code = 255
		return
	}
	if ws.Signaled() {
		p.status.Signal = int(ws.Signal())
		p.status.Code = 128 + p.status.Signal
	} else {
		p.status.Code = ws.ExitStatus()
	}
}

// collect waits for the end and cleans up.
func (p *Process) collect() {
	defer close(p.done)
	ws, err := p.reap()
	p.note(ws, err)
	if p.group == nil {
		return
	}
	if n, err := p.group.OOMKills(); err == nil && n > 0 {
		p.status.OOMKilled = true
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if p.ownPids {
		err = p.group.Remove(ctx)
	} else {
		err = removeGroup(ctx, p.group)
	}
	if err != nil {
		p.err = errors.Join(p.err, err)
	}
}

// Cleanup removes what a container leaves when the process that started it was
// killed: it ends all processes in its cgroups and removes these. cgroupsPath
// is the spec's linux.cgroupsPath. Nothing to clean up is no error.
func Cleanup(ctx context.Context, id, cgroupsPath string) error {
	layout, err := cgroup.Detect()
	if err != nil {
		return err
	}
	name, err := cgroup.Path(cgroupsPath, id)
	if err != nil {
		return err
	}
	g, err := layout.Load(name)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return removeGroup(ctx, g)
}
