package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
)

// WaitOptions say what Wait waits for.
type WaitOptions struct {
	// Conditions are statuses, any of which ends the waiting: created, running, paused, restarting, exited, healthy, unhealthy, removed; none is the
	// container's end. "stopped" is "exited", "configured" is "created", "removing" is "removed".
	Conditions []string
	// Interval is how often the container is looked at for Conditions; 0 is a quarter of a second.
	Interval time.Duration
}

// waitInterval is Podman's.
const waitInterval = 250 * time.Millisecond

// Wait waits for a container's end, or for one of the conditions, and returns its exit code: -1 when it has not ended.
func (e *Engine) Wait(ctx context.Context, name string, o WaitOptions) (int, error) {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return 0, err
	}
	if len(o.Conditions) == 0 {
		return c.Wait(ctx)
	}
	wanted, err := conditions(o.Conditions)
	if err != nil {
		return 0, err
	}
	if o.Interval <= 0 {
		o.Interval = waitInterval
	}
	look := time.NewTicker(o.Interval)
	defer look.Stop()
	for id := c.Config.ID; ; {
		if slices.ContainsFunc(wanted, func(w string) bool { return meets(c, w) }) {
			if c.State.Status == record.Exited {
				return c.State.ExitCode, nil
			}
			return -1, nil
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-look.C:
		}
		next, err := e.records.Get(ctx, id)
		switch {
		case err == nil:
			c = next
		case errdefs.IsNotFound(err) && slices.Contains(wanted, "removed"):
			return -1, nil
		default:
			return 0, err
		}
	}
}

// conditions reads Podman's words, and brings them into ours.
func conditions(words []string) ([]string, error) {
	known := []string{"created", "running", "paused", "restarting", "exited", "dead", "healthy", "unhealthy", "removed"}
	var list []string
	for _, w := range words {
		switch w = strings.ToLower(w); w {
		case "stopped":
			w = "exited"
		case "configured", "initialized":
			w = "created"
		case "removing":
			w = "removed"
		}
		if !slices.Contains(known, w) {
			return nil, errdefs.Invalid("--condition %s: want %s", w, strings.Join(known, ", "))
		}
		list = append(list, w)
	}
	return list, nil
}

// meets reports whether a container is in a state.
func meets(c *record.Container, condition string) bool {
	switch condition {
	case record.Healthy, record.HealthUnhealthy:
		h := c.Health()
		return h != nil && h.Status == condition
	}
	return new(statuses).of(c) == condition
}
