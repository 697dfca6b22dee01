package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/camada/camada/content"
	"github.com/camada/camada/delta"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// remakeHead is how much of a layer is read to find out how it was compressed, in bytes.
const remakeHead = 64 << 10

// errOtherwise says that a layer was compressed in another way.
var errOtherwise = errors.New("it was compressed in another way")

// remakeLayers makes those layers of an image that the store has in another compression. Which one it takes is told from the first bytes of
// the registry's blob; what comes of it must have the blob's digest. What cannot be made is fetched, and those bytes not again. Only the end
// of ctx is an error.
func (e *Engine) remakeLayers(ctx context.Context, found *pulled, sink progress.Sink) error {
	for i, l := range found.image.Layers {
		id := found.image.DiffIDs[i]
		from, ok, err := e.remakeFrom(ctx, found, l, id)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		ev := progress.Event{ID: "remake-" + l.Digest.String(), Name: "make layer " + l.Digest.String() + " of " + from.desc.Digest.String()}
		sink.Emit(ev)
		if err := e.remake(ctx, found.repo, l, from.desc, id); err != nil {
			ev.Name = fmt.Sprintf("layer %s is fetched: %v", l.Digest, err)
		}
		ev.State = progress.Done
		sink.Emit(ev)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// remakeFrom is the layer of the store that a layer may be made of, which the store has not got: it has the same diffID.
func (e *Engine) remakeFrom(ctx context.Context, found *pulled, l ocispec.Descriptor, id digest.Digest) (localLayer, bool, error) {
	if _, err := e.content.Stat(ctx, l.Digest); !errdefs.IsNotFound(err) || len(l.URLs) > 0 || l.Size < remakeHead {
		return localLayer{}, false, nil
	}
	here, err := e.layersHere(ctx, found)
	from, ok := here[id]
	return from, ok && err == nil, err
}

// wouldRemake reports whether remake makes a layer. It does all of the work, and stores nothing.
func (e *Engine) wouldRemake(ctx context.Context, repo content.Provider, want, from ocispec.Descriptor, id digest.Digest) bool {
	r, err := repo.Open(ctx, want)
	if err != nil {
		return false
	}
	defer r.Close()
	head := make([]byte, remakeHead)
	if _, err := r.ReadAt(head, 0); err != nil {
		return false
	}
	for _, recipe := range delta.Candidates(head) {
		sum := &summed{digester: want.Digest.Algorithm().Digester()}
		err := e.compressBy(ctx, sum, recipe, head, want, from, id)
		if err == nil && sum.n == want.Size && sum.digester.Digest() == want.Digest {
			return true
		}
		if err != nil && !errors.Is(err, errOtherwise) {
			return false
		}
	}
	return false
}

// summed counts and sums bytes.
type summed struct {
	digester digest.Digester
	n        int64
}

func (s *summed) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	return s.digester.Hash().Write(p)
}

// remake makes a layer from another one with the same diffID.
func (e *Engine) remake(ctx context.Context, repo content.Provider, want, from ocispec.Descriptor, id digest.Digest) error {
	// The ingest is that of the fetch, which goes on after the first bytes when nothing comes of this.
	w, err := e.content.Writer(ctx, content.WriterOptions{Ref: "copy-" + want.Digest.String(), Algorithm: want.Digest.Algorithm(), NoSync: true})
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	head, err := headOf(ctx, repo, want, w)
	if err != nil {
		return err
	}
	err = errdefs.Unsupported("its compression is not known")
	for _, recipe := range delta.Candidates(head) {
		if err = e.remakeBy(ctx, recipe, head, want, from, id); err == nil {
			return w.Abort()
		}
		if !errors.Is(err, errOtherwise) && !errdefs.IsCorrupt(err) {
			break
		}
	}
	return err
}

// headOf reads the first bytes of a blob: what the ingest does not have is fetched into it.
func headOf(ctx context.Context, repo content.Provider, want ocispec.Descriptor, w content.Writer) ([]byte, error) {
	head := make([]byte, remakeHead)
	if at := w.Offset(); at < remakeHead {
		r, err := repo.Open(ctx, want)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		n, err := r.ReadAt(head[at:], at)
		if _, err := w.Write(head[at : at+int64(n)]); err != nil {
			return nil, err
		}
		if err != nil {
			return nil, err
		}
	}
	at, ok := w.(io.ReaderAt)
	if !ok {
		return nil, errdefs.Unsupported("what was fetched cannot be read again")
	}
	_, err := at.ReadAt(head, 0)
	return head, err
}

// remakeBy compresses the tar of a layer by a recipe, and gives up as soon as the bytes are other ones.
func (e *Engine) remakeBy(ctx context.Context, recipe string, head []byte, want, from ocispec.Descriptor, id digest.Digest) error {
	w, err := e.content.Writer(ctx, content.WriterOptions{Algorithm: want.Digest.Algorithm(), NoSync: true})
	if err != nil {
		return err
	}
	defer func() { _ = w.Abort() }()
	if err := e.compressBy(ctx, w, recipe, head, want, from, id); err != nil {
		return err
	}
	_, err = w.Commit(ctx, want.Size, want.Digest)
	return err
}

// compressBy writes the tar of a layer as a recipe compresses it, as long as it is alike.
func (e *Engine) compressBy(ctx context.Context, w io.Writer, recipe string, head []byte, want, from ocispec.Descriptor, id digest.Digest) error {
	tar, err := layer.Open(ctx, e.content, from, id, layer.OpenOptions{Verified: true})
	if err != nil {
		return err
	}
	defer tar.Close()
	z, err := delta.Compress(&alike{w: w, head: head, left: want.Size}, recipe)
	if err != nil {
		return err
	}
	_, err = io.Copy(z, tar)
	return errors.Join(err, z.Close())
}

// alike writes bytes as long as they begin with the head that is known, and are not more than left.
type alike struct {
	w    io.Writer
	head []byte
	left int64
}

func (a *alike) Write(p []byte) (int, error) {
	n := min(len(p), len(a.head))
	if !bytes.Equal(p[:n], a.head[:n]) || int64(len(p)) > a.left {
		return 0, errOtherwise
	}
	a.head = a.head[n:]
	a.left -= int64(len(p))
	return a.w.Write(p)
}
