package engine

import "context"

// Rename gives a container another name.
func (e *Engine) Rename(ctx context.Context, name, to string) error {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return err
	}
	return e.records.Rename(ctx, c, to)
}
