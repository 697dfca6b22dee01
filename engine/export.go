package engine

import (
	"context"
	"fmt"
	"io"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/unpack"
)

// Export writes the root file system of a container, or of an image, as a tar.
func (e *Engine) Export(ctx context.Context, name string, w io.Writer) error {
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return err
	}
	var id string
	var owners archive.Owners
	c, err := e.records.Get(ctx, name)
	switch {
	case err == nil:
		id, owners = c.Config.Snapshot, idsOf(c.Config).onDisk()
	case errdefs.IsNotFound(err):
		img, _, err := e.open(ctx, name, "")
		if err != nil {
			return err
		}
		top, err := unpack.Image(ctx, e.content, snaps, img.Layers, img.DiffIDs, unpack.Options{})
		if err != nil {
			return err
		}
		id = top.ID
	default:
		return err
	}
	if id == "" { // an image without layers: an empty archive
		return archive.NewWriter(w, archive.WriterOptions{}).Close()
	}
	view, err := snaps.View(ctx, id)
	if err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	defer view.Close()
	return archive.Pack(ctx, view.Dir(), w, archive.DiffOptions{Owners: owners})
}
