package tarball

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// item is an entry of a Docker archive's manifest.json (Docker image spec 1.2).
type item struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// plan is what an archive will have.
type plan struct {
	// blobs, each once, parents before children.
	blobs []ocispec.Descriptor
	index ocispec.Index
	// images are the images for one platform, each once, and tags their names.
	images []*image.Image
	tags   [][]string
}

// makePlan finds out what the images are made of. Each image's whole graph is
// in the plan, but for manifests of an index that are not in the store.
func makePlan(ctx context.Context, p content.Provider, images []Image, opts SaveOptions) (*plan, error) {
	pl := &plan{index: ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}}
	seen := map[digest.Digest]bool{}
	for _, img := range images {
		desc := img.Descriptor
		if opts.Platform.OS != "" || opts.Platform.Architecture != "" {
			var err error
			if desc, err = image.Select(ctx, p, desc, opts.Platform); err != nil {
				return nil, fmt.Errorf("save %s: %w", imageName(img), err)
			}
		}
		if err := pl.addGraph(ctx, p, desc, seen); err != nil {
			return nil, fmt.Errorf("save %s: %w", imageName(img), err)
		}
		pl.addNames(desc, img.Names)
		if err := pl.addImage(ctx, p, desc, img.Names, opts); err != nil {
			return nil, fmt.Errorf("save %s: %w", imageName(img), err)
		}
	}
	return pl, nil
}

func imageName(img Image) string {
	if len(img.Names) > 0 {
		return img.Names[0].Familiar()
	}
	return img.Descriptor.Digest.String()
}

// addGraph adds the blobs of a graph.
func (pl *plan) addGraph(ctx context.Context, p content.Provider, root ocispec.Descriptor, seen map[digest.Digest]bool) error {
	manifests, inIndex := 0, map[digest.Digest]bool{}
	err := image.Walk(ctx, p, root, image.WalkOptions{}, func(d ocispec.Descriptor) error {
		there, err := has(ctx, p, d)
		if err != nil {
			return err
		}
		parent := image.IsIndex(d.MediaType) || image.IsManifest(d.MediaType)
		switch {
		case there:
		case parent && inIndex[d.Digest]:
			// An index need not be whole: who pulls for one platform gets one manifest.
			return fs.SkipDir
		case !parent && len(d.URLs) > 0:
			// What may not be distributed is fetched from its URLs.
			return nil
		default:
			return errdefs.NotFound("blob %s is not in the store", d.Digest)
		}
		if image.IsManifest(d.MediaType) {
			manifests++
		}
		if image.IsIndex(d.MediaType) {
			children, err := image.Children(ctx, p, d)
			if err != nil {
				return err
			}
			for _, c := range children {
				inIndex[c.Digest] = true
			}
		}
		if !seen[d.Digest] {
			seen[d.Digest] = true
			pl.blobs = append(pl.blobs, d)
		}
		return nil
	})
	if err == nil && image.IsIndex(root.MediaType) && manifests == 0 && len(inIndex) > 0 {
		err = errdefs.NotFound("none of the images of index %s is in the store", root.Digest)
	}
	return err
}

// has reports whether a blob is in the store.
func has(ctx context.Context, p content.Provider, d ocispec.Descriptor) (bool, error) {
	r, err := p.Open(ctx, d)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, r.Close()
}

// addNames adds the entries of index.json: one for each name, as a descriptor
// has one name only.
func (pl *plan) addNames(desc ocispec.Descriptor, names []reference.Reference) {
	for _, n := range names {
		d := desc
		d.Annotations = maps.Clone(desc.Annotations)
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations[image.NameAnnotation] = n.String()
		d.Annotations[ocispec.AnnotationRefName] = n.Familiar()
		pl.index.Manifests = append(pl.index.Manifests, d)
	}
	if len(names) == 0 {
		pl.index.Manifests = append(pl.index.Manifests, desc)
	}
}

// addImage adds the image that manifest.json names. What is no image, or has none for the
// host and was not asked for by platform, is left out of manifest.json.
func (pl *plan) addImage(ctx context.Context, p content.Provider, desc ocispec.Descriptor, names []reference.Reference, opts SaveOptions) error {
	if opts.Format == OCI {
		return nil
	}
	img, err := image.Open(ctx, p, desc, opts.Platform)
	if err != nil {
		if opts.Format == Combined && (errdefs.IsUnsupported(err) || errdefs.IsNotFound(err)) {
			return nil
		}
		return err
	}
	var tags []string
	for _, n := range names {
		if n.Tag != "" {
			tags = append(tags, n.WithTag(n.Tag).String())
		}
	}
	for i, other := range pl.images {
		if other.Descriptor.Digest == img.Descriptor.Digest {
			pl.tags[i] = append(pl.tags[i], tags...)
			return nil
		}
	}
	pl.images, pl.tags = append(pl.images, img), append(pl.tags, tags)
	return nil
}

// items is the text of manifest.json; path gives the entry of a layer.
func (pl *plan) items(config func(digest.Digest) string, layer func(img *image.Image, i int) string) ([]byte, error) {
	items := []item{}
	for i, img := range pl.images {
		it := item{Config: config(img.ID()), RepoTags: pl.tags[i], Layers: []string{}}
		for j := range img.Layers {
			it.Layers = append(it.Layers, layer(img, j))
		}
		items = append(items, it)
	}
	return json.Marshal(items)
}

func blobPath(d digest.Digest) string {
	return ocispec.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}
