package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layoutdir"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/transfer"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// namedContexts finds what --build-context gave names to. What no step needs is not fetched.
type namedContexts struct {
	fetcher *fetcher
	images  build.Resolver
	pull    bool
	values  map[string]string             // by graph.ContextName
	built   map[string]ocispec.Descriptor // images of other builds, likewise
	found   map[string]*once[*build.Context]
}

func newNamedContexts(f *fetcher, images build.Resolver, opts BuildOptions) (*namedContexts, error) {
	n := &namedContexts{
		fetcher: f, images: images, pull: opts.Pull,
		values: map[string]string{}, built: map[string]ocispec.Descriptor{}, found: map[string]*once[*build.Context]{},
	}
	for k, v := range opts.Contexts {
		name, ok := graph.ContextName(k)
		if !ok {
			return nil, errdefs.Invalid("--build-context %s=%s: %q is not a name", k, fetch.Redact(v), k)
		}
		if v == "" {
			return nil, errdefs.Invalid("--build-context %s=: want a directory, a URL, docker-image://NAME or oci-layout://DIRECTORY", k)
		}
		n.values[name] = v
	}
	for k, d := range opts.ContextImages {
		name, ok := graph.ContextName(k)
		if !ok {
			return nil, errdefs.Invalid("context %q: that is not a name", k)
		}
		n.built[name] = d
	}
	return n, nil
}

// Context implements build.Contexts.
func (n *namedContexts) Context(ctx context.Context, name string, p ocispec.Platform) (*build.Context, error) {
	v, given := n.values[name]
	d, built := n.built[name]
	if !given && !built {
		return nil, nil
	}
	return shared(ctx, n.fetcher, n.found, platform.Format(p)+" "+name, func() (*build.Context, error) {
		if built {
			return n.image(ctx, name, d, p)
		}
		return n.open(ctx, name, v, p)
	})
}

func (n *namedContexts) open(ctx context.Context, name, v string, p ocispec.Platform) (*build.Context, error) {
	if ref, ok := strings.CutPrefix(v, "docker-image://"); ok {
		if ref == "scratch" {
			return &build.Context{}, nil
		}
		img, err := n.images.Resolve(ctx, ref, p, n.pull)
		return &build.Context{Image: &img}, err
	}
	if dir, ok := strings.CutPrefix(v, "oci-layout://"); ok {
		return n.layout(ctx, name, dir, p)
	}
	kind, g, err := kindOf(v)
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindGit:
		dir, err := n.fetcher.Checkout(ctx, g)
		if err == nil {
			err = n.fetcher.noteGit(ctx, name, g)
		}
		return &build.Context{Dir: dir, Fetched: true}, err
	case kindURL:
		dir, text, err := n.fetcher.archiveOrText(ctx, v, nil)
		if err == nil && dir == "" { // one file, called as BuildKit calls it
			if dir, err = n.fetcher.place(ctx); err == nil {
				if err = os.Mkdir(dir, 0o755); err == nil {
					err = os.WriteFile(filepath.Join(dir, "context"), text, 0o600)
				}
			}
		}
		return &build.Context{Dir: dir, Fetched: true}, err
	}
	return &build.Context{Dir: v}, nil
}

// layout copies an image of an OCI layout, DIR[:tag][@digest], into the store.
func (n *namedContexts) layout(ctx context.Context, name, s string, p ocispec.Platform) (*build.Context, error) {
	dirName, want := s, ""
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		dirName, want = s[:at], s[at+1:]
	}
	tag := ""
	if _, err := os.Stat(dirName); err != nil {
		if colon := strings.LastIndexByte(dirName, ':'); colon > strings.LastIndexByte(dirName, '/') {
			dirName, tag = dirName[:colon], dirName[colon+1:]
		}
	}
	dir, err := layoutdir.Open(dirName)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	desc, err := chooseEntry(dir.Entries(), tag, want)
	if err != nil {
		return nil, fmt.Errorf("OCI layout %s: %w", dirName, err)
	}
	if err := transfer.Copy(ctx, dir, n.fetcher.e.content, desc, transfer.Options{Partial: true}); err != nil {
		return nil, err
	}
	return n.image(ctx, name, desc, p)
}

// chooseEntry finds the image of a layout by its tag or digest, or the only one.
func chooseEntry(entries []ocispec.Descriptor, tag, digest string) (ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	for _, e := range entries {
		if !image.IsIndex(e.MediaType) && !image.IsManifest(e.MediaType) {
			continue
		}
		name, word, err := image.EntryName(e.Annotations)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		if digest != "" && e.Digest.String() != digest || tag != "" && word != tag && (name == nil || name.Tag != tag) {
			continue
		}
		found = append(found, ocispec.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size})
	}
	switch {
	case len(found) == 0:
		return ocispec.Descriptor{}, errdefs.NotFound("it has no such image")
	case len(found) > 1 && tag == "" && digest == "":
		return ocispec.Descriptor{}, errdefs.Invalid("it has %d images: name one with :tag or @digest", len(found))
	}
	return found[0], nil
}

// image opens an image of the store for a platform.
func (n *namedContexts) image(ctx context.Context, name string, d ocispec.Descriptor, p ocispec.Platform) (*build.Context, error) {
	img, err := image.Open(ctx, n.fetcher.e.content, d, p)
	if err != nil {
		return nil, err
	}
	if !platform.Match(p, img.Config.Platform) {
		return nil, errdefs.NotFound("the image is for %s, not for %s", platform.Format(img.Config.Platform), platform.Format(p))
	}
	return &build.Context{Image: &build.Base{
		Name: name + "@" + img.Descriptor.Digest.String(), Manifest: img.Descriptor, Config: img.ConfigBytes, Layers: img.Layers, Annotations: img.Manifest.Annotations,
	}}, nil
}
