package engine

import (
	"context"

	"github.com/camada/camada/errdefs"
)

// Exec runs a further program in a running container and returns its exit code.
func (e *Engine) Exec(ctx context.Context, opts ExecOptions) (int, error) {
	c, err := e.records.Get(ctx, opts.Container)
	if err != nil {
		return 0, err
	}
	if !c.Running() {
		return 0, errdefs.Conflict("container %s is not running", opts.Container)
	}
	return 0, errdefs.Unsupported("exec")
}
