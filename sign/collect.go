package sign

import (
	"context"
	"slices"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/sign/bundle"
	"github.com/camada/camada/sign/notation"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What cosign calls things.
const (
	// annotationPredicate is of the manifest of a bundle: what it says.
	annotationPredicate = "dev.sigstore.bundle.predicateType"
	// annotationContent is of it too: what kind of signature.
	annotationContent = "dev.sigstore.bundle.content"
	// The types of layers before bundles, and the artifact types of their manifests when these refer to the image.
	typeSimple, typeEnvelope     = "application/vnd.dev.cosign.simplesigning.v1+json", "application/vnd.dsse.envelope.v1+json"
	artifactCosign, artifactAtts = "application/vnd.dev.cosign.artifact.sig.v1+json", "application/vnd.dev.cosign.artifact.att.v1+json"
)

// found is a signature that was found, and not read yet.
type found struct {
	manifest, blob ocispec.Descriptor
	// claimed is the predicateType that the manifest's annotations claim.
	claimed string
	format  string
}

// collection gathers the signatures of an image that can meet requirements.
type collection struct {
	src     Source
	subject ocispec.Descriptor
	req     *Requirements
	found   []found
	more    int
	read    int64
}

// collect lists them: what refers to the image, and what cosign put under a tag.
func (c *collection) collect(ctx context.Context) error {
	list, err := c.src.Referrers(ctx, c.subject.Digest)
	if err != nil {
		return err
	}
	looked := 0
	for _, d := range list {
		if !c.wanted(d) {
			continue
		}
		if looked++; len(c.found) >= MaxSignatures || looked > maxManifests {
			c.more++
			continue
		}
		if err := c.manifest(ctx, d, true); err != nil {
			return err
		}
	}
	if len(c.req.Keys) == 0 && len(c.req.Identities) == 0 {
		return nil
	}
	suffix := ".sig"
	if c.req.Predicate != "" {
		suffix = ".att"
	}
	tag := string(c.subject.Digest.Algorithm()) + "-" + c.subject.Digest.Encoded() + suffix
	d, err := c.src.Tagged(ctx, tag)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.manifest(ctx, d, false)
}

// wanted reports whether a referrer can be what is asked for.
func (c *collection) wanted(d ocispec.Descriptor) bool {
	ofSigstore := len(c.req.Keys) > 0 || len(c.req.Identities) > 0
	switch {
	case bundle.IsMediaType(d.ArtifactType):
		claimed := d.Annotations[annotationPredicate]
		return ofSigstore && (claimed == "" || claimed == c.predicate())
	case d.ArtifactType == artifactCosign:
		return ofSigstore && c.req.Predicate == ""
	case d.ArtifactType == artifactAtts, d.ArtifactType == attest.MediaType:
		return ofSigstore && c.req.Predicate != ""
	case d.ArtifactType == notation.ArtifactType:
		return c.req.Notation != nil && c.req.Predicate == ""
	}
	return false
}

// predicate is the predicateType that is asked for.
func (c *collection) predicate() string {
	if c.req.Predicate == "" {
		return PredicateSignature
	}
	return c.req.Predicate
}

// unread makes what a registry does not let in something that is not known: it says nothing of a signature.
func unread(err error) error {
	if errdefs.IsPermission(err) {
		return errdefs.With(errdefs.ErrUnavailable, err)
	}
	return err
}

// manifest takes the signatures of a manifest. One that cannot be read has none: others can be fine.
func (c *collection) manifest(ctx context.Context, d ocispec.Descriptor, refers bool) error {
	if !image.IsManifest(d.MediaType) {
		return nil
	}
	_, m, err := image.ReadManifest(ctx, c.src, d)
	if err != nil {
		if err = unread(err); unknown(ctx, err) {
			return err
		}
		return nil
	}
	if refers && (m.Subject == nil || m.Subject.Digest != c.subject.Digest) {
		return nil // who listed it was wrong about it
	}
	for _, l := range m.Layers {
		f := found{manifest: d, blob: l}
		switch {
		case bundle.IsMediaType(l.MediaType):
			f.format, f.claimed = FormatBundle, m.Annotations[annotationPredicate]
		case l.MediaType == typeSimple && c.req.Predicate == "", l.MediaType == typeEnvelope && c.req.Predicate != "":
			f.format = FormatCosign
		case slices.Contains(notation.MediaTypes(), l.MediaType) && c.req.Notation != nil && c.req.Predicate == "": // it attests nothing
			f.format = FormatNotation
		default:
			continue
		}
		if len(c.found) >= MaxSignatures {
			c.more++
			continue
		}
		c.found = append(c.found, f)
	}
	return nil
}

// blob reads a signature.
func (c *collection) blob(ctx context.Context, f found) ([]byte, error) {
	limit := int64(maxSignature)
	if c.req.Predicate != "" {
		limit = bundle.MaxSize
	}
	if f.blob.Size > limit {
		return nil, errdefs.Limit("it has %d bytes, more than %d", f.blob.Size, limit)
	}
	if c.read+f.blob.Size > maxTotal {
		return nil, errdefs.Limit("the signatures of the image have more than %d bytes", int64(maxTotal))
	}
	data, err := content.ReadAll(ctx, c.src, f.blob, limit)
	c.read += int64(len(data)) // a manifest need not say how long its blobs are
	return data, unread(err)
}

// verify reads and verifies a signature.
func (c *collection) verify(ctx context.Context, f found) (Verified, error) {
	data, err := c.blob(ctx, f)
	if err != nil {
		return Verified{}, err
	}
	switch f.format {
	case FormatBundle:
		return c.bundle(data, f.claimed)
	case FormatNotation:
		return c.notation(data, f.blob.MediaType)
	}
	if f.blob.MediaType == typeEnvelope {
		return c.envelope(data, f.blob.Annotations)
	}
	return c.simple(data, f.blob.Annotations)
}
