package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/camada/camada/build"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/progress"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// built is the result of a build for all its platforms.
type built struct {
	// descriptor is of the only manifest, or of the index of all.
	descriptor ocispec.Descriptor
	// images are the builds, in the order of the platforms.
	images []*build.Result
	// blobs has their layers, or knows where they are.
	blobs *lazy
	// guard looks at what is pushed; nil does not.
	guard *secretGuard
	// attestations are the manifests with the statements about the images that were asked for.
	attestations []ocispec.Descriptor
	// ci is what the state of git says; nil when it does not matter.
	ci *ciBuild
}

// parsePlatforms reads the platforms of a build, each once; nil is the host's, unsaid.
func parsePlatforms(names []string) ([]*ocispec.Platform, error) {
	var out []*ocispec.Platform
	seen := map[string]bool{}
	for _, n := range names {
		for part := range strings.SplitSeq(n, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			p, err := platform.Parse(part)
			if err != nil {
				return nil, err
			}
			if key := platform.Format(p); !seen[key] {
				seen[key] = true
				out = append(out, &p)
			}
		}
	}
	if out == nil {
		out = []*ocispec.Platform{nil}
	}
	return out, nil
}

// buildAll builds for each platform, side by side, and joins several images in an index. Steps that the builds have
// in common are made once: see build.Builder.
func (e *Engine) buildAll(ctx context.Context, b *build.Builder, o build.Options, platforms []*ocispec.Platform, notes annotations, rec *recording, sink progress.Sink) (*built, error) {
	if err := notes.check(platforms); err != nil {
		return nil, err
	}
	if len(platforms) == 1 {
		o.Platform = platforms[0]
		o.Annotations = notes.manifest(o.Platform)
		res, err := rec.build(ctx, b, o, sink)
		if err != nil {
			return nil, err
		}
		return &built{descriptor: res.Manifest, images: []*build.Result{res}}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &built{images: make([]*build.Result, len(platforms))}
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	for i, p := range platforms {
		po := o
		po.Platform, po.Prefix, po.Annotations = p, platform.Format(*p), notes.manifest(p)
		po.BuildArgs, po.Labels = maps.Clone(o.BuildArgs), maps.Clone(o.Labels)
		wg.Go(func() {
			res, err := rec.build(ctx, b, po, sink)
			if err != nil {
				once.Do(func() { first = fmt.Errorf("%s: %w", po.Prefix, err) })
				cancel()
			}
			out.images[i] = res
		})
	}
	wg.Wait()
	if first != nil {
		return nil, first
	}
	return out, e.join(ctx, out, notes)
}

// join writes the index of the images.
func (e *Engine) join(ctx context.Context, out *built, notes annotations) error {
	var manifests []ocispec.Descriptor
	for _, img := range out.images {
		d := img.Manifest
		d.Annotations = notes.of(inDescriptor, d.Platform)
		manifests = append(manifests, d)
	}
	var err error
	if out.descriptor, err = image.WriteIndex(ctx, e.content, manifests, notes.of(inIndex, nil)); err != nil {
		return err
	}
	return e.content.Sync(ctx, out.descriptor.Digest)
}

// The places of annotations (buildx's names).
const (
	inManifest   = "manifest"
	inIndex      = "index"
	inDescriptor = "manifest-descriptor"
)

// annotation is one --annotation.
type annotation struct {
	place, platform, key, value string
}

type annotations []annotation

// parseAnnotations reads KEY=VALUE, TYPE:KEY=VALUE and TYPE[PLATFORM]:KEY=VALUE, where TYPE is one place or several with
// commas between them: manifest (when none is said), index, manifest-descriptor.
func parseAnnotations(in []string) (annotations, error) {
	var out annotations
	for _, s := range in {
		k, value, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, errdefs.Invalid("--annotation %q: want [TYPE:]KEY=VALUE", s)
		}
		places, key := []string{inManifest}, k
		if types, rest, ok := strings.Cut(k, ":"); ok && isPlaces(types) {
			places, key = splitPlaces(types), rest
		}
		if key == "" {
			return nil, errdefs.Invalid("--annotation %q: the key is empty", s)
		}
		for _, place := range places {
			a := annotation{key: key, value: value}
			a.place, a.platform, _ = strings.Cut(strings.TrimSuffix(place, "]"), "[")
			switch a.place {
			case inManifest, inIndex, inDescriptor:
			case "index-descriptor":
				return nil, errdefs.Unsupported("--annotation %q: the descriptor of an index is no part of an image; use index:", s)
			default:
				return nil, errdefs.Invalid("--annotation %q: %q is none of manifest, index, manifest-descriptor", s, a.place)
			}
			if a.platform != "" {
				p, err := platform.Parse(a.platform)
				if err != nil {
					return nil, fmt.Errorf("--annotation %q: %w", s, err)
				}
				a.platform = platform.Format(p)
			}
			out = append(out, a)
		}
	}
	return out, nil
}

// isPlaces tells places from a key that has a colon in it: places begin with the name of one.
func isPlaces(s string) bool {
	return slices.ContainsFunc([]string{inManifest, inIndex}, func(p string) bool { return strings.HasPrefix(s, p) })
}

// splitPlaces splits at the commas that are not between brackets.
func splitPlaces(s string) []string {
	var out []string
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, s[from:i])
				from = i + 1
			}
		}
	}
	return append(out, s[from:])
}

// of returns what belongs to one place; nil for nothing.
func (as annotations) of(place string, p *ocispec.Platform) map[string]string {
	var out map[string]string
	for _, a := range as {
		if a.place != place || a.platform != "" && (p == nil || platform.Format(platform.Normalize(*p)) != a.platform) {
			continue
		}
		if out == nil {
			out = make(map[string]string)
		}
		out[a.key] = a.value
	}
	return out
}

// manifest returns what belongs to the manifest for a platform, nil being the host's.
func (as annotations) manifest(p *ocispec.Platform) map[string]string {
	if p == nil {
		host := platform.Host()
		p = &host
	}
	return as.of(inManifest, p)
}

// check refuses annotations of an index where none is made.
func (as annotations) check(platforms []*ocispec.Platform) error {
	if len(platforms) > 1 {
		return nil
	}
	for _, a := range as {
		if a.place != inManifest {
			return errdefs.Invalid("--annotation %s:%s: an image for one platform has no index; give several with --platform", a.place, a.key)
		}
	}
	return nil
}
