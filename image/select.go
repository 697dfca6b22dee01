package image

import (
	"context"
	"io/fs"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/platform"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Select returns the descriptor of the manifest for a platform: desc itself
// when it is a manifest, the best match when it is an index. The zero Platform
// means the host's. ErrNotFound, with the platforms that there are, when
// none matches; ErrUnsupported when desc is neither.
func Select(ctx context.Context, p content.Provider, desc ocispec.Descriptor, want ocispec.Platform) (ocispec.Descriptor, error) {
	if want.OS == "" && want.Architecture == "" {
		want = platform.Host()
	}
	if IsManifest(desc.MediaType) {
		return desc, nil
	}
	if !IsIndex(desc.MediaType) {
		return ocispec.Descriptor{}, errdefs.Unsupported("%s is of the type %.100q, which is neither a manifest nor an index", desc.Digest, desc.MediaType)
	}
	all, err := Manifests(ctx, p, desc)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	best, found := ocispec.Descriptor{}, false
	for _, m := range all {
		have := platformOf(ctx, p, m)
		if have == nil || !platform.Match(want, *have) {
			continue
		}
		m.Platform = have
		if !found || better(want, *have, *best.Platform) {
			best, found = m, true
		}
	}
	if !found {
		return ocispec.Descriptor{}, errdefs.NotFound("index %s has no image for %s; it has %s", desc.Digest, platform.Format(want), platformNames(all))
	}
	return best, nil
}

// better reports whether a fits want better than b; both match.
func better(want, a, b ocispec.Platform) bool {
	want, a, b = platform.Normalize(want), platform.Normalize(a), platform.Normalize(b)
	if (a.Variant == want.Variant) != (b.Variant == want.Variant) {
		return a.Variant == want.Variant
	}
	return a.Variant > b.Variant
}

// Manifests returns the entries of an index, and of the indexes in it, that are image
// manifests, in their order: one manifest may be there for more platforms.
// Attestations and other things than manifests are left out. Nested indexes that are
// not in the store are left out too.
func Manifests(ctx context.Context, p content.Provider, index ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var all []ocispec.Descriptor
	missing := func(d ocispec.Descriptor) error {
		if d.Digest == index.Digest {
			return errdefs.NotFound("read index: blob %s is not in the store", d.Digest)
		}
		return nil
	}
	// The walk reaches each index once, but not each entry of one.
	err := Walk(ctx, p, index, WalkOptions{Missing: missing}, func(d ocispec.Descriptor) error {
		if !IsIndex(d.MediaType) {
			return fs.SkipDir
		}
		children, err := Children(ctx, p, d)
		if errdefs.IsNotFound(err) {
			return nil
		}
		for _, c := range children {
			if IsManifest(c.MediaType) && !IsAttestation(c) {
				all = append(all, c)
			}
		}
		return err
	})
	return all, err
}

// platformOf is the platform of an entry of an index, from its config when
// the entry does not say; nil when it cannot be told.
func platformOf(ctx context.Context, p content.Provider, m ocispec.Descriptor) *ocispec.Platform {
	if m.Platform != nil {
		return m.Platform
	}
	_, man, err := ReadManifest(ctx, p, m)
	if err != nil || !IsConfig(man.Config.MediaType) {
		return nil
	}
	_, cfg, err := ReadConfig(ctx, p, man.Config)
	if err != nil {
		return nil
	}
	return &cfg.Platform
}

func platformNames(all []ocispec.Descriptor) string {
	var names []string
	for _, m := range all {
		if m.Platform != nil {
			names = append(names, platform.Format(platform.Normalize(*m.Platform)))
		}
	}
	if len(names) == 0 {
		return "no images"
	}
	const most = 20
	if len(names) > most {
		names = append(names[:most], "others")
	}
	return strings.Join(names, ", ")
}
