package engine

import (
	"context"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxAttached bounds how deep what refers to something lies.
const maxAttached = 32

// Attached is a manifest of a registry with all that refers to it.
type Attached struct {
	Reference    string            `json:"reference"`
	MediaType    string            `json:"mediaType"`
	Digest       digest.Digest     `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Referrers    []Attached        `json:"referrers,omitempty"`
}

// DiscoverOptions say whose referrers are listed.
type DiscoverOptions struct {
	Name string
	// Type lists those of one artifact type alone; "" lists all.
	Type string
	// Depth is how many levels are looked at; 0 is all.
	Depth int
	// Platform chooses a manifest of an index; "" is the index.
	Platform string
}

// Discover lists what refers to a manifest of a registry, and to that in turn.
func (e *Engine) Discover(ctx context.Context, o DiscoverOptions) (Attached, error) {
	ref, err := reference.ParseRemote(o.Name)
	if err != nil {
		return Attached{}, err
	}
	if o.Depth < 0 {
		return Attached{}, errdefs.Invalid("depth %d: want a number that is not negative", o.Depth)
	}
	repo := e.registries().Repository(ref)
	desc, err := remoteSubject(ctx, repo, ref, o.Platform)
	if err != nil {
		return Attached{}, err
	}
	if o.Depth == 0 || o.Depth > maxAttached {
		o.Depth = maxAttached
	}
	d := discovery{repo: repo, ref: ref, kind: o.Type, seen: map[digest.Digest]bool{desc.Digest: true}}
	return d.of(ctx, desc, o.Depth)
}

type discovery struct {
	repo *remote.Repository
	ref  reference.Reference
	kind string
	seen map[digest.Digest]bool
}

// of looks at what refers to desc, and so on for depth levels. What is there twice is shown once.
func (d *discovery) of(ctx context.Context, desc ocispec.Descriptor, depth int) (Attached, error) {
	a := Attached{
		Reference: d.ref.Name() + "@" + desc.Digest.String(), MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size,
		ArtifactType: desc.ArtifactType, Annotations: desc.Annotations,
	}
	if depth == 0 || !image.IsIndex(desc.MediaType) && !image.IsManifest(desc.MediaType) {
		return a, nil
	}
	list, err := d.repo.Referrers(ctx, desc.Digest, d.kind)
	if err != nil {
		return a, err
	}
	for _, next := range list {
		if d.seen[next.Digest] {
			continue
		}
		if d.seen[next.Digest] = true; len(d.seen) > maxAbout {
			return a, errdefs.Limit("more than %d manifests refer to %s", maxAbout, d.ref.Familiar())
		}
		child, err := d.of(ctx, next, depth-1)
		if err != nil {
			return a, err
		}
		a.Referrers = append(a.Referrers, child)
	}
	return a, nil
}
