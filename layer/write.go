package layer

import (
	"context"
	"io"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
)

// WriteOptions shape a layer blob.
type WriteOptions struct {
	// Compression of the blob; the zero value is gzip.
	Compression compression.Algorithm
	// NoSync leaves the blob to a later Syncer.Sync: see content.WriterOptions.
	NoSync bool
}

// Write makes a layer of the tar that produce writes, and stores it. Each of tee
// is given the uncompressed tar as well, in a goroutine of its own; an error of one of them, or of
// produce, ends the write with that error, and nothing is stored.
func Write(ctx context.Context, ing content.Ingester, opts WriteOptions, produce func(io.Writer) error, tee ...io.Writer) (Layer, error) {
	panic("not yet")
}
