package engine

import (
	"context"
	"fmt"
	"io"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/snapshot"
	"github.com/opencontainers/go-digest"
)

// reown makes a copy of an image's files whose owners are those that a container's user namespace has for them: within a user namespace, the
// kernel shows no file system with other owners. The copy is made once for an image and ids; collection removes it when no container is on it.
func (e *Engine) reown(ctx context.Context, snaps snapshots, top snapshot.Info, i ids) (snapshot.Info, error) {
	if !i.reowned() || top.ID == "" {
		return top, nil
	}
	name := digest.FromString(fmt.Sprintf("owners %s %v %v", top.ChainID, i.Users, i.Groups))
	if r, ok := snaps.(snapshot.Reserver); ok {
		release, err := r.Reserve(ctx, name)
		if err != nil {
			return top, err
		}
		defer release()
	}
	if s, err := snaps.Lookup(ctx, name); err == nil || !errdefs.IsNotFound(err) {
		return s, err
	}
	view, err := snaps.View(ctx, top.ID)
	if err != nil {
		return top, err
	}
	defer view.Close()
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(archive.Pack(ctx, view.Dir(), w, archive.DiffOptions{Owners: i.outside}))
	}()
	s, err := snaps.Apply(ctx, "", r)
	r.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		return top, fmt.Errorf("give the files of the image to the users of the user namespace: %w", err)
	}
	return snaps.Name(ctx, s.ID, name)
}
