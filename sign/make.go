package sign

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"time"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/sign/bundle"
	"github.com/camada/camada/sign/keys"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Log is a transparency log that takes entries.
type Log interface {
	// Add puts a signed envelope into the log. verifier is the certificate or key of who signed, in PEM.
	Add(ctx context.Context, e *bundle.Envelope, verifier []byte) (bundle.LogEntry, error)
}

// Clock is a time stamping authority.
type Clock interface {
	// Stamp returns the authority's answer about a signature.
	Stamp(ctx context.Context, sig []byte) ([]byte, error)
}

// Maker makes signatures.
type Maker struct {
	Signer keys.Signer
	// Certificates are of the Signer's key, first, and lead to an authority; none when the key speaks for itself.
	Certificates []*x509.Certificate
	// Logs and Clocks are told of each signature.
	Logs   []Log
	Clocks []Clock
}

// Statement says something of a manifest. predicate is JSON; it is {} for a signature.
func Statement(name string, d digest.Digest, predicateType string, predicate []byte) (*attest.Statement, error) {
	if !json.Valid(predicate) {
		return nil, errdefs.Invalid("the predicate is no JSON")
	}
	if predicateType == "" {
		return nil, errdefs.Invalid("the predicate has no type")
	}
	return attest.NewStatement([]attest.Subject{{Name: name, Digest: attest.Digests(d)}}, predicateType, json.RawMessage(predicate))
}

// Bundle signs a statement.
func (m Maker) Bundle(ctx context.Context, st *attest.Statement) ([]byte, error) {
	payload, err := st.Encode()
	if err != nil {
		return nil, err
	}
	e := &bundle.Envelope{PayloadType: payloadInToto, Payload: payload}
	sig, err := m.Signer.Sign(ctx, e.Signed())
	if err != nil {
		return nil, err
	}
	e.Signatures = []bundle.Signature{{Sig: sig}}
	b := &bundle.Bundle{MediaType: bundle.MediaType, Envelope: e}
	verifier, err := m.material(&b.Material)
	if err != nil {
		return nil, err
	}
	for _, c := range m.Clocks {
		answer, err := c.Stamp(ctx, sig)
		if err != nil {
			return nil, err
		}
		if b.Material.Timestamps == nil {
			b.Material.Timestamps = &bundle.TimestampedData{}
		}
		b.Material.Timestamps.Timestamps = append(b.Material.Timestamps.Timestamps, bundle.Timestamp{Raw: answer})
	}
	for _, l := range m.Logs {
		entry, err := l.Add(ctx, e, verifier)
		if err != nil {
			return nil, err
		}
		b.Material.Entries = append(b.Material.Entries, entry)
	}
	return b.Encode()
}

// material says who signed, in a bundle and, as returned, in PEM.
func (m Maker) material(to *bundle.Material) ([]byte, error) {
	if len(m.Certificates) == 0 {
		to.PublicKey = &bundle.PublicKey{Hint: m.Signer.Public().Hint()}
		return m.Signer.Public().PEM(), nil
	}
	leaf := m.Certificates[0]
	key, err := keys.NewPublic(leaf.PublicKey)
	if err != nil {
		return nil, err
	}
	if !key.Equal(m.Signer.Public()) {
		return nil, errdefs.Invalid("the certificate is of another key than the one that signs")
	}
	var list []bundle.Certificate
	for i, c := range m.Certificates {
		if i > 0 && c.CheckSignatureFrom(c) == nil {
			continue // a root is for the verifier to have
		}
		list = append(list, bundle.Certificate{Raw: c.Raw})
	}
	if len(list) == 1 {
		to.Certificate = &list[0]
	} else {
		to.Chain = &bundle.Chain{Certificates: list}
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), nil
}

// Attach stores a bundle and the manifest that attaches it to an image, and returns the manifest as it is listed.
func Attach(ctx context.Context, store content.Ingester, subject ocispec.Descriptor, data []byte, predicateType string, created time.Time) (ocispec.Descriptor, error) {
	blob, err := content.WriteBlob(ctx, store, data)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	blob.MediaType = bundle.MediaType
	blob.Annotations = map[string]string{ocispec.AnnotationTitle: string(blob.Digest.Algorithm()) + "-" + blob.Digest.Encoded() + ".sigstore.json"}
	return image.WriteArtifact(ctx, store, image.Artifact{
		Type: bundle.MediaType, Subject: &subject, Layers: []ocispec.Descriptor{blob},
		Annotations: map[string]string{
			annotationContent: "dsse-envelope", annotationPredicate: predicateType,
			ocispec.AnnotationCreated: created.UTC().Format(time.RFC3339),
		},
	})
}
