package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/camada/camada/content"
	"github.com/camada/camada/delta"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/tarball"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/transfer"
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
	return aboutOf(ctx, e.content, root, func(d digest.Digest) ([]ocispec.Descriptor, error) { return e.referrersOf(ctx, d, "") })
}

// aboutOf is about for an image wherever it lies; of lists what refers to a manifest.
func aboutOf(ctx context.Context, src content.Provider, root ocispec.Descriptor, of func(digest.Digest) ([]ocispec.Descriptor, error)) ([]ocispec.Descriptor, error) {
	queue, err := manifestsOf(ctx, src, root)
	if err != nil {
		return nil, err
	}
	var out []ocispec.Descriptor
	seen := map[digest.Digest]bool{}
	for _, d := range queue {
		seen[d.Digest] = true
	}
	for ; len(queue) > 0; queue = queue[1:] {
		list, err := of(queue[0].Digest)
		if err != nil {
			return nil, err
		}
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

// withReferrers adds to images what is about them, without names.
func (e *Engine) withReferrers(ctx context.Context, images []tarball.Image, format string) ([]tarball.Image, error) {
	if format == "docker-archive" {
		return nil, errdefs.Unsupported("a docker archive holds images alone; save what refers to them with --format oci-archive or oci-dir")
	}
	all := slices.Clone(images)
	for _, img := range images {
		about, err := e.about(ctx, img.Descriptor)
		if err != nil {
			return nil, err
		}
		for _, d := range about {
			if !slices.ContainsFunc(all, func(i tarball.Image) bool { return i.Descriptor.Digest == d.Digest }) {
				all = append(all, tarball.Image{Descriptor: d})
			}
		}
	}
	return all, nil
}

// loadedImages notes the nameless manifests of an archive that are about others of the store, and returns the rest: the images.
func (e *Engine) loadedImages(ctx context.Context, loaded []tarball.Loaded) ([]tarball.Loaded, error) {
	var images []tarball.Loaded
	for _, l := range loaded {
		if len(l.Names) > 0 || l.RefName != "" {
			images = append(images, l)
			continue
		}
		subject, _, ok, err := image.Referrer(ctx, e.content, l.Descriptor)
		if err != nil {
			return nil, err
		}
		if ok {
			_, err = e.content.Stat(ctx, subject.Digest)
		}
		switch {
		case !ok || errdefs.IsNotFound(err):
			images = append(images, l)
		case err != nil:
			return nil, err
		default:
			if err := e.addReferrer(ctx, l.Descriptor); err != nil {
				return nil, err
			}
		}
	}
	return images, nil
}

// FetchReferrers brings what is about an image from the registry of its name, and what is about that in turn. It returns how many
// manifests came.
func (e *Engine) FetchReferrers(ctx context.Context, name string, sink progress.Sink) (int, error) {
	f, err := e.resolve(ctx, name)
	if err != nil {
		return 0, err
	}
	if f.ref.Repository == "" {
		return 0, errdefs.Invalid("%s: a registry is asked by a name, not by an ID", name)
	}
	repo := e.registries().Repository(f.ref)
	queue, err := e.manifests(ctx, f.descriptor)
	if err != nil {
		return 0, err
	}
	n, seen := 0, map[digest.Digest]bool{}
	for ; len(queue) > 0; queue = queue[1:] {
		list, err := repo.Referrers(ctx, queue[0].Digest, "")
		if err != nil {
			return n, err
		}
		for _, d := range list {
			if seen[d.Digest] || d.ArtifactType == delta.ArtifactType { // which is of no use to who has the image
				continue
			}
			if n++; n > maxAbout {
				return n, errdefs.Limit("more than %d manifests refer to %s", maxAbout, name)
			}
			seen[d.Digest] = true
			if err := transfer.Copy(ctx, repo, e.content, d, transfer.Options{Concurrency: transfers, Resume: true, Progress: sink}); err != nil {
				return n, fmt.Errorf("fetch what refers to %s: %w", name, err)
			}
			if err := e.addReferrer(ctx, d); err != nil {
				return n, err
			}
			queue = append(queue, d)
		}
	}
	return n, nil
}

// manifests are the indexes and manifests of an image that are in the store.
func (e *Engine) manifests(ctx context.Context, root ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return manifestsOf(ctx, e.content, root)
}

// manifestsOf is manifests for an image wherever it lies.
func manifestsOf(ctx context.Context, src content.Provider, root ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var out []ocispec.Descriptor
	missing := image.WalkOptions{Missing: func(ocispec.Descriptor) error { return nil }}
	err := image.Walk(ctx, src, root, missing, func(d ocispec.Descriptor) error {
		if image.IsIndex(d.MediaType) || image.IsManifest(d.MediaType) {
			out = append(out, d)
		}
		return nil
	})
	return out, err
}
