package tarball

import (
	"context"

	"github.com/camada/camada/content"
	"github.com/opencontainers/go-digest"
)

// settleFrom is the size in bytes from which a blob is made durable while the
// next ones are read, so that the disk and the hashing work at the same time.
const settleFrom = 1 << 20

// settler makes blobs durable in the background. Its errors do not matter: all
// blobs of the images are synced once more at the end, which costs nothing for
// those that are durable.
type settler struct {
	blobs chan digest.Digest
	done  chan struct{}
}

// newSettler starts a settler; it is nil for a destination that syncs by itself.
func newSettler(ctx context.Context, dst any) *settler {
	syncer, ok := dst.(content.Syncer)
	if !ok {
		return nil
	}
	s := &settler{blobs: make(chan digest.Digest, 1024), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		for d := range s.blobs {
			_ = syncer.Sync(ctx, d)
		}
	}()
	return s
}

// add hands over a blob. It never waits: what does not fit is synced at the end.
func (s *settler) add(d digest.Digest, size int64) {
	if s == nil || size < settleFrom {
		return
	}
	select {
	case s.blobs <- d:
	default:
	}
}

// close waits for the blobs that were added.
func (s *settler) close() {
	if s != nil {
		close(s.blobs)
		<-s.done
	}
}
