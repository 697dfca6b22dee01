package gc

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/lease"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxDocument bounds what is read of a manifest, index or config in bytes.
const maxDocument = content.MaxManifest

// marks is what roots reach.
type marks struct {
	blobs     content.Provider
	referrers Referrers
	seen      map[digest.Digest]visit
	snapshots map[string]bool
	chains    map[digest.Digest]bool
	damaged   []digest.Digest
	queue     []ocispec.Descriptor
}

// visit is how a blob was looked at: a blob alone can later turn out to be a manifest.
type visit uint8

const (
	reached visit = iota + 1
	lookedInto
)

// mark reads the leases and then the roots, and follows them.
func mark(ctx context.Context, s Store, c *lease.Collector) (*marks, error) {
	m := newMarks(s.Blobs)
	m.referrers = s.Referrers
	live, err := c.Live(ctx)
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	for _, r := range live {
		if d, ok := r.Blob(); ok {
			m.add(Root{Descriptor: ocispec.Descriptor{Digest: d}})
		} else if id, ok := r.Snapshot(); ok {
			m.add(Root{Snapshot: id})
		}
	}
	for _, source := range s.Roots {
		err := source(ctx, func(r Root) error {
			m.add(r)
			return ctx.Err()
		})
		if err != nil {
			return nil, fmt.Errorf("read roots: %w", err)
		}
	}
	return m, m.follow(ctx)
}

func newMarks(p content.Provider) *marks {
	return &marks{
		blobs: p, seen: map[digest.Digest]visit{},
		snapshots: map[string]bool{}, chains: map[digest.Digest]bool{},
	}
}

func (m *marks) add(r Root) {
	if r.Descriptor.Digest != "" {
		m.queue = append(m.queue, r.Descriptor)
	}
	if r.Snapshot != "" {
		m.snapshots[r.Snapshot] = true
	}
	if r.ChainID != "" {
		m.chains[r.ChainID] = true
	}
}

// follow marks all that the queue leads to. Each blob is looked into once, so
// that what is read is bounded by the store, however the documents refer to each other.
func (m *marks) follow(ctx context.Context) error {
	for len(m.queue) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		d := m.queue[len(m.queue)-1]
		m.queue = m.queue[:len(m.queue)-1]
		want := reached
		if leads(d.MediaType) {
			want = lookedInto
		}
		if m.seen[d.Digest] >= want {
			continue
		}
		m.seen[d.Digest] = want
		if want == lookedInto {
			if err := m.lookInto(ctx, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// leads reports whether blobs of a media type lead to others. "" may.
func leads(mediaType string) bool {
	return mediaType == "" || image.IsIndex(mediaType) || image.IsManifest(mediaType) || image.IsConfig(mediaType)
}

// document has what leads on in an index, a manifest and a config.
type document struct {
	Manifests []ocispec.Descriptor `json:"manifests"`
	Config    json.RawMessage      `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	RootFS    struct {
		DiffIDs []digest.Digest `json:"diff_ids"`
	} `json:"rootfs"`
}

// lookInto marks what one document leads to. A document that is missing leads
// nowhere, as the other platforms of an index that were never fetched; one that is
// damaged neither, and is noted. Other errors of reading end the marking,
// because what cannot be read now may still be there.
func (m *marks) lookInto(ctx context.Context, d ocispec.Descriptor) error {
	// The size is the manifest's claim; whether it is true is the matter of fsck.
	data, err := content.ReadAll(ctx, m.blobs, ocispec.Descriptor{Digest: d.Digest, Size: -1}, maxDocument)
	switch {
	case err == nil:
	case errdefs.IsNotFound(err), d.MediaType == "" && errdefs.IsLimit(err):
		return nil
	case errdefs.IsCorrupt(err), errdefs.IsLimit(err), errdefs.IsInvalid(err), errdefs.IsUnsupported(err):
		m.damaged = append(m.damaged, d.Digest)
		return nil
	default:
		return err
	}
	if d.MediaType == "" && (len(data) == 0 || data[0] != '{') {
		return nil
	}
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		if d.MediaType != "" {
			m.damaged = append(m.damaged, d.Digest)
		}
		return nil
	}
	if m.referrers != nil {
		list, err := m.referrers.Of(ctx, d.Digest)
		if err != nil {
			return err
		}
		m.queue = append(m.queue, list...)
	}
	m.queue = append(m.queue, doc.Manifests...)
	m.queue = append(m.queue, doc.Layers...)
	// A manifest's config is a descriptor; an image config has a field of this name too.
	var config ocispec.Descriptor
	if json.Unmarshal(doc.Config, &config) == nil && config.Digest != "" {
		if config.MediaType == "" {
			config.MediaType = ocispec.MediaTypeImageConfig
		}
		m.queue = append(m.queue, config)
	}
	for _, chain := range identity.ChainIDs(doc.RootFS.DiffIDs) {
		m.chains[chain] = true
	}
	return nil
}
