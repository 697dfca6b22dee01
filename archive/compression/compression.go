// Package compression compresses and decompresses layers.
//
//	alg := compression.Detect(first bytes)
//	r, err := compression.NewReader(blob, compression.Limits{})
//	w, err := compression.NewWriter(blob, compression.Gzip)
//
// What NewWriter writes depends on the bytes alone: not on the number of cores,
// the sizes of the writes, the time or the machine. It is the same for a release of
// camada; a test holds the digests.
package compression

import (
	"bytes"
	"strings"

	"github.com/camada/camada/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Algorithm is a way of compression.
type Algorithm string

// The algorithms. Bzip2 and XZ can only be read.
const (
	None  Algorithm = "none"
	Gzip  Algorithm = "gzip"
	Zstd  Algorithm = "zstd"
	Bzip2 Algorithm = "bzip2"
	XZ    Algorithm = "xz"
)

// The media types of Docker's layers.
const (
	dockerLayer     = "application/vnd.docker.image.rootfs.diff.tar"
	dockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	dockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd"
	dockerForeign   = "application/vnd.docker.image.rootfs.foreign.diff.tar"
)

// DetectLen is how many first bytes Detect wants to see.
const DetectLen = 6

// Detect tells the compression of a stream from its first bytes; None for
// anything unknown.
func Detect(head []byte) Algorithm {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b, 0x08}):
		return Gzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return Zstd
	case len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		return Zstd // a skippable frame first, as zstd:chunked and pzstd have them
	case bytes.HasPrefix(head, []byte("BZh")):
		return Bzip2
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return XZ
	}
	return None
}

// MediaType is the media type of a layer so compressed; "" when there is none.
func MediaType(a Algorithm) string {
	switch a {
	case None:
		return ocispec.MediaTypeImageLayer
	case Gzip:
		return ocispec.MediaTypeImageLayerGzip
	case Zstd:
		return ocispec.MediaTypeImageLayerZstd
	}
	return ""
}

// FromMediaType tells the compression that a layer's media type promises, of OCI
// or Docker, distributable or not. Others are ErrUnsupported. Not
// every image keeps the promise: NewReader looks at the bytes.
func FromMediaType(mt string) (Algorithm, error) {
	mt, _, _ = strings.Cut(mt, ";")
	switch strings.TrimSpace(mt) {
	case ocispec.MediaTypeImageLayer, dockerLayer, dockerForeign,
		"application/vnd.oci.image.layer.nondistributable.v1.tar":
		return None, nil
	case ocispec.MediaTypeImageLayerGzip, dockerLayerGzip, dockerForeign + ".gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip":
		return Gzip, nil
	case ocispec.MediaTypeImageLayerZstd, dockerLayerZstd, dockerForeign + ".zstd",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return Zstd, nil
	}
	return "", errdefs.Unsupported("media type %q is not that of a layer", mt)
}
