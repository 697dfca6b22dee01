package engine

import (
	"context"
	"os/exec"
	"path/filepath"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/external"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/userns"
)

// ownRuntime is the name of the runtime that needs no other program.
const ownRuntime = "camada"

// planRuntime finds the program of --runtime, a name or a path.
func planRuntime(o *RunOptions) error {
	if o.Runtime == "" || o.Runtime == ownRuntime {
		o.Runtime = ""
		return nil
	}
	if o.Init {
		return errdefs.Unsupported("--init: the small init is of camada's own runtime; --runtime %s has none", o.Runtime)
	}
	name, err := exec.LookPath(o.Runtime)
	if err == nil {
		name, err = filepath.Abs(name)
	}
	if err != nil {
		return errdefs.NotFound("unknown or invalid runtime name: %s: %w", o.Runtime, err)
	}
	o.Runtime = name
	return nil
}

// external is the runtime of a container that is not our own, at the path program.
func (e *Engine) external(program, id string) external.Runtime {
	dir := "/run/camada"
	if userns.Rootless() {
		if dir = e.getenv("XDG_RUNTIME_DIR"); dir == "" {
			dir = e.root
		}
		dir = filepath.Join(dir, "camada")
	}
	return external.Runtime{Path: program, State: filepath.Join(dir, "external"), Bundle: filepath.Join(dir, "bundles", id)}
}

// startProcess starts the container with its runtime.
func (e *Engine) startProcess(ctx context.Context, l *launch, cfg container.Config) (*container.Process, error) {
	if l.opts.Runtime == "" {
		return container.Start(ctx, cfg)
	}
	return e.external(l.opts.Runtime, cfg.ID).Start(ctx, cfg)
}

// forget takes away what another runtime knows of a container whose keeper was killed.
func (e *Engine) forget(ctx context.Context, c *record.Container) error {
	l, err := launchOf(c)
	if err != nil || l.opts.Runtime == "" {
		return nil //nolint:nilerr // one that cannot be started was not started by another runtime
	}
	return e.external(l.opts.Runtime, c.Config.ID).Delete(ctx, c.Config.ID)
}
