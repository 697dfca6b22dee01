package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Delete removes a container that has stopped or was never started, or with force any, also what a killed operation
// left of one. ErrConflict when it runs. ErrNotFound when it does not exist, which is no error with force.
func (r *Runtime) Delete(ctx context.Context, id string, force bool) error {
	e, err := r.locked(ctx, id)
	if force && errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer e.release()
	if status := e.status(); !force && status != specs.StateStopped && status != specs.StateCreated {
		return errdefs.Conflict("cannot delete container %s that is not stopped: %s", id, status)
	}
	if err := e.end(ctx); err != nil {
		return err
	}
	// Without a spec its maker was killed before it did anything.
	spec, err := e.spec()
	if err == nil {
		err = e.poststop(ctx, spec)
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, e.remove())
}

// poststop runs the hooks after the end. One that fails is told of when the others have run.
func (e *entry) poststop(ctx context.Context, spec *specs.Spec) error {
	if spec.Hooks == nil {
		return nil
	}
	var failed []error
	for _, h := range spec.Hooks.Poststop {
		failed = append(failed, e.hooks(ctx, "poststop", specs.StateStopped, []specs.Hook{h}, onHost))
	}
	return errors.Join(failed...)
}

// end kills all processes of a container, waits for their end, and removes its cgroups.
func (e *entry) end(ctx context.Context) error {
	if err := e.signal(unix.SIGKILL); err != nil && !errdefs.IsConflict(err) {
		return err
	}
	if err := container.Cleanup(ctx, e.saved.ID, e.saved.CgroupsPath); err != nil {
		return fmt.Errorf("end container %s: %w", e.saved.ID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for pause := 100 * time.Microsecond; alive(e.saved.Pid, e.saved.Tick); pause = min(2*pause, 20*time.Millisecond) {
		select {
		case <-ctx.Done():
			return errdefs.Unavailable("process %d of container %s does not end: %w", e.saved.Pid, e.saved.ID, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
	return nil
}
