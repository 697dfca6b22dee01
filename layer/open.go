package layer

import (
	"context"
	"io"

	"github.com/camada/camada/content"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// OpenOptions shape the reading of a layer.
type OpenOptions struct {
	// Verified says that the provider's blob is known to have its digest, which is then not
	// computed again. diffID is checked all the same.
	Verified bool
	// MaxBytes is how big the uncompressed tar may be; 0 means the default of archive/compression.
	MaxBytes int64
}

// Open opens the uncompressed tar of a layer. At its end the reader returns io.EOF
// only if the blob had the descriptor's size and digest and the tar the diffID ("" is
// not checked); ErrCorrupt otherwise: whoever reads less than all has verified nothing. The media
// types of OCI and Docker are accepted, others are ErrUnsupported.
func Open(ctx context.Context, p content.Provider, desc ocispec.Descriptor, diffID digest.Digest, opts OpenOptions) (io.ReadCloser, error) {
	panic("not yet")
}
