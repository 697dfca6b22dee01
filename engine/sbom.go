package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/progress"
)

// The formats of an SBOM.
const (
	SBOMSPDX      = "spdx-json"
	SBOMSPDX3     = "spdx3-json"
	SBOMCycloneDX = "cyclonedx"
)

// SBOMOptions say what SBOM is wanted.
type SBOMOptions struct {
	Platform string
	// Format is one of the above.
	Format string
	// Fresh makes it of the image, also when one is attached.
	Fresh bool
}

// PackageRow is one package of an image or a directory.
type PackageRow struct {
	Name, Version string
	// Type is the kind of package as purl has it.
	Type     string
	License  string
	Supplier string
	PURL     string
	// Path is the file that lists the package, or that it is.
	Path string
	ScanPlace
}

// PackageReport lists what is in an image or a directory.
type PackageReport struct {
	Packages []PackageRow
	// Unread are files that list packages and could not be read: what is in them is not in Packages.
	Unread []string
}

// bill is all that an SBOM tells.
type bill struct {
	about   attest.Image
	inv     inventory.Inventory
	places  []ScanPlace
	created time.Time
}

// SBOM returns the SBOM of an image or a directory as JSON: the SPDX document that is attached to an image of the store, or one that is made now. The name is as for OpenAnatomy, or the path of
// a directory, with dir: before it where it could be something else. The same image gives the same bytes: the time is the image's, and that of a directory SOURCE_DATE_EPOCH's.
func (e *Engine) SBOM(ctx context.Context, name string, o SBOMOptions, sink progress.Sink) ([]byte, error) {
	if !o.Fresh && o.Format == SBOMSPDX {
		if data, err := e.attachedSBOM(ctx, name, o.Platform); data != nil || err != nil {
			return data, err
		}
	}
	b, err := e.bill(ctx, name, o.Platform, sink)
	if err != nil {
		return nil, err
	}
	opts := attest.SPDXOptions{Version: e.version, Created: b.created, Origins: originsOf(b.places)}
	var doc interface{ Encode() ([]byte, error) }
	switch o.Format {
	case SBOMSPDX:
		doc = attest.SPDX(b.about, b.inv, opts)
	case SBOMSPDX3:
		doc = attest.SPDX3(b.about, b.inv, opts)
	case SBOMCycloneDX:
		doc = attest.CycloneDX(b.about, b.inv, opts)
	default:
		return nil, errdefs.Invalid("SBOM of format %q: want %s, %s or %s", o.Format, SBOMSPDX, SBOMSPDX3, SBOMCycloneDX)
	}
	data, err := doc.Encode()
	if err != nil {
		return nil, err
	}
	return attest.Indented(data)
}

// originsOf says in documents what is known of places.
func originsOf(places []ScanPlace) []inventory.Origin {
	var out []inventory.Origin
	for _, at := range places {
		out = append(out, inventory.Origin{Layer: at.Layer, Digest: at.LayerDigest, Instruction: at.Instruction, Dockerfile: at.Dockerfile, Line: at.Line})
	}
	return out
}

// attachedSBOM is what was attached to an image of the store last; nil when there is none.
func (e *Engine) attachedSBOM(ctx context.Context, name, platform string) ([]byte, error) {
	img, _, err := e.open(ctx, name, platform)
	if errdefs.IsNotFound(err) || errdefs.IsInvalid(err) {
		return nil, nil // it lies elsewhere, or nowhere
	}
	if err != nil {
		return nil, err
	}
	have, err := e.statements(ctx, img.Descriptor, attest.PredicateSPDX)
	if err != nil || len(have) == 0 {
		return nil, err
	}
	return attest.Indented(have[len(have)-1].Predicate)
}

// Packages lists what is in an image or a directory, named as for SBOM, and where it came from.
func (e *Engine) Packages(ctx context.Context, name, platform string, sink progress.Sink) (*PackageReport, error) {
	b, err := e.bill(ctx, name, platform, sink)
	if err != nil {
		return nil, err
	}
	r := &PackageReport{Packages: []PackageRow{}, Unread: b.inv.Unread}
	for i, p := range b.inv.Packages {
		row := PackageRow{Name: p.Name, Version: p.Version, Type: p.Type, License: p.License, Supplier: p.Supplier, PURL: p.PURL, Path: "/" + p.Found}
		if i < len(b.places) {
			row.ScanPlace = b.places[i]
		}
		r.Packages = append(r.Packages, row)
	}
	return r, nil
}

// bill reads what is in an image or a directory.
func (e *Engine) bill(ctx context.Context, name, want string, sink progress.Sink) (*bill, error) {
	if kind, dir := scanKind(name); kind == scanDirectory {
		return e.billOfDirectory(ctx, dir)
	}
	at, err := e.find(ctx, name, want, progress.Or(sink))
	if err != nil {
		return nil, err
	}
	s, err := e.imagePackages(ctx, at, progress.Or(sink))
	if at.close != nil {
		err = errors.Join(err, at.close())
	}
	if err != nil {
		return nil, fmt.Errorf("read the packages of %s: %w", name, err)
	}
	b := &bill{inv: s.Inventory, about: attest.Image{Name: name, Digest: at.image.Descriptor.Digest, Platform: platform.Format(at.image.Config.Platform)}}
	if f, err := e.resolve(ctx, name); err == nil {
		if b.about.Name = ""; f.ref.Repository != "" {
			b.about.Name = f.ref.String()
		}
	}
	for i := range s.Inventory.Packages {
		place, _ := s.at(&s.Inventory.Packages[i])
		b.places = append(b.places, place)
	}
	b.created, err = e.billTime(at.image.Config.Created)
	return b, err
}

// billTime is the time of a document: SOURCE_DATE_EPOCH, or else the given one.
func (e *Engine) billTime(or *time.Time) (time.Time, error) {
	t, err := parseEpoch(e.getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return time.Time{}, err
	}
	switch {
	case t != nil:
		return *t, nil
	case or != nil && !or.IsZero():
		return *or, nil
	}
	return time.Unix(0, 0), nil
}

func (e *Engine) billOfDirectory(ctx context.Context, dir string) (*bill, error) {
	if dir == "" {
		return nil, errdefs.Invalid("dir: without a path")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s, err := scanTree(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("read the packages of the directory %s: %w", dir, err)
	}
	now := time.Now()
	created, err := e.billTime(&now)
	return &bill{inv: s.Inventory, about: attest.Image{Name: filepath.Base(abs)}, created: created}, err
}
