// Package sign signs images, and verifies who signed them. Signatures lie beside an image, as manifests that refer to its digest, and
// never change it.
//
//	v, err := sign.Verify(ctx, source, descriptor, sign.Requirements{Keys: []*keys.Public{pub}})
//	for _, s := range v { fmt.Println(s.KeyID, s.Identity, s.Issuer, s.Time) }
//
//	data, err := sign.Maker{Signer: key}.Bundle(ctx, statement)
//	desc, err := sign.Attach(ctx, store, subject, data, sign.PredicateSignature, time.Now())
//
// Three forms are verified: sigstore's bundles, which are written as well; what cosign wrote before those (a manifest under the tag
// sha256-HEX.sig or .att); and the envelopes of notation. A signature counts when all of this holds: it is one of a key or of a certificate
// that the Requirements ask for, it says the digest of this very manifest, and what it promises of logs and times is true. What is
// written in annotations is believed of nobody.
package sign

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/keys"
	"github.com/camada/camada/sign/notation"
	"github.com/camada/camada/sign/trust"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PredicateSignature is the predicateType of a statement that says nothing but that the image is signed, as cosign has it.
const PredicateSignature = "https://sigstore.dev/cosign/sign/v1"

const (
	// MaxSignatures bounds how many signatures of one image are looked at.
	MaxSignatures = 128
	// maxManifests bounds how many manifests are read to find them.
	maxManifests = 1024
	// maxSignature bounds the bytes of a signature, maxTotal those of all attestations of one image.
	maxSignature, maxTotal = 1 << 20, 512 << 20
)

// The forms of signatures.
const (
	FormatBundle   = "sigstore-bundle"
	FormatCosign   = "cosign"
	FormatNotation = "notation"
)

// Source is where an image lies, together with what refers to it: a store, a layout, a repository of a registry.
type Source interface {
	content.Provider
	// Referrers lists the manifests whose subject is the given one.
	Referrers(ctx context.Context, subject digest.Digest) ([]ocispec.Descriptor, error)
	// Tagged finds a manifest beside the image by its tag; ErrNotFound when there is none.
	Tagged(ctx context.Context, tag string) (ocispec.Descriptor, error)
}

// Requirements say whose signature is wanted: of any of the Keys, of any of the Identities, or one that Notation believes.
type Requirements struct {
	Keys       []*keys.Public
	Identities []Identity
	// Trust is whom to believe about certificates, logs and times. Identities need it.
	Trust *trust.Root
	// Notation is whom to believe about envelopes of notation; nil is nobody.
	Notation *notation.Trust
	// Predicate asks for an attestation of this predicateType instead of a signature; see PredicateType for short names.
	Predicate string
	// Log asks for an entry in a log of Trust of a key's signature too. A certificate's needs one whenever Trust has logs, unless
	// IgnoreLog is set; and must be in a log of certificates whenever Trust has those, unless IgnoreSCT is.
	Log, IgnoreLog, IgnoreSCT bool
	// Now is the time for certificates of signatures without a signed time; zero is the clock's.
	Now time.Time
}

// Verified is a signature that holds.
type Verified struct {
	// Digest is of the manifest that is signed, Signature of the blob with the signature, Manifest of the one that has that.
	Digest    digest.Digest `json:"digest"`
	Signature digest.Digest `json:"signature"`
	Manifest  digest.Digest `json:"manifest"`
	// Format is one of the Format constants.
	Format string `json:"format"`
	// KeyID is SHA-256 of the key that signed; with a certificate, of its key.
	KeyID string `json:"keyID"`
	// Identity and Issuer are the certificate's: who, by whose word. With notation Identity is the certificate's subject.
	Identity string `json:"identity,omitempty"`
	Issuer   string `json:"issuer,omitempty"`
	// PredicateType is that of the statement; "" for forms without one.
	PredicateType string `json:"predicateType,omitempty"`
	// Time is when it was signed, by the word of a log or a time stamping authority that is believed; zero when nobody says.
	Time time.Time `json:"time,omitzero"`
	// Logged tells that a log that is believed has it.
	Logged bool `json:"logged"`
	// Statement is what was said; nil for forms without one.
	Statement *attest.Statement `json:"-"`
}

// Refused is a signature that does not hold, or not for these Requirements.
type Refused struct {
	Signature digest.Digest `json:"signature"`
	Manifest  digest.Digest `json:"manifest"`
	Format    string        `json:"format"`
	Reason    string        `json:"reason"`
}

// Report is what Look found.
type Report struct {
	Digest   digest.Digest `json:"digest"`
	Verified []Verified    `json:"verified"`
	Refused  []Refused     `json:"refused"`
	// More is how many were not looked at, as there are too many.
	More int `json:"more,omitempty"`
}

// Err is nil when a signature holds; ErrNotFound when there is none, ErrPermission when none of them holds.
func (r *Report) Err() error {
	switch {
	case len(r.Verified) > 0:
		return nil
	case len(r.Refused) == 0:
		return errdefs.NotFound("%s is not signed", r.Digest)
	case len(r.Refused) == 1:
		return errdefs.Permission("the signature of %s is refused: %s", r.Digest, r.Refused[0].Reason)
	}
	return errdefs.Permission("none of the %d signatures of %s holds; the first: %s", len(r.Refused), r.Digest, r.Refused[0].Reason)
}

// Verify looks for signatures of a manifest that meet the requirements, and returns all. When there is none it is an error:
// ErrNotFound when nothing is signed, ErrPermission when no signature holds. Other errors say that it is not known.
func Verify(ctx context.Context, src Source, desc ocispec.Descriptor, req Requirements) ([]Verified, error) {
	r, err := Look(ctx, src, desc, req)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return nil, err
	}
	return r.Verified, nil
}

// Look looks at all signatures of a manifest, and says of each whether it meets the requirements and why not. It is an error only when
// they cannot be looked at.
func Look(ctx context.Context, src Source, desc ocispec.Descriptor, req Requirements) (*Report, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	if err := content.CheckDigest(desc.Digest); err != nil {
		return nil, err
	}
	if req.Now.IsZero() {
		req.Now = time.Now()
	}
	r := &Report{Digest: desc.Digest, Verified: []Verified{}, Refused: []Refused{}}
	c := &collection{src: src, subject: desc, req: &req}
	if err := c.collect(ctx); err != nil {
		return nil, fmt.Errorf("look for signatures of %s: %w", desc.Digest, err)
	}
	r.More = c.more
	for _, s := range c.found {
		v, err := c.verify(ctx, s)
		if err != nil && unknown(ctx, err) {
			return nil, fmt.Errorf("read the signature %s: %w", s.blob.Digest, err)
		}
		if err != nil {
			r.Refused = append(r.Refused, Refused{Signature: s.blob.Digest, Manifest: s.manifest.Digest, Format: s.format, Reason: plain(err.Error())})
			continue
		}
		v.Digest, v.Signature, v.Manifest, v.Format = desc.Digest, s.blob.Digest, s.manifest.Digest, s.format
		r.Verified = append(r.Verified, v)
	}
	return r, nil
}

// plain keeps a reason from moving the cursor of a terminal: it may repeat what anybody wrote into a signature.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// unknown reports whether an error says that it is not known whether a signature holds: it could not be read.
func unknown(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errdefs.IsUnavailable(err)
}

// check looks whether something is asked for.
func (r *Requirements) check() error {
	switch {
	case len(r.Keys) == 0 && len(r.Identities) == 0 && r.Notation == nil:
		return errdefs.Invalid("verify: nobody's signature is asked for: want a key, an identity, or whom to believe about notation")
	case len(r.Identities) > 0 && (r.Trust == nil || len(r.Trust.Authorities) == 0):
		return errdefs.Invalid("verify: an identity needs certificate authorities to believe: a trusted root, or a certificate chain")
	case r.Log && (r.Trust == nil || len(r.Trust.Logs) == 0):
		return errdefs.Invalid("verify: a log entry is asked for, and no log is believed: a trusted root is needed")
	}
	for _, id := range r.Identities {
		if err := id.check(); err != nil {
			return err
		}
	}
	return nil
}

// PredicateType is the type that a short name stands for, as cosign has them, or the URI itself. ErrInvalid for another word.
func PredicateType(name string) (string, error) {
	switch name {
	case "slsaprovenance", "slsaprovenance1", "provenance":
		return attest.PredicateProvenance, nil
	case "slsaprovenance02":
		return "https://slsa.dev/provenance/v0.2", nil
	case "spdx", "spdxjson":
		return attest.PredicateSPDX, nil
	case "cyclonedx":
		return "https://cyclonedx.org/bom", nil
	case "link":
		return "https://in-toto.io/Link/v1", nil
	case "vuln":
		return "https://cosign.sigstore.dev/attestation/vuln/v1", nil
	case "openvex":
		return "https://openvex.dev/ns", nil
	case "custom":
		return "https://cosign.sigstore.dev/attestation/v1", nil
	}
	if !isURI(name) {
		return "", errdefs.Invalid("%.100q is no type of attestation: want slsaprovenance, slsaprovenance02, spdx, cyclonedx, link, vuln, openvex, custom or a URI", name)
	}
	return name, nil
}
