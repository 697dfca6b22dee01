// Package trust says whom to believe: certificate authorities, transparency logs and time stamping authorities, as sigstore's
// trusted_root.json lists them, and checks what they signed.
//
//	root, err := trust.Parse(data)
//	at, err := root.Times(...)          // when a signature was made
//	chain, err := root.Chain(cert, nil, at)  // whether a certificate leads to an authority
//	err = root.CheckSCT(chain)          // whether it is in a log of certificates
//
// The functions are pure: nothing is asked of a network, and the time now is the caller's.
package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"slices"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/keys"
	"github.com/camada/camada/sign/timestamp"
)

const (
	// MaxSize is how big a trusted root may be, in bytes: as big as a file that is read.
	MaxSize = keys.MaxFile
	// maxEach bounds the authorities and logs of each kind.
	maxEach = 256
)

// Root is whom to believe. The zero value believes nobody.
type Root struct {
	// Authorities sign certificates for signing.
	Authorities []Authority
	// Logs list signatures, CertificateLogs certificates.
	Logs, CertificateLogs []Log
	// Timestamps tell the time.
	Timestamps []timestamp.Authority
}

// Authority signs certificates.
type Authority struct {
	Root          *x509.Certificate
	Intermediates []*x509.Certificate
	// Start and End bound when it was trusted; zero is no bound.
	Start, End time.Time
}

// Log is a transparency log.
type Log struct {
	Key *keys.Public
	// ID is what entries call it.
	ID []byte
	// Origin is the name in its checkpoints: the host of its address.
	Origin     string
	Start, End time.Time
}

// document is the JSON (sigstore protobuf-specs, sigstore_trustroot.proto).
type document struct {
	MediaType   string              `json:"mediaType"`
	Tlogs       []logDocument       `json:"tlogs"`
	Authorities []authorityDocument `json:"certificateAuthorities"`
	Ctlogs      []logDocument       `json:"ctlogs"`
	Timestamps  []authorityDocument `json:"timestampAuthorities"`
}

type period struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

type logDocument struct {
	BaseURL   string `json:"baseUrl"`
	Algorithm string `json:"hashAlgorithm"`
	PublicKey struct {
		Raw      []byte `json:"rawBytes"`
		Details  string `json:"keyDetails"`
		ValidFor period `json:"validFor"`
	} `json:"publicKey"`
	LogID struct {
		KeyID []byte `json:"keyId"`
	} `json:"logId"`
}

type authorityDocument struct {
	Chain struct {
		Certificates []struct {
			Raw []byte `json:"rawBytes"`
		} `json:"certificates"`
	} `json:"certChain"`
	ValidFor period `json:"validFor"`
}

// Parse reads a trusted_root.json.
func Parse(data []byte) (*Root, error) {
	if len(data) > MaxSize {
		return nil, errdefs.Limit("the trusted root has more than %d bytes", MaxSize)
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, errdefs.Invalid("read the trusted root: %w", err)
	}
	switch d.MediaType {
	case "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "application/vnd.dev.sigstore.trustedroot.v0.2+json":
	default:
		return nil, errdefs.Unsupported("the trusted root is of the kind %.80q", d.MediaType)
	}
	if len(d.Tlogs) > maxEach || len(d.Ctlogs) > maxEach || len(d.Authorities) > maxEach || len(d.Timestamps) > maxEach {
		return nil, errdefs.Limit("the trusted root has more than %d entries of a kind", maxEach)
	}
	r := &Root{}
	var err error
	if r.Logs, err = parseLogs(d.Tlogs); err != nil {
		return nil, err
	}
	if r.CertificateLogs, err = parseLogs(d.Ctlogs); err != nil {
		return nil, err
	}
	for _, a := range d.Authorities {
		chain, err := a.certificates()
		if err != nil {
			return nil, err
		}
		last := len(chain) - 1
		r.Authorities = append(r.Authorities, Authority{Root: chain[last], Intermediates: chain[:last], Start: a.ValidFor.Start, End: a.ValidFor.End})
	}
	for _, a := range d.Timestamps {
		chain, err := a.certificates()
		if err != nil {
			return nil, err
		}
		r.Timestamps = append(r.Timestamps, timestampAuthority(chain, a.ValidFor))
	}
	return r, nil
}

// timestampAuthority takes a chain: the last is the root, the first the signer when it is no authority itself.
func timestampAuthority(chain []*x509.Certificate, valid period) timestamp.Authority {
	last := len(chain) - 1
	t := timestamp.Authority{Roots: chain[last:], Start: valid.Start, End: valid.End}
	if last > 0 && !chain[0].IsCA {
		t.Leaf, t.Intermediates = chain[0], chain[1:last]
	} else {
		t.Intermediates = chain[:last]
	}
	return t
}

func (a authorityDocument) certificates() ([]*x509.Certificate, error) {
	if n := len(a.Chain.Certificates); n == 0 || n > maxEach {
		return nil, errdefs.Invalid("the trusted root has an authority with %d certificates", n)
	}
	var out []*x509.Certificate
	for _, c := range a.Chain.Certificates {
		cert, err := x509.ParseCertificate(c.Raw)
		if err != nil {
			return nil, errdefs.Invalid("the trusted root has a certificate that cannot be read: %w", err)
		}
		out = append(out, cert)
	}
	return out, nil
}

func parseLogs(list []logDocument) ([]Log, error) {
	var out []Log
	for _, l := range list {
		if l.Algorithm != "SHA2_256" {
			return nil, errdefs.Unsupported("the trusted root has a log with the hash %.40q", l.Algorithm)
		}
		var key *keys.Public
		var err error
		if l.PublicKey.Details == "PKCS1_RSA_PKCS1V5" {
			rsa, rsaErr := x509.ParsePKCS1PublicKey(l.PublicKey.Raw)
			if err = rsaErr; err == nil {
				key, err = keys.NewPublic(rsa)
			}
		} else {
			key, err = keys.ParsePKIX(l.PublicKey.Raw)
		}
		if err != nil {
			return nil, errdefs.Invalid("the trusted root's log %.200q: %w", l.BaseURL, err)
		}
		one := Log{Key: key, ID: l.LogID.KeyID, Origin: origin(l.BaseURL), Start: l.PublicKey.ValidFor.Start, End: l.PublicKey.ValidFor.End}
		if len(one.ID) == 0 {
			sum := sha256.Sum256(key.DER())
			one.ID = sum[:]
		}
		out = append(out, one)
	}
	return out, nil
}

// ParseCertificates reads certificates in PEM, in their order. ErrInvalid when there are none.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(data) > 0 {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, errdefs.Invalid("%.60q is no certificate", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errdefs.Invalid("read certificate: %w", err)
		}
		if out = append(out, c); len(out) > maxEach {
			return nil, errdefs.Limit("more than %d certificates", maxEach)
		}
	}
	if len(out) == 0 {
		return nil, errdefs.Invalid("there is no certificate in PEM")
	}
	return out, nil
}

// Private makes a Root of an authority of one's own: roots are certificates that sign themselves, the others lead to them. tsa are the
// certificates of a time stamping authority, and may be empty.
func Private(chain, tsa []*x509.Certificate) (*Root, error) {
	r := &Root{}
	var others []*x509.Certificate
	for _, c := range chain {
		if !selfSigned(c) {
			others = append(others, c)
		}
	}
	for _, c := range chain {
		if selfSigned(c) {
			r.Authorities = append(r.Authorities, Authority{Root: c, Intermediates: others})
		}
	}
	if len(chain) > 0 && len(r.Authorities) == 0 {
		return nil, errdefs.Invalid("the certificate chain has no root: its last certificate must be one that signed itself")
	}
	if len(tsa) > 0 {
		r.Timestamps = append(r.Timestamps, timestampAuthority(tsa, period{}))
	}
	return r, nil
}

func selfSigned(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// Join adds whom another Root believes.
func (r *Root) Join(o *Root) {
	r.Authorities = append(r.Authorities, o.Authorities...)
	r.Logs, r.CertificateLogs = append(r.Logs, o.Logs...), append(r.CertificateLogs, o.CertificateLogs...)
	r.Timestamps = append(r.Timestamps, o.Timestamps...)
}

// Chain finds how a certificate for signing code leads to an authority, at a time: itself first, then who signed it, up to the root.
// others may lead there, and are not trusted. ErrPermission when there is no way.
func (r *Root) Chain(cert *x509.Certificate, others []*x509.Certificate, at time.Time) ([]*x509.Certificate, error) {
	var last error
	// To crypto/x509 one that is for nothing certain is for everything.
	if !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) {
		return nil, errdefs.Permission("the certificate is not one for signing code: it lacks the extended key usage codeSigning")
	}
	for _, a := range r.Authorities {
		if outside(at, a.Start, a.End) {
			last = errdefs.Permission("the authority of the certificate was not trusted at %s", at.UTC().Format(time.RFC3339))
			continue
		}
		opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
		opts.Roots.AddCert(a.Root)
		for _, list := range [][]*x509.Certificate{a.Intermediates, others} {
			for _, c := range list {
				opts.Intermediates.AddCert(c)
			}
		}
		chains, err := cert.Verify(opts)
		if err == nil {
			return chains[0], nil
		}
		last = errdefs.Permission("the certificate at %s: %w", at.UTC().Format(time.RFC3339), err)
	}
	if last == nil {
		last = errdefs.Permission("no certificate authority is trusted")
	}
	return nil, last
}

func outside(at, start, end time.Time) bool {
	return !start.IsZero() && at.Before(start) || !end.IsZero() && at.After(end)
}

// Time verifies a time stamp of a message by any authority.
func (r *Root) Time(answer, message []byte) (time.Time, error) {
	err := errdefs.Permission("no time stamping authority is trusted")
	for _, a := range r.Timestamps {
		var at time.Time
		if at, err = timestamp.Verify(answer, message, a); err == nil {
			return at, nil
		}
	}
	return time.Time{}, err
}
