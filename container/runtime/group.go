package runtime

import (
	"context"
	"fmt"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Pids are all processes of a container. A container without a cgroup has its first only.
func (r *Runtime) Pids(id string) ([]int, error) {
	e, err := r.running(id)
	if err != nil {
		return nil, err
	}
	g, err := e.group()
	if errdefs.IsNotFound(err) {
		return []int{e.saved.Pid}, nil
	}
	if err != nil {
		return nil, err
	}
	defer g.Close()
	return g.Pids()
}

// running looks a container up that has a process.
func (r *Runtime) running(id string) (*entry, error) {
	e, err := r.lookup(id)
	if err != nil {
		return nil, err
	}
	if e.status() == specs.StateStopped {
		return nil, e.notRunning()
	}
	return e, nil
}

// withGroup calls f with the cgroups of a container that has a process, while nobody else changes it.
func (r *Runtime) withGroup(ctx context.Context, id string, f func(*cgroup.Group) error) error {
	e, err := r.locked(ctx, id)
	if err != nil {
		return err
	}
	defer e.release()
	if e.status() == specs.StateStopped {
		return e.notRunning()
	}
	g, err := e.group()
	if err != nil {
		return fmt.Errorf("container %s: %w", id, err)
	}
	defer g.Close()
	return f(g)
}

// Pause freezes all processes of a container.
func (r *Runtime) Pause(ctx context.Context, id string) error {
	return r.withGroup(ctx, id, func(g *cgroup.Group) error {
		if frozen, err := g.Frozen(); err == nil && frozen {
			return errdefs.Conflict("container %s is paused already", id)
		}
		return g.Freeze(ctx)
	})
}

// Resume lets the processes of a paused container go on.
func (r *Runtime) Resume(ctx context.Context, id string) error {
	return r.withGroup(ctx, id, func(g *cgroup.Group) error {
		if frozen, err := g.Frozen(); err == nil && !frozen {
			return errdefs.Conflict("container %s is not paused", id)
		}
		return g.Thaw()
	})
}

// Update sets the limits of res, and leaves the others as they are. Zero is no limit to be set: engines send all fields.
func (r *Runtime) Update(ctx context.Context, id string, res *specs.LinuxResources) error {
	res = withoutZeros(*res)
	return r.withGroup(ctx, id, func(g *cgroup.Group) error { return g.Update(res) })
}

// Stats are what a container uses.
type Stats struct {
	cgroup.Stats
	// OOMKills is how many processes the memory limit has ended.
	OOMKills uint64
}

// Stats reads what a container uses now.
func (r *Runtime) Stats(id string) (Stats, error) {
	e, err := r.running(id)
	if err != nil {
		return Stats{}, err
	}
	g, err := e.group()
	if err != nil {
		return Stats{}, fmt.Errorf("container %s: %w", id, err)
	}
	defer g.Close()
	s := Stats{}
	if s.Stats, err = g.Stats(); err != nil {
		return Stats{}, err
	}
	s.OOMKills, err = g.OOMKills()
	return s, err
}

// withoutZeros leaves out the memory and processor limits that are zero.
func withoutZeros(res specs.LinuxResources) *specs.LinuxResources {
	if res.Memory != nil {
		m := *res.Memory
		for _, n := range []**int64{&m.Limit, &m.Swap, &m.Reservation} {
			if *n != nil && **n == 0 {
				*n = nil
			}
		}
		res.Memory = &m
		if m == (specs.LinuxMemory{}) {
			res.Memory = nil
		}
	}
	if res.CPU != nil {
		c := *res.CPU
		for _, n := range []**uint64{&c.Shares, &c.Period, &c.RealtimePeriod} {
			if *n != nil && **n == 0 {
				*n = nil
			}
		}
		for _, n := range []**int64{&c.Quota, &c.RealtimeRuntime} {
			if *n != nil && **n == 0 {
				*n = nil
			}
		}
		res.CPU = &c
		if c == (specs.LinuxCPU{}) {
			res.CPU = nil
		}
	}
	if res.BlockIO != nil && res.BlockIO.Weight != nil && *res.BlockIO.Weight == 0 {
		b := *res.BlockIO
		b.Weight = nil
		res.BlockIO = &b
	}
	return &res
}
