package engine

import (
	"context"

	"github.com/docker/go-units"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ReferrerRow is one line of referrers: a manifest that is about an image.
type ReferrerRow struct {
	Digest string
	// Type is the artifactType: what it is, as a media type.
	Type string
	// Predicate is the predicateType of an in-toto statement; it may be empty.
	Predicate string
	// Subject is the digest of the manifest that it is about.
	Subject     string
	Size        string
	SizeBytes   int64
	Annotations map[string]string
}

// predicateKey is the annotation of a layer, and of the manifests that are made here, with the predicateType of a statement. BuildKit and
// others use it.
const predicateKey = "in-toto.io/predicate-type"

// Referrers lists what is about an image, its manifests and what is about those, subjects first.
func (e *Engine) Referrers(ctx context.Context, name, artifactType string) ([]ReferrerRow, error) {
	f, err := e.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	list, err := e.about(ctx, f.descriptor)
	if err != nil {
		return nil, err
	}
	rows := []ReferrerRow{}
	for _, d := range list {
		if artifactType != "" && d.ArtifactType != artifactType {
			continue
		}
		row, err := e.referrerRow(ctx, d)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (e *Engine) referrerRow(ctx context.Context, d ocispec.Descriptor) (ReferrerRow, error) {
	subject, blobs, err := e.parts(ctx, d)
	if err != nil {
		return ReferrerRow{}, err
	}
	row := ReferrerRow{Digest: d.Digest.String(), Type: d.ArtifactType, Subject: subject.Digest.String(), Annotations: d.Annotations}
	for _, b := range blobs {
		row.SizeBytes += b.Size
		if p := b.Annotations[predicateKey]; p != "" && row.Predicate == "" {
			row.Predicate = p
		}
	}
	row.Size = units.HumanSizeWithPrecision(float64(row.SizeBytes), 3)
	return row, nil
}
