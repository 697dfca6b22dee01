package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
)

// StopToRestart stops a container, when it runs, for Restart. One that is removed at its end is left.
func (e *Engine) StopToRestart(ctx context.Context, name string, opts StopOptions) error {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return err
	}
	if c.Active() && c.Config.Remove {
		return errdefs.Conflict("container %s was made with --rm: it is removed when it ends", name)
	}
	return e.Stop(ctx, name, opts)
}

// Restart stops a container, when it runs, and starts it again in the background.
func (e *Engine) Restart(ctx context.Context, name string, opts StopOptions) error {
	if err := e.StopToRestart(ctx, name, opts); err != nil {
		return err
	}
	if _, err := e.Start(ctx, name, StartOptions{}); err != nil {
		return err
	}
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return err
	}
	e.noteContainer(ctx, c, "restart", nil)
	return nil
}

// Restored is a container that StartAll started, or could not start.
type Restored struct {
	Name string
	Err  error
}

// StartAll starts the containers that should run and do not, as after a start of the machine: those with the restart policy always,
// those with unless-stopped that the user did not stop, and those with on-failure that nobody saw end well. One that was never started is left.
func (e *Engine) StartAll(ctx context.Context) ([]Restored, error) {
	list, err := e.records.List(ctx)
	if err != nil {
		return nil, err
	}
	var done []Restored
	for i := len(list) - 1; i >= 0; i-- { // the oldest first: others may need it
		c := list[i]
		err := awaitOrphan(ctx, c)
		if err == nil && shouldRun(c) {
			_, err = e.Start(ctx, c.Config.ID, StartOptions{})
		} else if err == nil {
			continue
		}
		if err != nil {
			err = fmt.Errorf("start %s: %w", c.Config.Name, err)
		}
		done = append(done, Restored{Name: c.Config.Name, Err: err})
	}
	return done, ctx.Err()
}

// awaitOrphan waits for the end of a container that nobody looks after any more: it ends with who did, but a little later. One that is paused
// cannot end. ErrConflict when it does not end.
func awaitOrphan(ctx context.Context, c *record.Container) error {
	const (
		patience = 10 * time.Second
		pause    = 5 * time.Millisecond
	)
	for until := time.Now().Add(patience); c.Running() && !c.Kept() && !paused(c); {
		if time.Now().After(until) {
			return errdefs.Conflict("the process that looked after it was killed, and it does not end: remove it with rm -f")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if err := c.Refresh(); err != nil {
			return err
		}
	}
	return nil
}

func shouldRun(c *record.Container) bool {
	p, err := parsePolicy(c.Config.Restart)
	if err != nil || c.State.Status != record.Exited || c.State.Started.IsZero() {
		return false
	}
	switch p.name {
	case policyAlways:
		return true
	case policyUnlessStopped:
		return !c.StopRequested()
	case policyOnFailure:
		return !c.StopRequested() && c.State.ExitCode != 0 && (p.tries == 0 || c.State.RestartCount < p.tries)
	}
	return false
}
