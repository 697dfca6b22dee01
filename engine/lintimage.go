package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/anatomy/imagelint"
	"github.com/camada/camada/build/history"
	"github.com/camada/camada/dockerfile/lint"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// LintFinding is what is wrong with an image, and where that came from.
type LintFinding struct {
	imagelint.Finding
	// Place is what is known of its layer.
	Place ScanPlace
}

// LintImage looks at an image, which lies where OpenAnatomy finds it, with the rules of package imagelint.
func (e *Engine) LintImage(ctx context.Context, name, platform string, cfg lint.Config, sink progress.Sink) ([]LintFinding, error) {
	at, err := e.find(ctx, name, platform, progress.Or(sink))
	if err != nil {
		return nil, err
	}
	out, err := e.lintImage(ctx, at, cfg, progress.Or(sink))
	if at.close != nil {
		err = errors.Join(err, at.close())
	}
	if err != nil {
		return nil, fmt.Errorf("look into %s: %w", name, err)
	}
	return out, nil
}

func (e *Engine) lintImage(ctx context.Context, at located, cfg lint.Config, sink progress.Sink) ([]LintFinding, error) {
	a, err := anatomy.Open(ctx, at.provider, watched{e.indexes(), sink}, at.image)
	if err != nil {
		return nil, err
	}
	in := imagelint.Input{Image: a}
	inv, layers, err := a.PlacedLists(ctx, at.provider, e.packageLists())
	if err != nil {
		return nil, err
	}
	for i, p := range inv.Packages {
		if p.Type == "deb" || p.Type == "apk" || p.Type == "rpm" {
			in.Packages = append(in.Packages, imagelint.Package{Name: p.Name, Layer: layers[i]})
		}
	}
	places, err := e.places(ctx, at.image)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		if p.From != "" {
			in.Own = append(in.Own, p.From == "own")
		}
	}
	if len(in.Own) != len(places) {
		in.Own = nil
	}
	if program, v := imagelint.Program(a); v != nil {
		head, err := a.Head(ctx, at.provider, v, imagelint.HeadSize)
		if err != nil {
			return nil, err
		}
		if imagelint.IsStatic(head) {
			in.Static = program
		}
	}
	if in.Names, err = e.namesOf(ctx, at.image.Descriptor.Digest); err != nil {
		return nil, err
	}
	if err := e.lintBase(ctx, a, &in); err != nil {
		return nil, err
	}
	found := imagelint.Check(in, cfg)
	out := make([]LintFinding, len(found))
	for i, f := range found {
		out[i].Finding = f
		if f.Layer > 0 && f.Layer <= len(places) {
			out[i].Place = places[f.Layer-1]
		}
	}
	return out, nil
}

// namesOf are the tags of a manifest.
func (e *Engine) namesOf(ctx context.Context, manifest digest.Digest) ([]string, error) {
	tags, err := e.refs.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, t := range tags {
		if t.Descriptor.Digest == manifest {
			out = append(out, t.Reference.Familiar())
		}
	}
	return out, nil
}

// lintBase finds what the image was built from: its build here knows, or its annotations do.
func (e *Engine) lintBase(ctx context.Context, a *anatomy.Image, in *imagelint.Input) error {
	notes := a.Manifest.Annotations
	in.Base, in.BasePinned = notes[ocispec.AnnotationBaseImageName], notes[ocispec.AnnotationBaseImageDigest] != ""
	b, err := e.buildOf(ctx, a.ID())
	if err != nil || b == nil {
		return err
	}
	if v := baseVertex(b); v != nil {
		in.Base, in.BasePinned = familiar(v.Base), strings.Contains(v.Base, "@")
	}
	return nil
}

// buildOf is the last build here that made a config; nil when none is known.
func (e *Engine) buildOf(ctx context.Context, config digest.Digest) (*history.Build, error) {
	var b *history.Build
	err := e.history().Each(ctx, func(other *history.Build) bool {
		if other.Config == config {
			b = other
		}
		return b == nil
	})
	return b, err
}

// baseVertex is the image at the bottom of what was built; nil for none.
func baseVertex(b *history.Build) *history.Vertex {
	for i := b.Plan.Target; i >= 0 && i < len(b.Plan.Vertices); i = b.Plan.Vertices[i].Parent {
		v := &b.Plan.Vertices[i]
		if v.Base != "" {
			return v
		}
		if v.Parent >= i { // a plan is in order; a damaged one shall not turn in circles
			break
		}
	}
	return nil
}

// familiar is the name of an image as users write it, when it is one.
func familiar(name string) string {
	if ref, err := reference.Parse(name); err == nil {
		return ref.Familiar()
	}
	return name
}
