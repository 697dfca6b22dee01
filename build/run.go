package build

import (
	"context"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
)

func (b *Builder) build(ctx context.Context, opts Options, sink progress.Sink) (*Result, error) {
	return nil, errdefs.Unsupported("build is not there yet")
}
