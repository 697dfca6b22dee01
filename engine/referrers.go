package engine

import (
	"context"
	"fmt"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxAbout bounds how many manifests are followed from one image: what is about it, and about that.
const maxAbout = 4096

// addReferrer notes a manifest of the store as one that refers to its subject, and makes it durable. What has no
// subject is left alone; so whoever brings manifests into the store calls it for each.
func (e *Engine) addReferrer(ctx context.Context, desc ocispec.Descriptor) error {
	subject, listed, ok, err := image.Referrer(ctx, e.content, desc)
	if err != nil || !ok {
		return err
	}
	var blobs []digest.Digest
	err = image.Walk(ctx, e.content, desc, image.WalkOptions{}, func(d ocispec.Descriptor) error {
		blobs = append(blobs, d.Digest)
		return nil
	})
	if err != nil {
		return err
	}
	if err := e.content.Sync(ctx, blobs...); err != nil {
		return fmt.Errorf("make %s durable: %w", desc.Digest, err)
	}
	return e.referrers.Add(ctx, subject.Digest, listed)
}

// referrersOf lists the manifests that refer to a digest and are in the store, sorted by digest; it pins what it lists. artifactType
// chooses; "" is all.
func (e *Engine) referrersOf(ctx context.Context, subject digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	all, err := e.referrers.Of(ctx, subject)
	if err != nil {
		return nil, err
	}
	var out []ocispec.Descriptor
	for _, d := range all {
		if artifactType != "" && d.ArtifactType != artifactType {
			continue
		}
		if _, err := e.content.Stat(ctx, d.Digest); errdefs.IsNotFound(err) {
			continue // collected, or never whole
		} else if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// about lists all that is about an image, about the manifests of it that are in the store, and about those in turn:
// subjects before what refers to them, each once. It is what is copied along with the image.
func (e *Engine) about(ctx context.Context, root ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var queue, out []ocispec.Descriptor
	missing := image.WalkOptions{Missing: func(ocispec.Descriptor) error { return nil }}
	err := image.Walk(ctx, e.content, root, missing, func(d ocispec.Descriptor) error {
		if image.IsIndex(d.MediaType) || image.IsManifest(d.MediaType) {
			queue = append(queue, d)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	seen := map[digest.Digest]bool{}
	for _, d := range queue {
		seen[d.Digest] = true
	}
	for len(queue) > 0 {
		list, err := e.referrersOf(ctx, queue[0].Digest, "")
		if err != nil {
			return nil, err
		}
		queue = queue[1:]
		for _, d := range list {
			if seen[d.Digest] {
				continue
			}
			if len(out) == maxAbout {
				return nil, errdefs.Limit("more than %d manifests refer to %s", maxAbout, root.Digest)
			}
			seen[d.Digest] = true
			out, queue = append(out, d), append(queue, d)
		}
	}
	return out, nil
}

// parts returns the subject and the layers of a manifest that is about another one.
func (e *Engine) parts(ctx context.Context, d ocispec.Descriptor) (subject ocispec.Descriptor, layers []ocispec.Descriptor, err error) {
	if !image.IsManifest(d.MediaType) { // an index has a subject alone
		subject, _, _, err = image.Referrer(ctx, e.content, d)
		return subject, nil, err
	}
	_, m, err := image.ReadManifest(ctx, e.content, d)
	if err == nil && m.Subject != nil {
		subject = *m.Subject
	}
	return subject, m.Layers, err
}
