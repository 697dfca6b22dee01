package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/build/history"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/unpack"
	"github.com/docker/go-units"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The kinds of provenance, as buildx has them.
const (
	ProvenanceNone = ""
	ProvenanceMin  = "min"
	ProvenanceMax  = "max"
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
		if p := b.Annotations[attest.PredicateKey]; p != "" && row.Predicate == "" {
			row.Predicate = p
		}
	}
	row.Size = units.HumanSizeWithPrecision(float64(row.SizeBytes), 3)
	return row, nil
}

// attestAll attaches to each image of a build what was asked for, and returns the manifests that say it.
func (e *Engine) attestAll(ctx context.Context, opts BuildOptions, g *secretGuard, f *fetcher, blobs *lazy, rec *recording, started time.Time) ([]ocispec.Descriptor, error) {
	if !opts.SBOM && opts.Provenance == ProvenanceNone || !opts.delivers() {
		return nil, nil
	}
	var out []ocispec.Descriptor
	for _, b := range opts.watch.sorted() {
		name := ""
		if len(opts.Tags) > 0 {
			ref, err := tagOnly(opts.Tags[0])
			if err != nil {
				return nil, err
			}
			name = ref.String()
		}
		subject := attest.Subject{Name: attest.ImagePURL(orElse(name, b.result.Manifest.Digest.String()), "", b.platform),
			Digest: attest.Digests(b.result.Manifest.Digest)}
		if opts.SBOM {
			doc, err := e.scan(ctx, b, blobs, name, e.statementTime(opts))
			if err != nil {
				return nil, fmt.Errorf("make the SBOM: %w", err)
			}
			d, err := e.attach(ctx, b.result.Manifest, subject, attest.PredicateSPDX, "sbom.json", doc, sameSBOM)
			if err != nil {
				return nil, fmt.Errorf("attach the SBOM: %w", err)
			}
			out = append(out, d)
		}
		if opts.Provenance != ProvenanceNone {
			p := e.provenance(opts, b, f.contexts(), started)
			if err := g.stated(p); err != nil {
				return nil, fmt.Errorf("make the provenance: %w", err)
			}
			// What came along with an image that is the same may say more than it seems to: only a build's own is as good as this one.
			own, err := e.ownProvenances(ctx, b.result.Manifest.Digest)
			if err != nil {
				return nil, err
			}
			same := func(have attached, s *attest.Statement) bool {
				return slices.ContainsFunc(own, func(b *history.Build) bool { return b.Provenance == have.manifest.Digest }) && sameProvenance(have.Statement, s)
			}
			d, err := e.attach(ctx, b.result.Manifest, subject, attest.PredicateProvenance, "provenance.json", p, same)
			if err != nil {
				return nil, fmt.Errorf("attach the provenance: %w", err)
			}
			rec.attested(b.result.Manifest.Digest, d.Digest)
			out = append(out, d)
		}
	}
	return out, nil
}

// statementTime is when a statement is made: the time of a build that has a fixed one.
func (e *Engine) statementTime(opts BuildOptions) time.Time {
	if t, err := parseEpoch(orElse(opts.SourceDateEpoch, opts.BuildArgs["SOURCE_DATE_EPOCH"])); err == nil && t != nil {
		return *t
	}
	return time.Now()
}

// scan makes the SBOM of what was built. It says which layer, instruction and line brought each package, as far as this build and the image's own history tell: the same build
// gives the same document on another machine.
func (e *Engine) scan(ctx context.Context, b *watchedBuild, blobs *lazy, name string, at time.Time) (*attest.Document, error) {
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	img, err := image.OpenAny(ctx, e.content, b.result.Manifest)
	if err != nil {
		return nil, err
	}
	var s *scanned
	// What is unpacked is not read out of layers, which may have to be fetched.
	err = e.withTree(ctx, snaps, b.result, func(string) error {
		s, err = e.placedPackages(ctx, located{provider: blobs, unpacked: true, image: img}, progress.Or(nil))
		return err
	})
	if err != nil {
		return nil, err
	}
	opts := attest.SPDXOptions{Version: e.version, Created: at}
	places := b.places(img)
	for i := range s.Inventory.Packages {
		var place ScanPlace
		if i < len(s.Layers) && s.Layers[i] < len(places) {
			place = places[s.Layers[i]]
		}
		opts.Origins = append(opts.Origins, originsOf([]ScanPlace{place})...)
	}
	return attest.SPDX(attest.Image{Name: name, Digest: b.result.Manifest.Digest, Platform: b.platform}, s.Inventory, opts), nil
}

// places tells of each layer of the result which instruction made it, and of those that this build knows where it stands.
func (w *watchedBuild) places(img *image.Image) []ScanPlace {
	out := make([]ScanPlace, len(img.Layers))
	instructions := instructionsOf(img)
	for i, chainID := range unpack.ChainIDs(img.DiffIDs) {
		out[i] = ScanPlace{Layer: i + 1, LayerDigest: img.Layers[i].Digest.String(), Instruction: instructions[i]}
		for _, v := range w.plan.Graph.Vertices {
			if s, ok := w.steps[v.ID]; ok && s.ChainID == chainID && v.Base == nil {
				out[i].Dockerfile = w.plan.File.Name
				out[i].Line, _ = linesOf(v.Location)
				break
			}
		}
	}
	return out
}

// attach stores a statement about subject beside it, unless same says that one of those that are there already tells as much. It
// returns the manifest that has it.
func (e *Engine) attach(ctx context.Context, subject ocispec.Descriptor, about attest.Subject, predicateType, title string, predicate any, same func(have attached, s *attest.Statement) bool) (ocispec.Descriptor, error) {
	none := ocispec.Descriptor{}
	s, err := attest.NewStatement([]attest.Subject{about}, predicateType, predicate)
	if err != nil {
		return none, err
	}
	have, err := e.statements(ctx, subject, predicateType)
	if err != nil {
		return none, err
	}
	for _, h := range have {
		if same(h, s) {
			return h.manifest, nil
		}
	}
	data, err := s.Encode()
	if err != nil {
		return none, err
	}
	if len(data) > attest.MaxStatement {
		return none, errdefs.Limit("the statement has %d bytes, more than %d", len(data), attest.MaxStatement)
	}
	blob, err := content.WriteBlob(ctx, e.content, data)
	if err != nil {
		return none, err
	}
	blob.MediaType = attest.MediaType
	blob.Annotations = map[string]string{attest.PredicateKey: predicateType, ocispec.AnnotationTitle: title}
	desc, err := image.WriteArtifact(ctx, e.content, image.Artifact{
		Type: attest.MediaType, Subject: &subject, Layers: []ocispec.Descriptor{blob},
		Annotations: map[string]string{attest.PredicateKey: predicateType},
	})
	if err == nil {
		err = e.addReferrer(ctx, desc)
	}
	if err != nil {
		return none, err
	}
	_, listed, _, err := image.Referrer(ctx, e.content, desc)
	return listed, err
}

// attached is a statement, and the manifest that has it, as it is listed.
type attached struct {
	*attest.Statement
	manifest ocispec.Descriptor
}

// statements are the in-toto statements of one type about a manifest. What cannot be read is left out.
func (e *Engine) statements(ctx context.Context, subject ocispec.Descriptor, predicateType string) ([]attached, error) {
	list, err := e.referrersOf(ctx, subject.Digest, "")
	if err != nil {
		return nil, err
	}
	var out []attached
	for _, d := range list {
		_, layers, err := e.parts(ctx, d)
		if err != nil {
			return nil, err
		}
		for _, l := range layers {
			if l.Annotations[attest.PredicateKey] != predicateType {
				continue
			}
			data, err := content.ReadAll(ctx, e.content, l, attest.MaxStatement)
			if err != nil {
				return nil, fmt.Errorf("read the statement %s: %w", l.Digest, err)
			}
			if s, err := attest.Parse(data); err == nil && s.PredicateType == predicateType {
				out = append(out, attached{s, d})
			}
		}
	}
	return out, nil
}

// Provenance returns the statements about how an image was built, as JSON; ErrNotFound when there are none.
func (e *Engine) Provenance(ctx context.Context, name, want string) ([][]byte, error) {
	img, _, err := e.open(ctx, name, want)
	if err != nil {
		return nil, err
	}
	have, err := e.statements(ctx, img.Descriptor, attest.PredicateProvenance)
	if err != nil {
		return nil, err
	}
	if len(have) == 0 {
		return nil, errdefs.NotFound("%s has no provenance; build it with --provenance", name)
	}
	var out [][]byte
	for _, s := range have {
		data, err := s.Encode()
		if err != nil {
			return nil, err
		}
		if data, err = attest.Indented(data); err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

// newInvocation is a random UUID (RFC 9562, version 4).
func newInvocation() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
