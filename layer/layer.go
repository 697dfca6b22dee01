// Package layer makes layer blobs: hash, diffID, compression and storing are one
// pass over the bytes.
package layer

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer is a stored layer.
type Layer struct {
	// Descriptor of the (compressed) blob.
	Descriptor ocispec.Descriptor `json:"descriptor"`
	// DiffID is the digest of the uncompressed tar (OCI image-spec, config.md).
	DiffID digest.Digest `json:"diffID"`
	// Size of the uncompressed tar in bytes.
	Size int64 `json:"size"`
	// Empty is set when the tar has no entries: such a layer is left out of an image.
	Empty bool `json:"empty,omitempty"`
}
