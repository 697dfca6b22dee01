package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Start lets a container that was made by Create execute its program, and returns when it did. A *container.StartError
// says that it cannot be executed; the container has stopped then. ErrConflict when it does not wait.
func (r *Runtime) Start(ctx context.Context, id string) error {
	e, err := r.locked(ctx, id)
	if err != nil {
		return err
	}
	defer e.release()
	switch status := e.status(); status {
	case specs.StateCreated:
	case specs.StateStopped:
		return errdefs.Conflict("cannot start a container that has stopped: %s", id)
	case StatusPaused:
		return errdefs.Conflict("cannot start a container that is paused: %s", id)
	default:
		return errdefs.Conflict("cannot start an already running container: %s", id)
	}
	spec, err := e.spec()
	if err != nil {
		return err
	}
	if err := e.startContainer(ctx, spec); err != nil {
		return errors.Join(err, e.end(context.WithoutCancel(ctx)))
	}
	if err := container.Release(ctx, e.dir, spec.Process.Args[0]); err != nil {
		return fmt.Errorf("start container %s: %w", id, err)
	}
	return e.poststart(ctx, spec)
}

// poststart runs the hooks after the start. One that fails ends the container (runtime.md, lifecycle).
func (e *entry) poststart(ctx context.Context, spec *specs.Spec) error {
	if spec.Hooks == nil {
		return nil
	}
	err := e.hooks(ctx, "poststart", specs.StateRunning, spec.Hooks.Poststart, onHost)
	if err != nil {
		err = errors.Join(err, e.end(context.WithoutCancel(ctx)))
	}
	return err
}
