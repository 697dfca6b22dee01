package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/anatomy/manual"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/remote"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// DocOptions say what Doc tells.
type DocOptions struct {
	// Platform of an image for several; "" tells of all, beginning with the host's.
	Platform string
	// Packages says whether to list packages, which needs the layers; nil is to do so when they are here.
	Packages *bool
}

// Bounds of what is told: images of an index, packages of note.
const (
	maxDocPlatforms = 100
	maxDocPackages  = 50
)

// Doc tells what an image expects and offers. The name is as for OpenAnatomy. Of an image of a registry nothing but manifests and configs are read, unless packages are asked for.
func (e *Engine) Doc(ctx context.Context, name string, o DocOptions, sink progress.Sink) (*manual.Page, error) {
	d, err := e.document(ctx, name, o, progress.Or(sink))
	if err != nil {
		return nil, err
	}
	return d.page, nil
}

// documented is a page, and what it was made of.
type documented struct {
	page  *manual.Page
	image *image.Image
	root  ocispec.Descriptor
	name  string
}

func (e *Engine) document(ctx context.Context, name string, o DocOptions, sink progress.Sink) (*documented, error) {
	at, err := e.find(ctx, name, o.Platform, sink)
	if err != nil {
		return nil, err
	}
	page, err := e.page(ctx, at, o, sink)
	if at.close != nil {
		err = errors.Join(err, at.close())
	}
	if err != nil {
		return nil, fmt.Errorf("document %s: %w", name, err)
	}
	page.Image = name
	return &documented{page: page, image: at.image, root: at.root, name: name}, nil
}

// page makes the page of an image that was found.
func (e *Engine) page(ctx context.Context, at located, o DocOptions, sink progress.Sink) (*manual.Page, error) {
	p := manual.Of(at.image)
	if p.Base.Name == "" {
		b, err := e.buildOf(ctx, at.image.ID())
		if err != nil {
			return nil, err
		}
		if b != nil {
			if v := baseVertex(b); v != nil {
				p.Base.Name = familiar(v.Base)
			}
		}
	}
	if o.Platform == "" && image.IsIndex(at.root.MediaType) {
		if err := otherPlatforms(ctx, at, p); err != nil {
			return nil, err
		}
	}
	return p, e.docPackages(ctx, at, p, o.Packages, sink)
}

// otherPlatforms adds what an index has. What is not here is told as missing.
func otherPlatforms(ctx context.Context, at located, p *manual.Page) error {
	descs, err := image.Manifests(ctx, at.provider, at.root)
	if err != nil {
		return err
	}
	if len(descs) > maxDocPlatforms {
		return errdefs.Limit("the index has %d images, more than %d; choose one with --platform", len(descs), maxDocPlatforms)
	}
	var all []*image.Image
	var missing []manual.Platform
	for _, d := range descs {
		img, err := image.Open(ctx, at.provider, d, ocispec.Platform{})
		switch {
		case err == nil:
			all = append(all, img)
		case errdefs.IsNotFound(err):
			row := manual.Platform{Digest: d.Digest.String(), Missing: true}
			if d.Platform != nil {
				row.Platform = platform.Format(*d.Platform)
			}
			missing = append(missing, row)
		default:
			return err
		}
	}
	p.Others(at.image, all, missing)
	return nil
}

// docPackages adds the packages, when they are asked for, or nobody says and the layers are here.
func (e *Engine) docPackages(ctx context.Context, at located, p *manual.Page, want *bool, sink progress.Sink) error {
	if want == nil {
		if _, away := at.provider.(*remote.Repository); away || at.provider == e.content && !e.isWhole(ctx, at.image) {
			return nil
		}
	} else if !*want {
		return nil
	}
	s, err := e.imagePackages(ctx, at, sink)
	if err != nil {
		if want == nil && errdefs.IsNotFound(err) { // a layout may lack layers
			return nil
		}
		return err
	}
	inv := &s.Inventory
	out := &manual.Packages{Distribution: cmp.Or(inv.Distribution.PrettyName, inv.Distribution.ID), Total: len(inv.Packages), ByType: map[string]int{}}
	known := slices.ContainsFunc(s.Places, func(at ScanPlace) bool { return at.From != "" })
	for i := range inv.Packages {
		x := &inv.Packages[i]
		out.ByType[x.Type]++
		place, ok := s.at(x)
		if known && ok && place.From == "own" || !known && x.Type != "deb" && x.Type != "apk" && x.Type != "rpm" {
			out.Note = append(out.Note, manual.Package{Name: x.Name, Version: x.Version, Type: x.Type})
		}
	}
	slices.SortFunc(out.Note, func(a, b manual.Package) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	out.Note = slices.Compact(out.Note)
	if n := len(out.Note); n > maxDocPackages {
		out.Note, out.More = out.Note[:maxDocPackages], n-maxDocPackages
	}
	p.Packages = out
	return nil
}
