package network

import (
	"context"

	"github.com/camada/camada/errdefs"
)

func userspaceDriver() (Driver, error) { return "", errdefs.Unsupported("todo") }
func setupUserspace(ctx context.Context, o Options) (Result, error) {
	return Result{}, errdefs.Unsupported("todo")
}
