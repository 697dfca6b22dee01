package engine

import (
	"context"
	"slices"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/build/history"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// provenances are what builds of this store said of an image, and of the images of an index: of each one statement, that of the build whose ID begins with id, or else of the last
// build that gave the image its name, or made it at all. What a registry or an archive brought along with an image was said by somebody else, and is none of them.
func (e *Engine) provenances(ctx context.Context, at *signPlace, root ocispec.Descriptor, id string) ([]said, error) {
	if !at.src.store {
		return nil, errdefs.Unsupported("%s: the provenance is taken from the store; pull the image, or give --predicate", at.name)
	}
	list, err := e.manifests(ctx, root)
	if err != nil {
		return nil, err
	}
	var only *history.Build
	if id != "" {
		if only, err = e.history().Find(ctx, id); err != nil {
			return nil, err
		}
	}
	var out []said
	foreign := 0
	for _, d := range list {
		have, err := e.statements(ctx, d, attest.PredicateProvenance)
		if err != nil {
			return nil, err
		}
		own, err := e.ownProvenances(ctx, d.Digest)
		if err != nil {
			return nil, err
		}
		b := madeBy(own, at.ref)
		if only != nil {
			b = nil
			if only.Manifest == d.Digest && only.Provenance != "" {
				b = only
			}
		}
		i := slices.IndexFunc(have, func(a attached) bool { return b != nil && a.manifest.Digest == b.Provenance })
		if i < 0 {
			foreign += len(have)
			continue
		}
		out = append(out, said{subject: plainDescriptor(d), predicateType: have[i].PredicateType, predicate: have[i].Predicate})
	}
	switch {
	case len(out) > 0:
		return out, nil
	case only != nil:
		return nil, errdefs.NotFound("the build %s did not make %s, or no provenance of it; \"camada builds\" lists them", only.ID, at.name)
	case foreign > 0:
		return nil, errdefs.NotFound("%s has no provenance that a build of this store made, and what came along with it was said by others: build it with --provenance, or give --predicate", at.name)
	}
	return nil, errdefs.NotFound("%s has no provenance; build it with --provenance", at.name)
}

// ownProvenances are the builds of this store that made a manifest and a statement of how, the youngest first.
func (e *Engine) ownProvenances(ctx context.Context, manifest digest.Digest) ([]*history.Build, error) {
	var out []*history.Build
	err := e.history().Each(ctx, func(b *history.Build) bool {
		if b.Status == history.Completed && b.Manifest == manifest && b.Provenance != "" {
			out = append(out, b)
		}
		return true
	})
	return out, err
}

// madeBy is the first of the builds that gave its image a name, or else the first of all; nil for none.
func madeBy(list []*history.Build, name reference.Reference) *history.Build {
	for _, b := range list {
		for _, t := range b.Tags {
			if ref, err := reference.Parse(t); err == nil && ref.Repository != "" && ref.Familiar() == name.Familiar() {
				return b
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[0]
}
