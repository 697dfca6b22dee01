// Package tarball writes images to archives and reads them back: what
// "docker save", "podman save", "skopeo copy" and "crane pull" write.
//
//	err := tarball.Save(ctx, file, store, []tarball.Image{{Descriptor: desc, Names: names}}, tarball.SaveOptions{})
//
//	loaded, err := tarball.Load(ctx, file, store, tarball.LoadOptions{})
//	for _, l := range loaded {
//		... // set a ref for each of l.Names to l.Descriptor
//	}
//
// There are two kinds of archives, and an archive can be both at once:
//
//	OCI archive      a tar of an OCI image layout (image-spec, image-layout.md):
//	                 oci-layout, index.json, blobs/<algorithm>/<hex>
//	Docker archive   manifest.json (Docker image spec 1.2, "Combined Image JSON +
//	                 Filesystem Changeset Format"), which names configs and layers
//	                 at any path
//
// Save writes both at once, as Docker does since version 25: a layout whose
// blobs a manifest.json names too. The blobs are those of the store, unchanged.
//
// Load reads a stream once and needs no seeking. Archives are hostile: nothing
// is ever written by a name that an archive gives, links lead to other entries of
// the archive only, sizes and counts are bounded, and each blob is verified.
// A blob enters the store only when it is whole; names are the caller's to set,
// after Load returned.
package tarball

import (
	"github.com/camada/camada/content"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Format is a kind of archive to write.
type Format string

// manifestFile is the document of a Docker archive.
const manifestFile = "manifest.json"

// The formats.
const (
	// Combined is an OCI archive that is a Docker archive too. It keeps digests. Docker before
	// version 23 reads gzip but not zstd layers: for it there is the format Docker.
	Combined Format = ""
	// OCI is an OCI archive alone.
	OCI Format = "oci-archive"
	// Docker is what Docker wrote before version 25: one image for one platform
	// a name, layers uncompressed. The manifests' digests are lost; the image IDs stay.
	Docker Format = "docker-archive"
)

// Image is an image to be saved.
type Image struct {
	// Descriptor of the index or manifest.
	Descriptor ocispec.Descriptor
	// Names that the image gets in the archive; none is fine.
	Names []reference.Reference
}

// SaveOptions shape an archive.
type SaveOptions struct {
	Format Format
	// Platform, when not zero, keeps only the manifest for this platform of each index. The Docker
	// format and the manifest.json of Combined have one platform in any case:
	// this one, or else the host's.
	Platform ocispec.Platform
	// Progress gets an event for each blob; may be nil.
	Progress progress.Sink
}

// Loaded is an image that was in an archive.
type Loaded struct {
	// Descriptor of the index or manifest, with media type and size.
	Descriptor ocispec.Descriptor
	// Names that the archive gives to the image, without duplicates.
	Names []reference.Reference
	// RefName is the layout's org.opencontainers.image.ref.name when it is no
	// name of an image but a bare word such as "latest"; "" otherwise.
	RefName string
}

// Destination is where Load puts blobs, and reads back what it has to parse.
// When it is a content.Syncer too, blobs are made durable all together at the end.
type Destination interface {
	content.Provider
	content.Statter
	content.Ingester
}

// LoadOptions shape Load. The zero value has the defaults.
type LoadOptions struct {
	// MaxEntries of the archive; 0 means 131,072.
	MaxEntries int
	// MaxBytes that the archive may have, decompressed; 0 means 256 GiB.
	MaxBytes int64
	// Progress gets an event for each blob; may be nil.
	Progress progress.Sink
}
