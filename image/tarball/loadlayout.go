package tarball

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// images finds out what the archive is, when all of it has been read.
func (l *loader) images(ctx context.Context) ([]Loaded, error) {
	_, index, indexErr := l.get(ocispec.ImageIndexFile)
	_, manifest, manifestErr := l.get(manifestFile)
	_, _, oldErr := l.get(repositoriesFile)
	switch {
	case indexErr == nil:
		loaded, err := l.layout(ctx, index)
		if err != nil || manifestErr != nil {
			return loaded, err
		}
		return loaded, l.nameFromItems(ctx, manifest, loaded)
	case manifestErr == nil:
		return l.docker(ctx, manifest)
	case oldErr == nil:
		return nil, errdefs.Unsupported("it was written by Docker before 1.10; load it with a newer one and save it again")
	}
	return nil, errdefs.Invalid("it has no images: neither %s nor %s is in it", ocispec.ImageIndexFile, manifestFile)
}

// document returns the bytes of a document, which may have been stored already.
func (l *loader) document(ctx context.Context, e entry, limit int64) ([]byte, error) {
	if e.desc.Digest == "" {
		return e.data, nil
	}
	return content.ReadAll(ctx, l.dst, e.desc, limit)
}

// layout returns the images of an OCI layout.
func (l *loader) layout(ctx context.Context, e entry) ([]Loaded, error) {
	if err := l.checkVersion(ctx); err != nil {
		return nil, err
	}
	data, err := l.document(ctx, e, image.MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
	}
	idx, err := image.ParseIndex(data, ocispec.MediaTypeImageIndex)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
	}
	var all []Loaded
	at := map[digest.Digest]int{}
	for _, m := range idx.Manifests {
		i, ok := at[m.Digest]
		if !ok {
			desc, err := l.complete(ctx, m)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
			}
			i = len(all)
			at[m.Digest] = i
			all = append(all, Loaded{Descriptor: desc})
		}
		if err := all[i].name(m.Annotations); err != nil {
			return nil, fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
		}
	}
	if len(all) == 0 {
		return nil, errdefs.Invalid("it has no images: %s is empty", ocispec.ImageIndexFile)
	}
	return all, nil
}

// checkVersion checks oci-layout. Some writers leave it out.
func (l *loader) checkVersion(ctx context.Context) error {
	_, e, err := l.get(ocispec.ImageLayoutFile)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	data, err := l.document(ctx, e, small)
	var v ocispec.ImageLayout
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		return errdefs.Corrupt("%s: %w", ocispec.ImageLayoutFile, err)
	}
	if v.Version != ocispec.ImageLayoutVersion {
		return errdefs.Unsupported("%s: version %.50q; only %s is known", ocispec.ImageLayoutFile, v.Version, ocispec.ImageLayoutVersion)
	}
	return nil
}

// name adds the name that the annotations of an entry of index.json give.
func (l *Loaded) name(annotations map[string]string) error {
	ref, word, err := image.EntryName(annotations)
	if err != nil {
		return err
	}
	if word != "" {
		l.RefName = word
	}
	if ref != nil && !slices.Contains(l.Names, *ref) {
		l.Names = append(l.Names, *ref)
	}
	return nil
}

func (l *Loaded) addName(name string) error {
	ref, err := reference.Parse(name)
	if err != nil {
		return errdefs.Corrupt("%w", err)
	}
	if !slices.Contains(l.Names, ref) {
		l.Names = append(l.Names, ref)
	}
	return nil
}

// complete checks that all that desc leads to is in the store, and that images are
// sound. It returns desc, or what there is of it when desc is an index of which a part is missing.
func (l *loader) complete(ctx context.Context, desc ocispec.Descriptor) (ocispec.Descriptor, error) {
	desc.Annotations = nil
	found, missing, err := l.present(ctx, desc, 0)
	if err != nil {
		return desc, err
	}
	if found.Digest == "" {
		return desc, errdefs.Corrupt("blob %s of %s is neither in the archive nor in the store", missing, desc.Digest)
	}
	return found, nil
}

// present returns what there is of desc: desc itself when all is there, a
// manifest or an index in place of an index that is not whole, or the zero value and a
// digest that is missing.
func (l *loader) present(ctx context.Context, desc ocispec.Descriptor, depth int) (found ocispec.Descriptor, missing digest.Digest, err error) {
	const maxDepth = 8
	if depth > maxDepth {
		return found, "", errdefs.Limit("index %s lies deeper than %d indexes", desc.Digest, maxDepth)
	}
	info, err := l.dst.Stat(ctx, desc.Digest)
	if errdefs.IsNotFound(err) {
		return found, desc.Digest, nil
	}
	if err != nil {
		return found, "", err
	}
	if info.Size != desc.Size {
		return found, "", errdefs.Corrupt("blob %s has %d bytes, and its descriptor says %d", desc.Digest, info.Size, desc.Size)
	}
	switch {
	case image.IsIndex(desc.MediaType):
		found, missing, err = l.presentIndex(ctx, desc, depth)
	case image.IsManifest(desc.MediaType):
		found, missing, err = l.presentManifest(ctx, desc)
	default:
		found = desc
	}
	if found.Digest != "" && err == nil {
		l.whole[found.Digest] = true
	}
	return found, missing, err
}

func (l *loader) presentManifest(ctx context.Context, desc ocispec.Descriptor) (found ocispec.Descriptor, missing digest.Digest, err error) {
	children, err := image.Children(ctx, l.dst, desc)
	if err != nil {
		return found, "", err
	}
	for _, c := range children {
		info, err := l.dst.Stat(ctx, c.Digest)
		switch {
		case errdefs.IsNotFound(err) && len(c.URLs) > 0:
			continue
		case errdefs.IsNotFound(err):
			return found, c.Digest, nil
		case err != nil:
			return found, "", err
		case info.Size != c.Size:
			return found, "", errdefs.Corrupt("blob %s has %d bytes, and manifest %s says %d", c.Digest, info.Size, desc.Digest, c.Size)
		}
		l.whole[c.Digest] = true
	}
	// Layers and diff_ids must agree. Other things than images may be as they like.
	if image.IsConfig(children[0].MediaType) {
		if _, err := image.Open(ctx, l.dst, desc, ocispec.Platform{}); err != nil {
			return found, "", err
		}
	}
	return desc, "", nil
}

func (l *loader) presentIndex(ctx context.Context, desc ocispec.Descriptor, depth int) (found ocispec.Descriptor, missing digest.Digest, err error) {
	children, err := image.Children(ctx, l.dst, desc)
	if err != nil {
		return found, "", err
	}
	var there []ocispec.Descriptor
	same := true
	for _, c := range children {
		got, miss, err := l.present(ctx, c, depth+1)
		if err != nil {
			return found, "", err
		}
		if got.Digest != c.Digest {
			same = false
		}
		if got.Digest != "" {
			there = append(there, got)
		} else if missing == "" {
			missing = miss
		}
	}
	if same {
		return desc, "", nil
	}
	// What describes images that are gone goes too.
	there = slices.DeleteFunc(there, func(d ocispec.Descriptor) bool {
		return !image.IsIndex(d.MediaType) && (!image.IsManifest(d.MediaType) || image.IsAttestation(d))
	})
	switch len(there) {
	case 0:
		return found, missing, nil
	case 1:
		return there[0], "", nil
	}
	found, err = image.WriteIndex(ctx, l.ing, there, nil)
	return found, "", err
}
