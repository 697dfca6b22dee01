package engine

import (
	"context"

	"github.com/camada/camada/network"
)

// Rename gives a container another name, by which others on its networks find it from now on.
func (e *Engine) Rename(ctx context.Context, name, to string) error {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return err
	}
	from := c.Config.Name
	if err := e.records.Rename(ctx, c, to); err != nil {
		return err
	}
	if !c.Running() {
		return nil
	}
	return network.Rename(e.networkDir(), c.Config.ID, from, to)
}
