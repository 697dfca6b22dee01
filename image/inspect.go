package image

import (
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Inspection is what is known of an image, in the form of Docker's "image inspect".
type Inspection struct {
	// ID is the digest of the config.
	ID          digest.Digest `json:"Id"`
	RepoTags    []string
	RepoDigests []string
	Comment     string
	// Created is in RFC 3339 with nanoseconds; "" when it is not known.
	Created      string
	Author       string
	Config       ExecConfig
	Architecture string
	Variant      string `json:",omitempty"`
	Os           string
	OsVersion    string `json:",omitempty"`
	// Size of all blobs as they are stored, in bytes.
	Size     int64
	RootFS   RootFS
	Metadata Metadata
	// Descriptor is what the names point to: the index of an image for more
	// platforms, or the manifest. Manifest is always the manifest's.
	Descriptor ocispec.Descriptor
	Manifest   ocispec.Descriptor
	Layers     []ocispec.Descriptor
}

// RootFS are the diffIDs of the layers, the base first.
type RootFS struct {
	Type   string
	Layers []digest.Digest `json:",omitempty"`
}

// Metadata is what the store knows besides the image itself.
type Metadata struct {
	// LastTagTime is when a name of the image was last moved.
	LastTagTime time.Time
}

// Inspect returns what is known of an image. root is the index or manifest that it was
// opened by, and tags are all refs of the store: those to root or to the
// image's manifest are its names.
func Inspect(img *Image, root ocispec.Descriptor, tags []Tag) Inspection {
	c := &img.Config
	in := Inspection{
		ID: img.ID(), RepoTags: []string{}, RepoDigests: []string{},
		Author: c.Author, Config: c.Config,
		Architecture: c.Architecture, Variant: c.Variant, Os: c.OS, OsVersion: c.OSVersion,
		Size:       img.Size(),
		RootFS:     RootFS{Type: "layers", Layers: img.DiffIDs},
		Descriptor: root, Manifest: img.Descriptor, Layers: img.Layers,
	}
	if c.Created != nil {
		in.Created = c.Created.Format(time.RFC3339Nano)
	}
	if n := len(c.History); n > 0 {
		in.Comment = c.History[n-1].Comment
	}
	digests := map[string]bool{}
	for _, t := range tags {
		if t.Descriptor.Digest != root.Digest && t.Descriptor.Digest != img.Descriptor.Digest {
			continue
		}
		if t.Reference.Tag != "" {
			in.RepoTags = append(in.RepoTags, t.Reference.WithTag(t.Reference.Tag).Familiar())
		}
		if d := t.Reference.FamiliarName() + "@" + t.Descriptor.Digest.String(); !digests[d] {
			digests[d] = true
			in.RepoDigests = append(in.RepoDigests, d)
		}
		if t.Updated.After(in.Metadata.LastTagTime) {
			in.Metadata.LastTagTime = t.Updated
		}
	}
	return in
}
