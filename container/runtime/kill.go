package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Kill sends a signal to a container's first process, or to all. ErrConflict when none of them is there.
func (r *Runtime) Kill(ctx context.Context, id string, sig unix.Signal, all bool) error {
	e, err := r.lookup(id)
	if err != nil {
		return err
	}
	if all {
		return e.signalAll(ctx, sig)
	}
	if err := e.signal(sig); err != nil {
		return err
	}
	if sig != unix.SIGKILL {
		return nil
	}
	spec, err := e.spec()
	if err != nil {
		return err
	}
	if !ownPids(spec) {
		// The others do not die with the first.
		err = e.signalAll(ctx, sig)
	}
	e.thaw()
	if errdefs.IsConflict(err) {
		return nil
	}
	return err
}

func ownPids(spec *specs.Spec) bool {
	for _, n := range spec.Linux.Namespaces {
		if n.Type == specs.PIDNamespace && n.Path == "" {
			return true
		}
	}
	return false
}

// notRunning has the words that callers of runtimes look for.
func (e *entry) notRunning() error {
	return errdefs.Conflict("container not running: %s", e.saved.ID)
}

// signal sends a signal to the first process, by a descriptor: its id may be another's the moment after the look.
func (e *entry) signal(sig unix.Signal) error {
	if e.saved.Pid <= 0 {
		return e.notRunning()
	}
	fd, err := unix.PidfdOpen(e.saved.Pid, 0)
	if err != nil {
		return e.notRunning()
	}
	defer unix.Close(fd)
	if !alive(e.saved.Pid, e.saved.Tick) {
		return e.notRunning()
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return e.notRunning()
	}
	if err != nil {
		return fmt.Errorf("signal container %s: %w", e.saved.ID, err)
	}
	return nil
}

// signalAll sends a signal to all processes of the cgroup.
func (e *entry) signalAll(ctx context.Context, sig unix.Signal) error {
	g, err := e.group()
	if errdefs.IsNotFound(err) {
		return e.signal(sig)
	}
	if err != nil {
		return err
	}
	defer g.Close()
	if sig == unix.SIGKILL {
		pids, err := g.Pids()
		if err == nil && len(pids) == 0 {
			return e.notRunning()
		}
		return errors.Join(err, g.Kill(ctx))
	}
	found, err := g.Signal(sig)
	if err == nil && !found {
		return e.notRunning()
	}
	return err
}

// thaw lets frozen processes go on: on cgroup v1 they do not even die before.
func (e *entry) thaw() {
	if g, err := e.group(); err == nil {
		if frozen, err := g.Frozen(); err == nil && frozen {
			_ = g.Thaw()
		}
		_ = g.Close()
	}
}
