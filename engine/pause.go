package engine

import (
	"context"
	"fmt"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
)

// statusPaused is what a running container is whose processes stand still. It is not in the record: the kernel is asked.
const statusPaused = "paused"

// Pause makes all processes of a running container stand still.
func (e *Engine) Pause(ctx context.Context, name string) error {
	return e.withRunningGroup(ctx, name, func(c *record.Container, g *cgroup.Group) error {
		if frozen, err := g.Frozen(); err != nil {
			return err
		} else if frozen {
			return errdefs.Conflict("container %s is paused already", name)
		}
		return g.Freeze(ctx)
	})
}

// Unpause lets the processes of a paused container go on.
func (e *Engine) Unpause(ctx context.Context, name string) error {
	return e.withRunningGroup(ctx, name, func(c *record.Container, g *cgroup.Group) error {
		if frozen, err := g.Frozen(); err != nil {
			return err
		} else if !frozen {
			return errdefs.Conflict("container %s is not paused", name)
		}
		return g.Thaw()
	})
}

// withRunningGroup calls f with the control group of a container that runs.
func (e *Engine) withRunningGroup(ctx context.Context, name string, f func(*record.Container, *cgroup.Group) error) error {
	c, err := e.running(ctx, name)
	if err != nil {
		return err
	}
	g, err := groupOf(c)
	if err == nil {
		defer g.Close() //nolint:errcheck // only a descriptor
		err = f(c, g)
	}
	if err != nil {
		return fmt.Errorf("container %s: %w", name, err)
	}
	return nil
}

// running finds a container that runs; ErrConflict when it does not.
func (e *Engine) running(ctx context.Context, name string) (*record.Container, error) {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if !c.Running() {
		return nil, errdefs.Conflict("container %s is not running", name)
	}
	return c, nil
}

// groupOf opens the control group of a container. ErrUnsupported when it has none, as an ordinary user's without a delegated
// subtree. The caller closes it.
func groupOf(c *record.Container) (*cgroup.Group, error) {
	layout, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	return groupIn(layout, c)
}

func groupIn(layout cgroup.Layout, c *record.Container) (*cgroup.Group, error) {
	name, err := cgroup.Path(c.Config.CgroupsPath, c.Config.ID)
	if err != nil {
		return nil, err
	}
	g, err := layout.Load(name)
	if errdefs.IsNotFound(err) {
		return nil, errdefs.Unsupported("it has no control group; an ordinary user gets one in a session that systemd delegates: " +
			"systemd-run --user --scope -p Delegate=yes camada run ...")
	}
	return g, err
}

// statuses tells the status of containers in docker's words. The machine is asked for its hierarchies once.
type statuses struct {
	layout cgroup.Layout
	known  bool
}

func (s *statuses) of(c *record.Container) string {
	if s.paused(c) {
		return statusPaused
	}
	return string(c.State.Status)
}

// paused reports whether the processes of a container stand still.
func (s *statuses) paused(c *record.Container) bool {
	if !c.Running() {
		return false
	}
	if !s.known {
		s.layout, _ = cgroup.Detect() // without one nothing can be paused
		s.known = true
	}
	g, err := groupIn(s.layout, c)
	if err != nil {
		return false
	}
	defer g.Close() //nolint:errcheck // only a descriptor
	frozen, err := g.Frozen()
	return err == nil && frozen
}

func paused(c *record.Container) bool { return new(statuses).paused(c) }

// thaw lets a container that was told to end do that: what is paused obeys no signal. It is not asked first whether it is paused: the kernel says
// no while one of its processes is about to stand still, or about to end.
func thaw(c *record.Container) error {
	g, err := groupOf(c)
	if err != nil {
		return nil //nolint:nilerr // without a group nothing was paused
	}
	defer g.Close() //nolint:errcheck // only a descriptor
	if err := g.Thaw(); err != nil {
		if frozen, e := g.Frozen(); e == nil && frozen {
			return err
		}
	}
	return nil
}
