package engine

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// RemoteManifest is a manifest of a registry, as docker shows it.
type RemoteManifest struct {
	Ref        string
	Descriptor ocispec.Descriptor
	// Raw are its bytes.
	Raw []byte
	// SchemaV2Manifest and OCIManifest are the same, read: one of them.
	SchemaV2Manifest json.RawMessage `json:",omitempty"`
	OCIManifest      json.RawMessage `json:",omitempty"`
}

// RemoteManifest reads the manifest or index of a name from its registry. A platform chooses a manifest of an index; "" shows the index.
func (e *Engine) RemoteManifest(ctx context.Context, name, forPlatform string) (RemoteManifest, error) {
	ref, err := reference.ParseRemote(name)
	if err != nil {
		return RemoteManifest{}, err
	}
	repo := e.registries().Repository(ref)
	m, err := readRemote(ctx, repo, ref)
	if err != nil || forPlatform == "" || !image.IsIndex(m.Descriptor.MediaType) {
		return m, err
	}
	p, err := platform.Parse(forPlatform)
	if err != nil {
		return m, err
	}
	img, err := image.Open(ctx, repo, m.Descriptor, p)
	if err != nil {
		return m, err
	}
	return readRemote(ctx, repo, at(ref, img.Descriptor))
}

// RemoteManifests reads the manifests that an index of a registry has, or the one manifest that a name stands for, with their platforms. isIndex
// tells the two apart.
func (e *Engine) RemoteManifests(ctx context.Context, name string) (all []RemoteManifest, isIndex bool, err error) {
	ref, err := reference.ParseRemote(name)
	if err != nil {
		return nil, false, err
	}
	repo := e.registries().Repository(ref)
	m, err := readRemote(ctx, repo, ref)
	if err != nil {
		return nil, false, err
	}
	if !image.IsIndex(m.Descriptor.MediaType) {
		var oci ocispec.Manifest
		if err := json.Unmarshal(m.Raw, &oci); err != nil {
			return nil, false, errdefs.Corrupt("%s: %w", name, err)
		}
		// What is no image has no platform.
		if img, err := image.Open(ctx, repo, m.Descriptor, ocispec.Platform{}); err == nil {
			m.Descriptor.Platform = &ocispec.Platform{OS: img.Config.OS, Architecture: img.Config.Architecture, Variant: img.Config.Variant}
		}
		return []RemoteManifest{m}, false, nil
	}
	idx, err := image.ParseIndex(m.Raw, m.Descriptor.MediaType)
	if err != nil {
		return nil, true, err
	}
	for _, d := range idx.Manifests {
		m, err := readRemote(ctx, repo, at(ref, d))
		if err != nil {
			return nil, true, err
		}
		m.Descriptor = d
		all = append(all, m)
	}
	return all, true, nil
}

// at is the name of a manifest of an index.
func at(ref reference.Reference, d ocispec.Descriptor) reference.Reference {
	ref.Digest = d.Digest
	return ref
}

func readRemote(ctx context.Context, repo *remote.Repository, ref reference.Reference) (RemoteManifest, error) {
	at := ref.Tag
	if ref.Digest != "" {
		at = ref.Digest.String()
	}
	desc, data, err := repo.Manifest(ctx, at)
	if errdefs.IsNotFound(err) {
		return RemoteManifest{}, errdefs.NotFound("no such manifest: %s: %w", ref.Familiar(), err)
	}
	if err != nil {
		return RemoteManifest{}, pullError(ref, err)
	}
	if !json.Valid(data) {
		return RemoteManifest{}, errdefs.With(errdefs.ErrCorrupt, errors.New("the manifest is no JSON"))
	}
	m := RemoteManifest{Ref: ref.String(), Descriptor: desc, Raw: data}
	if desc.MediaType == image.DockerManifest || desc.MediaType == image.DockerManifestList {
		m.SchemaV2Manifest = data
	} else {
		m.OCIManifest = data
	}
	return m, nil
}
