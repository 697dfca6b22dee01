package build

import (
	"context"
	"sync"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/build/cache"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/opencontainers/go-digest"
)

// snapshotSet knows the snapshots that are to be removed when the build ends, because
// they have no chainID yet or never get one.
type snapshotSet struct {
	store Snapshots
	mu    sync.Mutex
	ids   []string
}

func (s *snapshotSet) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = append(s.ids, id)
}

// keep forgets a snapshot that has its chainID.
func (s *snapshotSet) keep(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.ids {
		if x == id {
			s.ids = append(s.ids[:i], s.ids[i+1:]...)
			return
		}
	}
}

// removeAll removes what is left, the youngest first: it may lie on an older one. It is
// not stopped by the end of the build's context. What cannot be removed, because
// a kept snapshot lies on it, is left to garbage collection.
func (s *snapshotSet) removeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.ids) - 1; i >= 0; i-- {
		_ = s.store.Remove(context.Background(), s.ids[i])
	}
	s.ids = nil
}

// result is one layer and what is below it. It begins with the layer being unknown
// (a step that has ended, whose layer is being written) or known.
type result struct {
	run    *run
	parent *result

	// ready is closed when layer, chainID and err are set.
	ready   chan struct{}
	layer   layer.Layer
	chainID digest.Digest
	err     error

	mu       sync.Mutex // held while a snapshot is made
	snapshot string
}

// known returns a result whose layer is there already.
func (r *run) known(parent *result, l layer.Layer, chainID digest.Digest) *result {
	res := &result{run: r, parent: parent, ready: make(chan struct{}), layer: l, chainID: chainID}
	close(res.ready)
	return res
}

// finish tells the layer, or why there is none.
func (res *result) finish(l layer.Layer, parentChain digest.Digest, err error) {
	res.layer, res.err = l, err
	if err == nil {
		res.chainID = cache.ChainID(parentChain, l.DiffID)
	}
	close(res.ready)
}

// chain waits for the chainID. A nil result is the empty file system.
func (res *result) chain(ctx context.Context) (digest.Digest, error) {
	if res == nil {
		return "", nil
	}
	select {
	case <-res.ready:
		return res.chainID, res.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// layers are those of the result, the lowest first; all must be ready.
func (res *result) layers() []layer.Layer {
	var out []layer.Layer
	for r := res; r != nil; r = r.parent {
		out = append(out, r.layer)
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// unpack returns a snapshot of the result, unpacking what is not unpacked. A nil result
// has none: "".
func (res *result) unpack(ctx context.Context) (string, error) {
	if res == nil {
		return "", nil
	}
	res.mu.Lock()
	defer res.mu.Unlock()
	if res.snapshot != "" {
		return res.snapshot, nil
	}
	chainID, err := res.chain(ctx)
	if err != nil {
		return "", err
	}
	r := res.run
	info, err := r.p.Snapshots.Lookup(ctx, chainID)
	if err == nil {
		res.snapshot = info.ID
		return res.snapshot, nil
	}
	if !errdefs.IsNotFound(err) {
		return "", err
	}
	if p, ok := r.p.Content.(Prefetcher); ok {
		p.Prefetch(ctx, res.layer.Descriptor)
	}
	parent, err := res.parent.unpack(ctx)
	if err != nil {
		return "", err
	}
	tar, err := layer.Open(ctx, r.p.Content, res.layer.Descriptor, res.layer.DiffID, layer.OpenOptions{})
	if err != nil {
		return "", err
	}
	defer tar.Close()
	if info, err = r.p.Snapshots.Apply(ctx, parent, tar); err != nil {
		return "", err
	}
	r.snaps.add(info.ID)
	err = res.name(ctx, info.ID)
	return res.snapshot, err
}

// name gives a frozen snapshot its chainID, which is known. When the chain is there already,
// that snapshot is used from now on, and the other removed at the end.
func (res *result) name(ctx context.Context, id string) error {
	res.snapshot = id
	named, err := res.run.p.Snapshots.Name(ctx, id, res.chainID)
	if err != nil {
		return err
	}
	res.snapshot = named.ID
	if named.ID == id {
		res.run.snaps.keep(id)
	}
	return nil
}

// layerOptions are those of the layers of steps; what is synced is the result as a whole.
func (r *run) layerOptions() layer.WriteOptions {
	return layer.WriteOptions{Compression: r.opts.compressionOf(), NoSync: true, Pool: &r.buffers}
}

// compressionOf is the compression of new layers.
func (o Options) compressionOf() compression.Algorithm {
	if o.Zstd {
		return compression.Zstd
	}
	return compression.Gzip
}
