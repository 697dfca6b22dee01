// Package unpack turns the layers of an image into a chain of snapshots.
//
//	info, err := unpack.Image(ctx, blobs, snapshotter, manifest.Layers, config.RootFS.DiffIDs, unpack.Options{})
//	m, err := snapshotter.Prepare(ctx, info.ID)
//
// Layers that some image has unpacked before are found by their chainID and not touched. Each
// layer is verified while it is applied, and named only if its blob and
// its tar were what the manifest and the config promise.
package unpack

import (
	"context"
	"fmt"
	"io"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/snapshot"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Snapshotter is what layers are unpacked into. When it is a snapshot.Reserver too, processes
// that unpack the same layer wait for the first one.
type Snapshotter interface {
	snapshot.Resolver
	snapshot.Applier
	Remove(ctx context.Context, id string) error
}

// Options shape an unpacking.
type Options struct {
	// Progress is told of each layer; its events have the layer's digest as ID, and
	// bytes of the uncompressed tar. Nil discards.
	Progress progress.Sink
	// Verified says that the blobs are known to have their digests: see layer.OpenOptions.
	Verified bool
}

// ChainIDs returns the chainID of each layer with all below it: OCI image-spec,
// config.md, "Layer ChainID".
func ChainIDs(diffIDs []digest.Digest) []digest.Digest {
	chain := make([]digest.Digest, len(diffIDs))
	for i, d := range diffIDs {
		chain[i] = d
		if i > 0 {
			chain[i] = digest.FromString(chain[i-1].String() + " " + d.String())
		}
	}
	return chain
}

// ChainID returns the chainID of all layers together; "" for none.
func ChainID(diffIDs []digest.Digest) digest.Digest {
	if len(diffIDs) == 0 {
		return ""
	}
	return ChainIDs(diffIDs)[len(diffIDs)-1]
}

// Image returns the committed snapshot of all layers, the lowest layer first, and unpacks those that
// are not yet. An image without layers has the empty Info, whose ID "" is
// the parent of an empty snapshot. A layer that is not what was promised is
// ErrCorrupt, and leaves nothing; the layers below it stay.
func Image(ctx context.Context, p content.Provider, s Snapshotter, layers []ocispec.Descriptor, diffIDs []digest.Digest, opts Options) (snapshot.Info, error) {
	if len(layers) != len(diffIDs) {
		return snapshot.Info{}, errdefs.Invalid("unpack: the manifest has %d layers, the config %d diffIDs", len(layers), len(diffIDs))
	}
	for _, d := range diffIDs {
		if err := d.Validate(); err != nil {
			return snapshot.Info{}, errdefs.Invalid("unpack: diffID %q: %w", d, err)
		}
	}
	u := unpacker{p: p, s: s, opts: opts, sink: progress.Or(opts.Progress), layers: layers, diffIDs: diffIDs, chain: ChainIDs(diffIDs)}
	defer u.close()
	info, first, err := u.highest(ctx)
	if err != nil {
		return snapshot.Info{}, fmt.Errorf("unpack: %w", err)
	}
	for i := range first {
		u.emit(i, progress.Event{State: progress.Cached})
	}
	for i := first; i < len(layers); i++ {
		if info, err = u.layer(ctx, i, info.ID); err != nil {
			u.emit(i, progress.Event{State: progress.Failed, Err: err})
			return snapshot.Info{}, fmt.Errorf("unpack layer %d of %d, %s: %w", i+1, len(layers), layers[i].Digest, err)
		}
	}
	return info, nil
}

type unpacker struct {
	p       content.Provider
	s       Snapshotter
	opts    Options
	sink    progress.Sink
	layers  []ocispec.Descriptor
	diffIDs []digest.Digest
	chain   []digest.Digest

	// next is the stream of layer nextIndex, opened while the one below is applied.
	next      *ahead
	nextIndex int
}

// highest finds the topmost snapshot that is there, and the index of the first layer that is not.
func (u *unpacker) highest(ctx context.Context) (snapshot.Info, int, error) {
	for i := len(u.chain); i > 0; i-- {
		info, err := u.s.Lookup(ctx, u.chain[i-1])
		if err == nil {
			return info, i, nil
		}
		if !errdefs.IsNotFound(err) {
			return snapshot.Info{}, 0, err
		}
	}
	return snapshot.Info{}, 0, nil
}

// layer applies and names one layer on top of parent, unless another process has done so.
func (u *unpacker) layer(ctx context.Context, i int, parent string) (snapshot.Info, error) {
	if r, ok := u.s.(snapshot.Reserver); ok {
		release, err := r.Reserve(ctx, u.chain[i])
		if err != nil {
			return snapshot.Info{}, err
		}
		defer release()
		info, err := u.s.Lookup(ctx, u.chain[i])
		if err == nil {
			u.emit(i, progress.Event{State: progress.Cached})
		}
		if err == nil || !errdefs.IsNotFound(err) {
			return info, err
		}
	}
	tar := u.open(ctx, i)
	defer tar.Close()
	u.ahead(ctx, i+1)
	counter := &counter{r: tar, emit: func(n int64) { u.emit(i, progress.Event{Current: n}) }}
	made, err := u.s.Apply(ctx, parent, counter)
	if err != nil {
		return snapshot.Info{}, err
	}
	info, err := u.s.Name(ctx, made.ID, u.chain[i])
	if err != nil || info.ID != made.ID {
		// Another one was first, or nobody will ever find this one.
		u.s.Remove(ctx, made.ID) //nolint:errcheck // garbage collection does it otherwise
	}
	if err == nil {
		u.emit(i, progress.Event{State: progress.Done, Current: counter.n, Total: counter.n})
	}
	return info, err
}

// open returns the verified tar of a layer, which may be under way already.
func (u *unpacker) open(ctx context.Context, i int) *ahead {
	if next := u.next; next != nil {
		u.next = nil
		if u.nextIndex == i {
			return next
		}
		next.Close()
	}
	return readAhead(ctx, func(ctx context.Context) (io.ReadCloser, error) {
		return layer.Open(ctx, u.p, u.layers[i], u.diffIDs[i], layer.OpenOptions{Verified: u.opts.Verified})
	})
}

// ahead begins with a layer whose turn comes next. An error shows when it is its turn.
func (u *unpacker) ahead(ctx context.Context, i int) {
	if i < len(u.layers) && u.next == nil {
		u.next, u.nextIndex = u.open(ctx, i), i
	}
}

func (u *unpacker) close() {
	if u.next != nil {
		u.next.Close()
	}
}

func (u *unpacker) emit(i int, e progress.Event) {
	e.ID = u.layers[i].Digest.String()
	e.Name = fmt.Sprintf("unpack layer %d of %d", i+1, len(u.layers))
	u.sink.Emit(e)
}

// step is how many bytes go by between two events, 8 MiB.
const step = 8 << 20

// counter tells how far a layer has come.
type counter struct {
	r       io.Reader
	n, told int64
	emit    func(n int64)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.n-c.told >= step {
		c.told = c.n
		c.emit(c.n)
	}
	return n, err
}
