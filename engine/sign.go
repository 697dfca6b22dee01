package engine

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/sign"
	"github.com/camada/camada/sign/keyless"
	"github.com/camada/camada/sign/keys"
	"github.com/camada/camada/sign/trust"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// SigningKey says what signs: a key, a key with a certificate, or a key for one signature that an authority certifies by an identity token.
type SigningKey struct {
	// Key is a file, or NAME://KEY for the program sigstore-kms-NAME; "" takes the identity token.
	Key string
	// Password provides that of an encrypted file.
	Password keys.Password
	// Certificate and Chain are files in PEM: the certificate of the key, and those that lead from it to an authority.
	Certificate, Chain string
	// IdentityToken is a file, env:NAME, or "" for what the CI system offers. Fulcio is the address of the authority.
	IdentityToken, Fulcio string
	// Rekor is the address of a transparency log, with the version of its API (0 is 1), and Clock that of a time stamping authority; both may be "".
	Rekor        string
	RekorVersion int
	Clock        string
}

// SignOptions say what is signed, and by what.
type SignOptions struct {
	// Image is a name of the store, or of a registry, or a place as copy has them: docker://, oci:.
	Image string
	By    SigningKey
	// Recursive signs the manifests of an index, too. Platform chooses one of them instead of the index.
	Recursive bool
	Platform  string
	// Type and Predicate make an attestation: what is said (JSON), and of which type (a short name or a URI). Without Type it is a signature.
	Type      string
	Predicate []byte
	// Provenance signs what a build of this store said of itself, instead of Predicate; Build is the beginning of its ID, "" the build that made the image.
	Provenance bool
	Build      string
}

// Signed is a signature that was made.
type Signed struct {
	// Reference is what was signed, by its digest.
	Reference string        `json:"reference"`
	Digest    digest.Digest `json:"digest"`
	// Signature is the manifest that attaches it.
	Signature     digest.Digest `json:"signature"`
	PredicateType string        `json:"predicateType"`
	KeyID         string        `json:"keyID"`
	Identity      string        `json:"identity,omitempty"`
}

// said is a statement to sign, about a manifest.
type said struct {
	subject       ocispec.Descriptor
	predicateType string
	predicate     []byte
}

// Sign signs an image where it lies, or attests something of it.
func (e *Engine) Sign(ctx context.Context, o SignOptions, sink progress.Sink) (out []Signed, err error) {
	defer e.waits.show(sink)()
	at, err := e.signPlace(ctx, o.Image, false, progress.Or(sink))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, at.src.close()) }()
	all, err := e.sayings(ctx, at, o)
	if err != nil {
		return nil, err
	}
	maker, err := e.maker(ctx, o.By)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		one, err := e.signOne(ctx, at, maker, s)
		if err != nil {
			return out, fmt.Errorf("sign %s: %w", s.subject.Digest, err)
		}
		out = append(out, one)
	}
	return out, nil
}

// sayings are the statements to sign.
func (e *Engine) sayings(ctx context.Context, at *signPlace, o SignOptions) ([]said, error) {
	root := at.root
	if o.Platform != "" {
		var err error
		if root, err = onlyOne(ctx, at.src, root, o.Platform); err != nil {
			return nil, err
		}
	}
	if o.Provenance {
		return e.provenances(ctx, at, root, o.Build)
	}
	typ, predicate := sign.PredicateSignature, []byte("{}")
	if o.Type != "" {
		var err error
		if typ, err = sign.PredicateType(o.Type); err != nil {
			return nil, err
		}
		predicate = o.Predicate
	}
	subjects := []ocispec.Descriptor{root}
	if o.Recursive && image.IsIndex(root.MediaType) {
		var err error
		if subjects, err = manifestsOf(ctx, at.src, root); err != nil {
			return nil, err
		}
	}
	var out []said
	for _, d := range subjects {
		out = append(out, said{subject: plainDescriptor(d), predicateType: typ, predicate: predicate})
	}
	return out, nil
}

func (e *Engine) signOne(ctx context.Context, at *signPlace, maker sign.Maker, s said) (Signed, error) {
	out := Signed{Reference: at.reference(s.subject.Digest), Digest: s.subject.Digest, PredicateType: s.predicateType, KeyID: maker.Signer.Public().ID()}
	if len(maker.Certificates) > 0 {
		if names := sign.Names(maker.Certificates[0]); len(names) > 0 {
			out.Identity = names[0]
		}
	}
	st, err := sign.Statement("", s.subject.Digest, s.predicateType, s.predicate)
	if err != nil {
		return out, err
	}
	data, err := maker.Bundle(ctx, st)
	if err != nil {
		return out, err
	}
	desc, err := sign.Attach(ctx, e.content, s.subject, data, s.predicateType, time.Now())
	if err != nil {
		return out, err
	}
	out.Signature = desc.Digest
	return out, e.attachAt(ctx, at, desc)
}

// maker prepares what signs.
func (e *Engine) maker(ctx context.Context, by SigningKey) (sign.Maker, error) {
	var m sign.Maker
	client := keyless.New(keyless.Options{})
	var err error
	if by.Key != "" {
		if m.Signer, err = keys.Open(ctx, by.Key, by.Password); err != nil {
			return m, err
		}
		m.Certificates, err = signingCertificates(by.Certificate, by.Chain)
	} else {
		if by.Fulcio == "" {
			return m, errdefs.Invalid("nothing to sign with: give --key, or --fulcio-url for a certificate by an identity token")
		}
		token, tokenErr := keyless.Token(ctx, client, by.IdentityToken, e.getenv)
		if tokenErr != nil {
			return m, tokenErr
		}
		m.Signer, m.Certificates, err = client.Certificate(ctx, by.Fulcio, token)
	}
	if err != nil {
		return m, err
	}
	if by.Rekor != "" {
		m.Logs = append(m.Logs, client.Rekor(by.Rekor, max(by.RekorVersion, 1)))
	}
	if by.Clock != "" {
		m.Clocks = append(m.Clocks, client.Clock(by.Clock))
	}
	return m, nil
}

// signingCertificates reads that of a key and those that lead to an authority.
func signingCertificates(own, chain string) ([]*x509.Certificate, error) {
	if own == "" {
		if chain != "" {
			return nil, errdefs.Invalid("a certificate chain needs the certificate of the key")
		}
		return nil, nil
	}
	certs, err := readCertificates(own)
	if err != nil || chain == "" {
		return certs, err
	}
	more, err := readCertificates(chain)
	for _, c := range more {
		if err == nil && !c.Equal(certs[0]) {
			certs = append(certs, c)
		}
	}
	return certs, err
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	data, err := keys.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the certificates: %w", err)
	}
	certs, err := trust.ParseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return certs, nil
}
