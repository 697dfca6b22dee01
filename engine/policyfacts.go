package engine

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/secret"
	"github.com/camada/camada/vuln"
)

// policyFacts finds out what rules ask of an image.
type policyFacts struct {
	e     *Engine
	at    located
	names []reference.Reference
	sink  progress.Sink

	kept *scanned
}

// Image implements policy.Facts.
func (f *policyFacts) Image(context.Context) (*policy.Image, error) {
	return policyImage(f.at.image), nil
}

func policyImage(img *image.Image) *policy.Image {
	c := &img.Config
	out := &policy.Image{Digest: img.Descriptor.Digest.String(), Layers: len(img.Layers), OS: c.OS, Arch: c.Architecture, Variant: c.Variant,
		Labels: c.Config.Labels, Annotations: img.Manifest.Annotations, User: c.Config.User, Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd, Env: c.Config.Env,
		WorkingDir: c.Config.WorkingDir, StopSignal: c.Config.StopSignal, Healthcheck: c.Config.Healthcheck != nil,
		Ports: slices.Sorted(maps.Keys(c.Config.ExposedPorts)), Volumes: slices.Sorted(maps.Keys(c.Config.Volumes))}
	for _, l := range img.Layers {
		out.Size += l.Size
	}
	if c.Created != nil {
		out.Created = *c.Created
	}
	return out
}

func (f *policyFacts) scanned(ctx context.Context) (*scanned, error) {
	if f.kept == nil {
		s, err := f.e.imagePackages(ctx, f.at, f.sink)
		if err != nil {
			return nil, err
		}
		f.kept = s
	}
	return f.kept, nil
}

// Packages implements policy.Facts.
func (f *policyFacts) Packages(ctx context.Context) ([]policy.Package, error) {
	s, err := f.scanned(ctx)
	if err != nil {
		return nil, err
	}
	if n := len(s.Inventory.Unread); n > 0 {
		return nil, errdefs.Unavailable("%d lists of packages could not be read, such as /%s", n, s.Inventory.Unread[0])
	}
	out := make([]policy.Package, len(s.Inventory.Packages))
	for i, p := range s.Inventory.Packages {
		out[i] = policy.Package{Name: p.Name, Version: p.Version, Type: p.Type, License: p.License, Supplier: p.Supplier, PURL: p.PURL, Path: "/" + p.Found}
		if at, ok := s.at(&p); ok {
			out[i].Layer = at.Layer
		}
	}
	return out, nil
}

// Vulnerabilities implements policy.Facts.
func (f *policyFacts) Vulnerabilities(ctx context.Context) (*policy.Scan, error) {
	d, err := f.e.openAdvisories(0) // how old it may be is the policy's to say
	if err != nil {
		return nil, err
	}
	defer d.Close()
	s, err := f.scanned(ctx)
	if err != nil {
		return nil, err
	}
	inv := s.Inventory
	inv.Packages = slices.DeleteFunc(slices.Clone(inv.Packages), ofKernel)
	res, err := vuln.Match(ctx, d, inv, vuln.Options{Now: time.Now()})
	if err != nil {
		return nil, err
	}
	r := &ScanReport{Image: "the image", Uncovered: res.Uncovered, Unread: inv.Unread}
	out := &policy.Scan{Database: d.Info().Created, Packages: res.Checked, Incomplete: r.Complete()}
	for i := range res.Findings {
		row := findingRow(&res.Findings[i], s)
		out.Findings = append(out.Findings, policy.Vulnerability{ID: row.ID, Aliases: row.Aliases, Package: row.Package, Version: row.Version, Severity: row.Severity, Score: row.Score,
			Fixed: row.Fixed, Status: row.Status, Exploited: !row.Exploited.IsZero(), EPSS: row.EPSS, From: row.From})
	}
	return out, nil
}

// Secrets implements policy.Facts.
func (f *policyFacts) Secrets(ctx context.Context) ([]policy.Secret, error) {
	s, err := secret.New()
	if err != nil {
		return nil, err
	}
	r := &SecretsReport{Image: "the image"}
	if err := f.e.locatedSecrets(ctx, s, r, f.at, f.sink); err != nil {
		return nil, err
	}
	if err := r.Complete(); err != nil {
		return nil, err
	}
	out := make([]policy.Secret, len(r.Findings))
	for i, x := range r.Findings {
		out[i] = policy.Secret{Rule: x.Rule, Where: x.Where, Path: orElse(x.Name, x.Path), Layer: x.Place.Layer, Hidden: x.Hidden}
	}
	return out, nil
}
