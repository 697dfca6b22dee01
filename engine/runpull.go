package engine

import (
	"context"
	"fmt"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
)

// The words of --pull.
const (
	PullAlways  = "always"
	PullMissing = "missing"
	PullNever   = "never"
)

// openToRun opens an image, and fetches it before when it is not here, or when that is asked for.
func (e *Engine) openToRun(ctx context.Context, opts RunOptions) (*image.Image, error) {
	if opts.opened != nil {
		return opts.opened, nil
	}
	switch opts.Pull {
	case "", PullMissing, PullNever:
		img, _, err := e.open(ctx, opts.Image, opts.Platform)
		if opts.Pull == PullNever || !errdefs.IsNotFound(err) {
			return img, err
		}
	case PullAlways:
	default:
		return nil, errdefs.Invalid("invalid pull option: '%s': must be one of 'always', 'missing' or 'never'", opts.Pull)
	}
	if _, _, ok := logEntry(opts.Image); ok { // of a tag's history, which is nobody's but this store's
		img, _, err := e.open(ctx, opts.Image, opts.Platform)
		return img, err
	}
	pull := func(sink progress.Sink) error {
		_, err := e.Pull(ctx, PullOptions{Image: opts.Image, Platform: opts.Platform}, sink)
		return err
	}
	var err error
	if opts.OnPull != nil {
		err = opts.OnPull(pull)
	} else {
		err = pull(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("no such image here: %s, and it could not be pulled: %w", opts.Image, err)
	}
	img, _, err := e.open(ctx, opts.Image, opts.Platform)
	return img, err
}
