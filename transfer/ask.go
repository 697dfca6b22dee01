package transfer

import (
	"context"
	"sync"

	"github.com/camada/camada/content"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
)

// asks is how many questions are put to a far destination at once.
const asks = 8

// ask finds out side by side which blobs are at the destination, so that a push does not wait for one answer after
// another. What could not be told is asked again when its turn comes. Manifests are left out: they come after their children.
func (p *putter) ask(ctx context.Context, nodes []*node) {
	p.there = make(map[digest.Digest]bool)
	work := make(chan *node)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range min(asks, len(nodes)) {
		wg.Go(func() {
			for n := range work {
				there, err := p.Have(ctx, n.desc)
				if err == nil {
					mu.Lock()
					p.there[n.desc.Digest] = there
					mu.Unlock()
				}
			}
		})
	}
	asked := make(map[digest.Digest]bool)
	for _, n := range nodes {
		mt := n.desc.MediaType
		if asked[n.desc.Digest] || image.IsIndex(mt) || image.IsManifest(mt) || image.IsForeign(mt) || content.CheckDigest(n.desc.Digest) != nil || ctx.Err() != nil {
			continue
		}
		asked[n.desc.Digest] = true
		work <- n
	}
	close(work)
	wg.Wait()
}
