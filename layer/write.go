package layer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// emptyTar is the size of a tar without entries: the two blocks that end it.
const emptyTar = 1024

// WriteOptions shape a layer blob.
type WriteOptions struct {
	// Compression of the blob; the zero value is gzip.
	Compression compression.Algorithm
	// NoSync leaves the blob to a later Syncer.Sync: see content.WriterOptions.
	NoSync bool
	// Pool, when not nil, is where the buffers come from and go to.
	Pool *Pool
	// Check, when not nil, is called when all of the tar went past everybody, and before the layer is stored. Its error ends the write as it is, and nothing is stored.
	Check func(diffID digest.Digest) error
	// Stored, when not nil, is called with the layer once it is stored.
	Stored func(l Layer)
}

// Write makes a layer of the tar that produce writes, and stores it. Each of tee
// is given the uncompressed tar as well, in a goroutine of its own; an error of one of them, or of
// produce, ends the write with that error, and nothing is stored. A tee that
// can block for ever has to be made to fail when the write does: produce's
// writer returns the first error of any of the others. The blob is stored before a tee may have
// taken its last bytes in; Write returns after all have.
//
// The descriptor has the layer's media type, digest and size, no annotations.
func Write(ctx context.Context, ing content.Ingester, opts WriteOptions, produce func(io.Writer) error, tee ...io.Writer) (Layer, error) {
	if opts.Compression == "" {
		opts.Compression = compression.Gzip
	}
	mediaType := compression.MediaType(opts.Compression)
	if mediaType == "" {
		return Layer{}, errdefs.Unsupported("write a layer compressed with %q", opts.Compression)
	}
	blob, err := ing.Writer(ctx, content.WriterOptions{NoSync: opts.NoSync})
	if err != nil {
		return Layer{}, fmt.Errorf("write layer: %w", err)
	}
	defer blob.Abort() //nolint:errcheck // harmless after Commit
	sum := sha256.New()
	if opts.Pool == nil {
		opts.Pool = new(Pool)
	}
	size, err := pass(ctx, blob, opts, sum, produce, tee)
	if err != nil {
		return Layer{}, fmt.Errorf("write layer: %w", err)
	}
	diffID := digest.NewDigest(digest.SHA256, sum)
	if opts.Check != nil {
		if err := opts.Check(diffID); err != nil {
			return Layer{}, err
		}
	}
	desc, err := blob.Commit(ctx, -1, "")
	if err != nil {
		return Layer{}, fmt.Errorf("store layer: %w", err)
	}
	l := Layer{
		Descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: desc.Digest, Size: desc.Size},
		DiffID:     diffID,
		Size:       size,
		Empty:      size <= emptyTar,
	}
	if opts.Stored != nil {
		opts.Stored(l)
	}
	return l, nil
}

// pass runs the bytes of produce past everybody who wants them.
func pass(ctx context.Context, blob io.Writer, opts WriteOptions, sum hash.Hash, produce func(io.Writer) error, tee []io.Writer) (int64, error) {
	// The compressor's many small writes become few for the blob.
	out := opts.Pool.writer(blob)
	defer opts.Pool.keepWriter(out)
	z, err := opts.Pool.compressors.NewWriter(out, opts.Compression)
	if err != nil {
		return 0, err
	}
	f := newFan(ctx, opts.Pool, append([]io.Writer{sum, z}, tee...))
	err = produce(f)
	// A writer's failure reaches produce as its own: tell the cause.
	size, ferr := f.close(err)
	zerr := z.Close() // on errors too: it has goroutines
	if err := first(ferr, err, zerr); err != nil {
		return 0, err
	}
	return size, out.Flush()
}

// first is the first of errs that is one.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
