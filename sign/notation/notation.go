// Package notation verifies signatures of the Notary Project: envelopes of JWS and of COSE that notation attaches to images.
//
//	s, err := notation.Verify(data, mediaType, descriptor, &notation.Trust{Authorities: certs}, time.Now())
//
// It is notation's level "strict", without revocation: the envelope must be whole and not expired, its certificate must be one for signing code
// and lead to a certificate of the caller's, at the time that a believed authority tells, or else now. What an envelope calls
// critical and is not known here is refused; so are those that need a plug-in.
package notation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/keys"
	"github.com/camada/camada/sign/timestamp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// ArtifactType is that of the manifests (notaryproject specifications, signature-specification.md).
	ArtifactType = "application/vnd.cncf.notary.signature"
	// typeJWS and typeCOSE are those of the envelopes, typePayload that of what they sign.
	typeJWS, typeCOSE = "application/jose+json", "application/cose"
	typePayload       = "application/vnd.cncf.notary.payload.v1+json"
	// MaxSize bounds an envelope, in bytes, maxCerts its certificates.
	MaxSize, maxCerts = 1 << 20, 16
)

// The names of headers, and of the schemes.
const (
	headerScheme     = "io.cncf.notary.signingScheme"
	headerExpiry     = "io.cncf.notary.expiry"
	headerAuthentic  = "io.cncf.notary.authenticSigningTime"
	headerTimestamp  = "io.cncf.notary.timestampSignature"
	schemeX509       = "notary.x509"
	schemeAuthority  = "notary.x509.signingAuthority"
	algPS256, algES2 = "PS256", "ES256"
	algPS384, algES3 = "PS384", "ES384"
	algPS512, algES5 = "PS512", "ES512"
)

// MediaTypes are those of envelopes.
func MediaTypes() []string { return []string{typeJWS, typeCOSE} }

// Trust is whom to believe.
type Trust struct {
	// Authorities are certificates (the trust store "ca"), SigningAuthorities those of services that sign for others and tell the time
	// (the trust store "signingAuthority"). A certificate of a signer itself can be among them.
	Authorities, SigningAuthorities []*x509.Certificate
	// Timestamps tell the time (the trust store "tsa").
	Timestamps []timestamp.Authority
	// Subjects are the signers that are believed, as distinguished names (RFC 4514), as Go writes them; none is everybody with a certificate.
	Subjects []string
}

// Signature is one that holds.
type Signature struct {
	Certificate *x509.Certificate
	// Time is when it was signed, by the word of an authority that is believed; zero when nobody says.
	Time time.Time
}

// envelope is what both forms have.
type envelope struct {
	algorithm, contentType, scheme string
	critical                       []string
	expiry, authentic              time.Time
	payload, signed, signature     []byte
	certs                          []*x509.Certificate
	// timestamp is a token about the signature; it may be nil.
	timestamp []byte
}

// Verify verifies an envelope about a manifest. ErrPermission when it does not hold.
func Verify(data []byte, mediaType string, about ocispec.Descriptor, by *Trust, now time.Time) (*Signature, error) {
	if len(data) > MaxSize {
		return nil, errdefs.Limit("the envelope has more than %d bytes", MaxSize)
	}
	var e *envelope
	var err error
	switch mediaType {
	case typeJWS:
		e, err = parseJWS(data)
	case typeCOSE:
		e, err = parseCOSE(data)
	default:
		err = errdefs.Unsupported("an envelope of the kind %.80q", mediaType)
	}
	if err != nil {
		return nil, err
	}
	if err := e.checkForm(now); err != nil {
		return nil, err
	}
	leaf := e.certs[0]
	if err := e.checkSignature(leaf); err != nil {
		return nil, err
	}
	if err := checkPayload(e.payload, about); err != nil {
		return nil, err
	}
	at, err := e.checkCertificate(leaf, by, now)
	if err != nil {
		return nil, err
	}
	if len(by.Subjects) > 0 && !slices.Contains(by.Subjects, leaf.Subject.String()) {
		return nil, errdefs.Permission("it is signed by another one: %.200s", leaf.Subject)
	}
	return &Signature{Certificate: leaf, Time: at}, nil
}

// checkForm checks the headers.
func (e *envelope) checkForm(now time.Time) error {
	for _, name := range e.critical {
		if name != headerScheme && name != headerExpiry && name != headerAuthentic {
			return errdefs.Unsupported("the envelope has %.80q, which must be understood and is not", name)
		}
	}
	switch {
	case e.scheme != schemeX509 && e.scheme != schemeAuthority:
		return errdefs.Unsupported("the envelope is signed by the scheme %.80q", e.scheme)
	case !slices.Contains(e.critical, headerScheme), !e.expiry.IsZero() && !slices.Contains(e.critical, headerExpiry),
		e.scheme == schemeAuthority && !slices.Contains(e.critical, headerAuthentic):
		return errdefs.Permission("the envelope does not call critical what is")
	case e.scheme == schemeAuthority && e.authentic.IsZero():
		return errdefs.Permission("the envelope has no signing time")
	case e.contentType != typePayload:
		return errdefs.Unsupported("the envelope signs something of the kind %.80q", e.contentType)
	case !e.expiry.IsZero() && now.After(e.expiry):
		return errdefs.Permission("the signature expired at %s", e.expiry.UTC().Format(time.RFC3339))
	case len(e.certs) == 0:
		return errdefs.Corrupt("the envelope has no certificate")
	}
	return nil
}

// checkPayload checks that what is signed is a manifest.
func checkPayload(payload []byte, about ocispec.Descriptor) error {
	var p struct {
		Target ocispec.Descriptor `json:"targetArtifact"`
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return errdefs.Corrupt("read what the envelope signs: %w", err)
	}
	if p.Target.Digest != about.Digest {
		return errdefs.Permission("it is a signature of another image: %.100s", p.Target.Digest)
	}
	if p.Target.Size != about.Size || p.Target.MediaType != about.MediaType {
		return errdefs.Permission("it is a signature of something else with the same digest: %.80q of %d bytes", p.Target.MediaType, p.Target.Size)
	}
	return nil
}

// algorithmOf is the one that belongs to a key: an envelope cannot choose (signature-specification.md, "Signature Algorithm Requirements").
func algorithmOf(key crypto.PublicKey) (name string, h crypto.Hash) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		switch k.N.BitLen() {
		case 2048:
			return algPS256, crypto.SHA256
		case 3072:
			return algPS384, crypto.SHA384
		case 4096:
			return algPS512, crypto.SHA512
		}
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return algES2, crypto.SHA256
		case 384:
			return algES3, crypto.SHA384
		case 521:
			return algES5, crypto.SHA512
		}
	}
	return "", 0
}

func (e *envelope) checkSignature(leaf *x509.Certificate) error {
	name, h := algorithmOf(leaf.PublicKey)
	if name == "" || name != e.algorithm {
		return errdefs.Permission("the envelope is signed by %.40q, and the key of its certificate is for %q", e.algorithm, name)
	}
	d := h.New()
	d.Write(e.signed)
	sum := d.Sum(nil)
	ok := false
	switch k := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		ok = rsa.VerifyPSS(k, h, sum, e.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	case *ecdsa.PublicKey:
		n := (k.Curve.Params().BitSize + 7) / 8
		ok = len(e.signature) == 2*n && ecdsa.Verify(k, sum, new(big.Int).SetBytes(e.signature[:n]), new(big.Int).SetBytes(e.signature[n:]))
	}
	if !ok {
		return errdefs.Permission("the signature is not one of the envelope's certificate")
	}
	return nil
}

// checkCertificate checks that the signer is one for signing code, and leads to a certificate that is believed; it returns the time of
// signing when somebody who is believed tells it.
func (e *envelope) checkCertificate(leaf *x509.Certificate, by *Trust, now time.Time) (time.Time, error) {
	var signed time.Time
	roots, at := by.Authorities, now
	if e.scheme == schemeAuthority {
		roots, at, signed = by.SigningAuthorities, e.authentic, e.authentic
	} else if len(e.timestamp) > 0 && len(by.Timestamps) > 0 {
		err := error(nil)
		for _, a := range by.Timestamps {
			if signed, err = timestamp.VerifyToken(e.timestamp, e.signature, a); err == nil {
				break
			}
		}
		if err != nil {
			return signed, err
		}
		at = signed
	}
	if len(roots) == 0 {
		return signed, errdefs.Permission("no certificate is believed for signatures of the scheme %s", e.scheme)
	}
	if leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 || leaf.IsCA {
		return signed, errdefs.Permission("the certificate %.100s is not one for signatures", leaf.Subject)
	}
	for _, u := range leaf.ExtKeyUsage {
		if u != x509.ExtKeyUsageCodeSigning {
			return signed, errdefs.Permission("the certificate %.100s is for more than signing code", leaf.Subject)
		}
	}
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	for _, c := range roots {
		opts.Roots.AddCert(c)
	}
	for _, c := range e.certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := leaf.Verify(opts); err != nil {
		return signed, errdefs.Permission("the certificate of the signature: %w", err)
	}
	return signed, nil
}

func parseCerts(list [][]byte) ([]*x509.Certificate, error) {
	if len(list) > maxCerts {
		return nil, errdefs.Limit("the envelope has more than %d certificates", maxCerts)
	}
	var out []*x509.Certificate
	for _, der := range list {
		c, err := keys.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("the envelope: %w", err)
		}
		out = append(out, c)
	}
	return out, nil
}
