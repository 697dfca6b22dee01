package cgroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// Kill sends SIGKILL to all processes of the group and of those below it, also
// to ones that fork meanwhile. Where the kernel has cgroup.kill (Linux 5.14, v2)
// that is one write, and Remove waits for the ends; otherwise Kill freezes,
// kills and thaws until no process is left or ctx ends. A group that tracks
// nothing gives ErrUnsupported: kill the container's first process instead.
func (g *Group) Kill(ctx context.Context) error {
	if !g.Tracks() {
		return errdefs.Unsupported("kill all processes of %s: it has no cgroup", g.path)
	}
	if g.unified != "" {
		err := write(g.unified, "cgroup.kill", "1")
		if err == nil {
			return nil
		}
		if !gone(err) {
			return fmt.Errorf("kill cgroup %s: %w", g.path, err)
		}
	}
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		left, err := g.killOnce(ctx)
		if err != nil || !left {
			return err
		}
		if !sleep(ctx, pause) {
			return errdefs.Unavailable("kill cgroup %s: %w", g.path, context.Cause(ctx))
		}
	}
}

// killOnce freezes the group where that is possible, so that none forks
// meanwhile, signals all and thaws: frozen v1 processes die only then.
func (g *Group) killOnce(ctx context.Context) (left bool, err error) {
	frozen := g.Freeze(ctx) == nil
	left, err = g.Signal(unix.SIGKILL)
	if frozen {
		err = errors.Join(err, g.Thaw())
	}
	return left, err
}

// Signal sends a signal to all processes of the group and of those below it, and reports whether there are any. A process
// is held by a descriptor while the group is read again: if its id has become another's, that is not in the group, or is one
// that shall get the signal as well.
func (g *Group) Signal(sig unix.Signal) (found bool, err error) {
	all, err := g.Pids()
	const atOnce = 256 // descriptors
	for pids := range slices.Chunk(all, atOnce) {
		err = errors.Join(err, g.signal(pids, sig))
	}
	return len(all) > 0, err
}

func (g *Group) signal(pids []int, sig unix.Signal) (err error) {
	held := make(map[int]int, len(pids))
	defer func() {
		for _, fd := range held {
			unix.Close(fd)
		}
	}()
	for _, pid := range pids {
		fd, e := unix.PidfdOpen(pid, 0)
		if e == nil {
			held[pid] = fd
		} else if !errors.Is(e, unix.ESRCH) {
			err = errors.Join(err, fmt.Errorf("signal process %d: %w", pid, e))
		}
	}
	still, e := g.Pids()
	err = errors.Join(err, e)
	for _, pid := range still {
		fd, ok := held[pid]
		if !ok {
			continue
		}
		if e := unix.PidfdSendSignal(fd, sig, nil, 0); e != nil && !errors.Is(e, unix.ESRCH) {
			err = errors.Join(err, fmt.Errorf("signal process %d: %w", pid, e))
		}
	}
	return err
}

// Freeze stops all processes of the group and returns when they stand, or thaws
// them and returns an error when ctx ends first. ErrUnsupported without v2 and
// without a freezer.
func (g *Group) Freeze(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	set := func() error { return write(g.unified, "cgroup.freeze", "1") }
	if g.unified == "" {
		dir := g.v1["freezer"]
		if dir == "" {
			return errdefs.Unsupported("freeze %s: its cgroup has no freezer", g.path)
		}
		// Writing again lets v1 take in processes that were forked meanwhile.
		set = func() error { return write(dir, "freezer.state", "FROZEN") }
	}
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		if err := set(); err != nil {
			return fmt.Errorf("freeze cgroup %s: %w", g.path, err)
		}
		if frozen, err := g.Frozen(); err != nil || frozen {
			return err
		}
		if !sleep(ctx, pause) {
			return errors.Join(errdefs.Unavailable("freeze cgroup %s: %w", g.path, context.Cause(ctx)), g.Thaw())
		}
	}
}

// Thaw lets the processes of a frozen group go on. It does not wait.
func (g *Group) Thaw() error {
	var err error
	switch {
	case g.unified != "":
		err = write(g.unified, "cgroup.freeze", "0")
	case g.v1["freezer"] != "":
		err = write(g.v1["freezer"], "freezer.state", "THAWED")
	default:
		return errdefs.Unsupported("thaw %s: its cgroup has no freezer", g.path)
	}
	if err != nil {
		return fmt.Errorf("thaw cgroup %s: %w", g.path, err)
	}
	return nil
}

// Frozen tells whether all processes of the group stand still.
func (g *Group) Frozen() (bool, error) {
	if g.unified != "" {
		events, err := readKeys(g.unified, "cgroup.events")
		return events["frozen"] == 1, err
	}
	if dir := g.v1["freezer"]; dir != "" {
		state, err := read(dir, "freezer.state")
		return strings.TrimSpace(state) == "FROZEN", err
	}
	return false, nil
}
