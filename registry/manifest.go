package registry

import (
	"encoding/json"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Manifest is a manifest or an index, as it was pushed.
type Manifest struct {
	// Descriptor has media type, digest and size.
	Descriptor ocispec.Descriptor
	Data       []byte
	// Requires is what must be in the repository before the manifest is: config and layers of a manifest, the
	// manifests of an index. Only ParseManifest fills it and what follows; a Manifest that is read has none of it.
	Requires []Requirement
	// Subject is what the manifest is about; "" when nothing. It need not be there.
	Subject digest.Digest
	// ArtifactType and Annotations are what lists of referrers tell (distribution-spec, "Listing Referrers").
	ArtifactType string
	Annotations  map[string]string
}

// Requirement is something that a manifest requires.
type Requirement struct {
	Digest   digest.Digest
	Size     int64
	Manifest bool
}

// Referrer is the descriptor by which lists of referrers name the manifest.
func (m *Manifest) Referrer() ocispec.Descriptor {
	d := m.Descriptor
	d.ArtifactType, d.Annotations = m.ArtifactType, m.Annotations
	return d
}

// MissingError says what a manifest requires and the repository has not got. It is of the class ErrNotFound.
type MissingError struct {
	Digests []digest.Digest
}

// Error returns the text.
func (e *MissingError) Error() string {
	names := make([]string, len(e.Digests))
	for i, d := range e.Digests {
		names[i] = d.String()
	}
	return "not in the repository: " + strings.Join(names, ", ")
}

// Unwrap returns the class.
func (e *MissingError) Unwrap() error { return errdefs.ErrNotFound }

// document is what manifests and indexes have, as far as a registry looks at it.
type document struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"`
	ArtifactType  string               `json:"artifactType"`
	Config        *ocispec.Descriptor  `json:"config"`
	Layers        []ocispec.Descriptor `json:"layers"`
	Blobs         []ocispec.Descriptor `json:"blobs"`
	Manifests     []ocispec.Descriptor `json:"manifests"`
	Subject       *ocispec.Descriptor  `json:"subject"`
	Annotations   map[string]string    `json:"annotations"`
}

// maxRequires bounds what one manifest may require.
const maxRequires = 1 << 16

// ParseManifest parses what was pushed as mediaType, which may be "" when the document says what it is, and computes its digest by alg.
// What cannot be read is ErrInvalid; a kind of document that registries do not know is kept as it is, when it says that it is JSON: it requires nothing.
func ParseManifest(mediaType string, data []byte, alg digest.Algorithm) (Manifest, error) {
	if len(data) > image.MaxManifest {
		return Manifest{}, errdefs.Limit("a manifest of %d bytes, more than the limit of %d", len(data), image.MaxManifest)
	}
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return Manifest{}, errdefs.Invalid("the manifest is not the JSON of one: %w", err)
	}
	switch {
	case mediaType == "":
		mediaType = doc.MediaType
	case doc.MediaType != "" && doc.MediaType != mediaType:
		return Manifest{}, errdefs.Invalid("it was sent as %.100q and says that it is %.100q", mediaType, doc.MediaType)
	}
	if mediaType == "" {
		return Manifest{}, errdefs.Invalid("the manifest has no media type")
	}
	if image.IsIndex(mediaType) || image.IsManifest(mediaType) {
		if err := unambiguous(data); err != nil {
			return Manifest{}, err
		}
	}
	m := Manifest{
		Descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: alg.FromBytes(data), Size: int64(len(data))},
		Data:       data, ArtifactType: doc.ArtifactType, Annotations: doc.Annotations,
	}
	if err := m.require(doc); err != nil {
		return Manifest{}, err
	}
	if doc.Subject != nil {
		if err := content.CheckDigest(doc.Subject.Digest); err != nil {
			return Manifest{}, errdefs.Invalid("subject: %w", err)
		}
		m.Subject = doc.Subject.Digest
	}
	return m, nil
}

// require fills in what the manifest requires.
func (m *Manifest) require(doc document) error {
	isIndex, isManifest := image.IsIndex(m.Descriptor.MediaType), image.IsManifest(m.Descriptor.MediaType)
	if (isIndex || isManifest) && doc.SchemaVersion != 2 {
		return errdefs.Invalid("schemaVersion is %d instead of 2", doc.SchemaVersion)
	}
	if isIndex && (doc.Config != nil || len(doc.Layers) > 0) || isManifest && len(doc.Manifests) > 0 {
		// CVE-2021-41190: a document that is two things at once.
		return errdefs.Invalid("the document is a manifest and an index at once")
	}
	if len(doc.Layers)+len(doc.Manifests) > maxRequires {
		return errdefs.Limit("the manifest requires more than %d things", maxRequires)
	}
	add := func(what string, d ocispec.Descriptor, manifest bool) error {
		if err := content.CheckDigest(d.Digest); err != nil {
			return errdefs.Invalid("%s: %w", what, err)
		}
		if d.Size < 0 {
			return errdefs.Invalid("%s: a size of %d", what, d.Size)
		}
		m.Requires = append(m.Requires, Requirement{Digest: d.Digest, Size: d.Size, Manifest: manifest})
		return nil
	}
	switch {
	case isManifest:
		if doc.Config == nil {
			return errdefs.Invalid("the manifest has no config")
		}
		if err := add("config", *doc.Config, false); err != nil {
			return err
		}
		if m.ArtifactType == "" {
			m.ArtifactType = doc.Config.MediaType
		}
		for _, l := range doc.Layers {
			if err := content.CheckDigest(l.Digest); err != nil {
				return errdefs.Invalid("layers: %w", err)
			}
			if image.IsForeign(l.MediaType) {
				continue // its bytes may lie elsewhere (image-spec, layer.md, "Non-Distributable Layers")
			}
			if err := add("layers", l, false); err != nil {
				return err
			}
		}
	case isIndex:
		for _, d := range doc.Manifests {
			if err := add("manifests", d, true); err != nil {
				return err
			}
		}
	}
	return nil
}
