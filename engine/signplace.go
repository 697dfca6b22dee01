package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layoutdir"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// signPlace is where an image lies that is signed, or whose signatures are looked at. It is a sign.Source.
type signPlace struct {
	content.Provider
	e    *Engine
	name string
	at   transport
	src  *copySource
	root ocispec.Descriptor
	// ref is the image's name; zero when it has none.
	ref reference.Reference
	// listed is what refers to what in a layout; nil before it was looked at.
	listed map[digest.Digest][]ocispec.Descriptor
}

// signPlace finds an image by a name: of the store, or else of a registry, or a place that says which it is. With elsewhere the signatures
// of an image of the store are those that its registry has.
func (e *Engine) signPlace(ctx context.Context, name string, elsewhere bool, sink progress.Sink) (*signPlace, error) {
	t, ok, err := placeOf(name)
	if err != nil {
		return nil, err
	}
	if !ok && strings.HasPrefix(name, reference.SSH) {
		if t, err = parseTransport(name); err != nil {
			return nil, err
		}
		ok = true
	}
	if !ok {
		return e.signInStore(ctx, name, elsewhere, sink)
	}
	src, err := e.openOrigin(ctx, t, sink)
	if err != nil {
		return nil, err
	}
	return &signPlace{Provider: src, e: e, name: name, at: t, src: src, root: src.root, ref: t.ref}, nil
}

func (e *Engine) signInStore(ctx context.Context, name string, elsewhere bool, sink progress.Sink) (*signPlace, error) {
	f, err := e.resolve(ctx, name)
	if err == nil && !elsewhere {
		src := &copySource{Provider: e.content, root: f.descriptor, store: true, close: nothingToClose}
		return &signPlace{Provider: src, e: e, name: name, src: src, root: f.descriptor, ref: f.ref}, nil
	}
	if err == nil {
		if f.ref.Repository == "" {
			return nil, errdefs.Invalid("%s: a registry is asked by a name, not by an ID", name)
		}
		repo := e.registries().Repository(f.ref)
		src := &copySource{Provider: repo, root: f.descriptor, repo: repo, close: nothingToClose}
		return &signPlace{Provider: src, e: e, name: name, at: transport{kind: transportRegistry, rest: name, ref: f.ref}, src: src, root: f.descriptor, ref: f.ref}, nil
	}
	if !errdefs.IsNotFound(err) {
		return nil, err
	}
	ref, parseErr := reference.Parse(name)
	if parseErr != nil || !strings.Contains(name, "/") {
		return nil, err
	}
	t := transport{kind: transportRegistry, rest: name, ref: ref}
	src, askErr := e.openOrigin(ctx, t, sink)
	if askErr != nil {
		return nil, fmt.Errorf("%s is not in the store: %w", name, askErr)
	}
	return &signPlace{Provider: src, e: e, name: name, at: t, src: src, root: src.root, ref: ref}, nil
}

// reference names a manifest of the image by its digest.
func (p *signPlace) reference(d digest.Digest) string {
	if p.ref.Repository == "" {
		return d.String()
	}
	return p.ref.FamiliarName() + "@" + d.String()
}

// Referrers implements sign.Source.
func (p *signPlace) Referrers(ctx context.Context, subject digest.Digest) ([]ocispec.Descriptor, error) {
	switch {
	case p.src.store:
		return p.e.referrersOf(ctx, subject, "")
	case p.src.repo != nil:
		return p.src.repo.Referrers(ctx, subject, "")
	}
	if p.listed == nil {
		var err error
		if p.listed, err = referring(ctx, p.src); err != nil {
			return nil, err
		}
	}
	return p.listed[subject], nil
}

// Tagged implements sign.Source.
func (p *signPlace) Tagged(ctx context.Context, tag string) (ocispec.Descriptor, error) {
	switch {
	case p.src.store && p.ref.Repository != "":
		t, err := p.e.refs.Get(ctx, p.ref.WithTag(tag))
		return t.Descriptor, err
	case p.src.repo != nil:
		return p.src.repo.Resolve(ctx, tag)
	}
	for _, d := range p.src.entries {
		name := d.Annotations[ocispec.AnnotationRefName]
		if name == tag || strings.HasSuffix(name, ":"+tag) {
			return d, nil
		}
	}
	return ocispec.Descriptor{}, errdefs.NotFound("there is no %s", tag)
}

// attachAt brings a manifest of the store that refers to an image to where that lies.
func (e *Engine) attachAt(ctx context.Context, at *signPlace, desc ocispec.Descriptor) error {
	o := transfer.Options{Concurrency: transfers}
	switch {
	case at.src.store:
		return e.addReferrer(ctx, desc)
	case at.src.repo != nil:
		return transfer.Push(ctx, e.content, at.src.repo.Target("", desc), desc, o)
	case at.at.kind == transportLayout:
		return e.attachToLayout(ctx, at, desc, o)
	}
	return errdefs.Unsupported("%s: an archive is not changed; load it, sign the image, and save it with --referrers", at.name)
}

func (e *Engine) attachToLayout(ctx context.Context, at *signPlace, desc ocispec.Descriptor, o transfer.Options) (err error) {
	path := at.at.rest
	if _, statErr := os.Stat(path); statErr != nil {
		path, _ = at.at.split()
	}
	dir, err := layoutdir.Create(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	// What refers to an image is an entry without a name. The image itself is there.
	_, m, err := image.ReadManifest(ctx, e.content, desc)
	if err != nil {
		return err
	}
	for _, d := range append(append([]ocispec.Descriptor{m.Config}, m.Layers...), desc) {
		if err := copyBlob(ctx, e.content, dir, d); err != nil {
			return err
		}
	}
	return dir.Add(ctx, desc, "")
}

// copyBlob copies one small blob.
func copyBlob(ctx context.Context, from content.Provider, to content.Ingester, d ocispec.Descriptor) error {
	r, err := from.Open(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = content.WriteReader(ctx, to, r, ocispec.Descriptor{Digest: d.Digest, Size: d.Size})
	return err
}
