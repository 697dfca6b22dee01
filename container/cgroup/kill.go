package cgroup

import (
	"context"
	"errors"
	"fmt"
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
	pids, err := g.Pids()
	for _, pid := range pids {
		if e := unix.Kill(pid, unix.SIGKILL); e != nil && !errors.Is(e, unix.ESRCH) {
			err = errors.Join(err, fmt.Errorf("kill process %d: %w", pid, e))
		}
	}
	if frozen {
		err = errors.Join(err, g.Thaw())
	}
	return len(pids) > 0, err
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
