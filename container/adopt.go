package container

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/camada/camada/container/cgroup"
	"golang.org/x/sys/unix"
)

// Adopted is a process that another runtime has started: the first one of a container, or a further one.
type Adopted struct {
	// Pid is a child of this process.
	Pid int
	// Console is the master of its terminal, nil without one.
	Console *os.File
	// Signal sends it a signal; nil has the kernel do that.
	Signal func(syscall.Signal) error
	// ID and CgroupsPath name the container's cgroups, where a lack of memory is told of. "" does not look.
	ID, CgroupsPath string
	// After is called at the end of the process, before Wait returns; nil is nothing.
	After func(context.Context) error
}

// Adopt looks after a process that another runtime has started. It dies with this process, as if we had started it. On an error it is not ended.
func Adopt(a Adopted) (*Process, error) {
	guard, err := newGuard(a.Pid)
	if err != nil {
		return nil, err
	}
	p := &Process{Console: a.Console, pid: a.Pid, signal: a.Signal, done: make(chan struct{})}
	group := a.group()
	go func() {
		defer close(p.done)
		ws, err := p.reap()
		p.note(ws, err)
		guard.close()
		if group != nil {
			n, err := group.OOMKills()
			p.status.OOMKilled = err == nil && n > 0
			_ = group.Close()
		}
		if a.After == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		p.err = errors.Join(p.err, a.After(ctx))
	}()
	return p, nil
}

// group are the container's cgroups; nil when there are none, which limits nothing either.
func (a Adopted) group() *cgroup.Group {
	if a.CgroupsPath == "" {
		return nil
	}
	layout, err := cgroup.Detect()
	if err != nil {
		return nil
	}
	name, err := cgroup.Path(a.CgroupsPath, a.ID)
	if err != nil {
		return nil
	}
	g, err := layout.Load(name)
	if err != nil {
		return nil
	}
	return g
}

// send has a signal sent to the process, which has not been waited for.
func (p *Process) send(sig syscall.Signal) error {
	if p.signal == nil {
		return unix.Kill(p.pid, sig)
	}
	err := p.signal(sig)
	if err != nil && sig == unix.SIGKILL { // whatever the runtime's trouble is
		return unix.Kill(p.pid, sig)
	}
	return err
}
