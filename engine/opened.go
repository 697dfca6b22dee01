package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layoutdir"
	"github.com/camada/camada/image/tarball"
	"github.com/camada/camada/layer/index"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Opened is an image that is looked into, wherever it lies. The caller closes it.
type Opened struct {
	*anatomy.Image
	// Name is what it was asked for by.
	Name     string
	provider content.Provider
	close    func() error
}

// Close releases what was opened.
func (o *Opened) Close() error {
	if o.close == nil {
		return nil
	}
	return o.close()
}

// located is where an image was found.
type located struct {
	provider content.Provider
	image    *image.Image
	// root is what the name stands for: the manifest, or an index that has it.
	root ocispec.Descriptor
	// unpacked tells that its layers may be unpacked in the store, though they are not in it.
	unpacked bool
	close    func() error
	// base is what the image was built from, when that is known of its build; nil when not.
	base *policy.Base
	// registry is the repository of a registry that is served here and has the image.
	registry *storedRepository
}

// OpenAnatomy looks into an image, for a platform ("" is the host's, or the only one). The name is that of an image of the store (also
// NAME@{n}, a digest, an ID), the path of an OCI layout or of an archive of docker's or OCI's kind, or else a
// reference that its registry is asked for. The prefixes oci:, oci-archive:, docker-archive: and docker:// say which.
// Nothing but lists of layers is kept of what is not in the store.
func (e *Engine) OpenAnatomy(ctx context.Context, name, platform string, sink progress.Sink) (*Opened, error) {
	p, err := e.find(ctx, name, platform, progress.Or(sink))
	if err != nil {
		return nil, err
	}
	a, err := anatomy.Open(ctx, p.provider, watched{e.indexes(), progress.Or(sink)}, p.image)
	if err != nil {
		if p.close != nil {
			err = errors.Join(err, p.close())
		}
		return nil, fmt.Errorf("look into %s: %w", name, err)
	}
	return &Opened{Image: a, Name: name, provider: p.provider, close: p.close}, nil
}

// watched tells of the layers that have to be read.
type watched struct {
	*index.Store
	sink progress.Sink
}

// Of implements anatomy.Lists.
func (w watched) Of(ctx context.Context, p content.Provider, desc ocispec.Descriptor, diffID digest.Digest) (*index.Index, error) {
	if x, err := w.Get(diffID); err == nil {
		return x, nil
	}
	ev := progress.Event{ID: "list-" + desc.Digest.String(), Name: "list layer " + desc.Digest.String(), Total: desc.Size}
	w.sink.Emit(ev)
	x, err := w.Store.Of(ctx, p, desc, diffID)
	if ev.State, ev.Err = progress.Done, err; err != nil {
		ev.State = progress.Failed
	}
	w.sink.Emit(ev)
	return x, err
}

func (e *Engine) find(ctx context.Context, name, platform string, sink progress.Sink) (located, error) {
	if rest, ok := strings.CutPrefix(name, "docker://"); ok {
		return e.findRemote(ctx, rest, platform)
	}
	if rest, ok := strings.CutPrefix(name, "oci:"); ok {
		return e.findLayout(ctx, rest, platform)
	}
	for _, kind := range []string{"oci-archive:", "docker-archive:"} {
		if rest, ok := strings.CutPrefix(name, kind); ok {
			return e.findArchive(ctx, rest, platform, sink)
		}
	}
	f, err := e.resolve(ctx, name)
	if err == nil {
		img, err := e.openImage(ctx, e.content, f.descriptor, platform)
		return located{provider: e.content, image: img, root: f.descriptor}, err
	}
	if !errdefs.IsNotFound(err) && !errdefs.IsInvalid(err) {
		return located{}, err
	}
	if info, statErr := os.Stat(name); statErr == nil {
		if info.IsDir() {
			return e.findLayout(ctx, name, platform)
		}
		return e.findArchive(ctx, name, platform, sink)
	}
	// A name without a host or an owner, or one of the log, is no question for a registry.
	if ref, parseErr := reference.Parse(name); parseErr == nil && strings.Contains(name, "/") && !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, ".") {
		sink.Emit(progress.Event{ID: "ask", Name: "ask " + ref.Host + " for " + ref.Familiar()})
		at, askErr := e.findRemote(ctx, name, platform)
		ev := progress.Event{ID: "ask", Name: "ask " + ref.Host + " for " + ref.Familiar(), State: progress.Done}
		if askErr != nil {
			ev.State, ev.Err = progress.Failed, askErr
			askErr = fmt.Errorf("%s is neither in the store nor a file: %w", name, askErr)
		}
		sink.Emit(ev)
		return at, askErr
	}
	return located{}, err
}

// openImage reads an image for a platform; "" is the host's, or else the only one that there is.
func (e *Engine) openImage(ctx context.Context, p content.Provider, desc ocispec.Descriptor, platform string) (*image.Image, error) {
	if platform == "" {
		return image.OpenAny(ctx, p, desc)
	}
	want, err := onePlatform(platform)
	if err != nil {
		return nil, err
	}
	return image.Open(ctx, p, desc, want)
}

func (e *Engine) findRemote(ctx context.Context, name, platform string) (located, error) {
	ref, err := reference.Parse(name)
	if err != nil {
		return located{}, err
	}
	p, err := onePlatform(platform)
	if err != nil {
		return located{}, err
	}
	found, err := e.lookUp(ctx, ref, p)
	if err != nil {
		return located{}, err
	}
	return located{provider: found.repo, image: found.image, root: found.top}, nil
}

// findLayout opens PATH or PATH:NAME of an OCI layout; without a name there must be one image only.
func (e *Engine) findLayout(ctx context.Context, name, platform string) (located, error) {
	dir, desc, err := openLayout(name)
	if err != nil {
		return located{}, err
	}
	img, err := e.openImage(ctx, dir, desc, platform)
	if err != nil {
		return located{}, errors.Join(err, dir.Close())
	}
	return located{provider: dir, image: img, root: desc, close: dir.Close}, nil
}

// oneOf chooses an image of a layout by a name or a bare word; "" is the only one.
func oneOf(path, word string, images []layoutdir.Image) (ocispec.Descriptor, error) {
	var names []string
	for _, img := range images {
		if word == "" && len(images) == 1 || word != "" && img.RefName == word {
			return img.Descriptor, nil
		}
		if img.RefName != "" {
			names = append(names, img.RefName)
		}
		for _, n := range img.Names {
			if word != "" && (n.Tag == word || n.Familiar() == word || n.String() == word) {
				return img.Descriptor, nil
			}
			names = append(names, n.Familiar())
		}
	}
	if word == "" {
		return ocispec.Descriptor{}, errdefs.Invalid("%s has %d images; say which with oci:%s:NAME (%s)", path, len(images), path, strings.Join(names, ", "))
	}
	return ocispec.Descriptor{}, errdefs.NotFound("%s has no image %s, but %s", path, word, strings.Join(names, ", "))
}

// findArchive loads an archive into a store of its own, which is removed at the end.
func (e *Engine) findArchive(ctx context.Context, path, platform string, sink progress.Sink) (located, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return located{}, errdefs.NotFound("there is neither an image nor a file %s", path)
		}
		return located{}, err
	}
	defer f.Close()
	tmp, remove, err := e.tempDir(ctx)
	if err != nil {
		return located{}, err
	}
	store := local.Open(filepath.Join(tmp, "archive"), local.Options{})
	img, root, err := e.loadedImage(ctx, f, store, platform, sink)
	if err != nil {
		remove()
		return located{}, fmt.Errorf("%s: %w", path, err)
	}
	return located{provider: store, image: img, root: root, close: func() error { remove(); return nil }}, nil
}

func (e *Engine) loadedImage(ctx context.Context, f *os.File, store *local.Store, platform string, sink progress.Sink) (*image.Image, ocispec.Descriptor, error) {
	loaded, err := tarball.Load(ctx, f, store, tarball.LoadOptions{Progress: sink})
	if err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	if len(loaded) != 1 {
		return nil, ocispec.Descriptor{}, errdefs.Invalid("the archive has %d images, not one; load it first: camada load", len(loaded))
	}
	img, err := e.openImage(ctx, store, loaded[0].Descriptor, platform)
	return img, loaded[0].Descriptor, err
}
