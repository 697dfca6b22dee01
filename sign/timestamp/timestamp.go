// Package timestamp reads and verifies signed times (RFC 3161): what a time stamping authority says of when it saw a hash.
//
//	query, err := timestamp.Query(signature)                 // sent to an authority
//	t, err := timestamp.Verify(answer, signature, timestamp.Authority{Roots: certs})
//
// It reads DER alone, of messages with one signer, as authorities send them. The certificate must be one for time stamping and nothing
// else, valid at the time that it tells, and lead to a root of the caller's.
package timestamp

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// MaxSize is how big an answer may be, in bytes.
const MaxSize = 256 << 10

// Authority is who may tell the time.
type Authority struct {
	// Roots are trusted. Intermediates, and the certificates in the answer, may lead to them.
	Roots, Intermediates []*x509.Certificate
	// Leaf is the only one that may sign when it is set; answers need not have it then.
	Leaf *x509.Certificate
	// Start and End bound the times that it is trusted for; zero is no bound.
	Start, End time.Time
}

// info is what the authority signs (RFC 3161, 2.4.2, TSTInfo).
type info struct {
	hash  crypto.Hash
	sum   []byte
	time  time.Time
	nonce *big.Int
}

// Query asks for the time of a message (TimeStampReq), with its SHA-256 and a random nonce, and wants the certificate.
func Query(message []byte) ([]byte, *big.Int, error) {
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return nil, nil, err
	}
	h := crypto.SHA256.New()
	h.Write(message)
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oid(oidSHA256))
				b.AddASN1NULL()
			})
			b.AddASN1OctetString(h.Sum(nil))
		})
		b.AddASN1BigInt(nonce)
		b.AddASN1Boolean(true)
	})
	der, err := b.Bytes()
	return der, nonce, err
}

// Answered checks an answer to a query as far as that is possible without trust: it is granted, and about the message and the nonce.
func Answered(answer, message []byte, nonce *big.Int) error {
	token, err := tokenOf(answer)
	if err != nil {
		return err
	}
	m, err := parse(token)
	if err != nil {
		return err
	}
	if m.info.nonce == nil || m.info.nonce.Cmp(nonce) != 0 {
		return errdefs.Corrupt("the time stamp is the answer to another question")
	}
	return m.info.about(message)
}

// Verify checks an answer (TimeStampResp, as bundles have it) about a message, and returns the time that it tells.
func Verify(answer, message []byte, by Authority) (time.Time, error) {
	token, err := tokenOf(answer)
	if err != nil {
		return time.Time{}, err
	}
	return VerifyToken(token, message, by)
}

// VerifyToken is Verify for a token (TimeStampToken) without the answer around it, as notation has it.
func VerifyToken(token, message []byte, by Authority) (time.Time, error) {
	m, err := parse(token)
	if err != nil {
		return time.Time{}, err
	}
	if err := m.info.about(message); err != nil {
		return time.Time{}, err
	}
	leaf, err := m.verify(by)
	if err != nil {
		return time.Time{}, err
	}
	if err := by.allows(leaf, m); err != nil {
		return time.Time{}, err
	}
	return m.info.time, nil
}

// about checks that the time is that of a message.
func (i info) about(message []byte) error {
	h := i.hash.New()
	h.Write(message)
	if !bytes.Equal(h.Sum(nil), i.sum) {
		return errdefs.Permission("the time stamp is about something else")
	}
	return nil
}

// allows checks that a certificate may tell the time, and is trusted to.
func (by Authority) allows(leaf *x509.Certificate, m *message) error {
	at := m.info.time
	switch {
	case len(by.Roots) == 0:
		return errdefs.Permission("time stamp: no authority is trusted")
	case !by.Start.IsZero() && at.Before(by.Start) || !by.End.IsZero() && at.After(by.End):
		return errdefs.Permission("the time stamp is of %s, when its authority was not trusted", at.Format(time.RFC3339))
	case by.Leaf != nil && !by.Leaf.Equal(leaf):
		return errdefs.Permission("the time stamp is signed by another certificate than the authority's")
	case len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping || len(leaf.UnknownExtKeyUsage) > 0 || !criticalUsage(leaf):
		return errdefs.Permission("time stamp: the certificate is not one for time stamping alone (RFC 3161, 2.3)")
	}
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}}
	for _, c := range by.Roots {
		opts.Roots.AddCert(c)
	}
	for _, list := range [][]*x509.Certificate{by.Intermediates, m.certs} {
		for _, c := range list {
			opts.Intermediates.AddCert(c)
		}
	}
	if _, err := leaf.Verify(opts); err != nil {
		return errdefs.Permission("time stamp: %w", err)
	}
	return nil
}

func criticalUsage(c *x509.Certificate) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 37}) {
			return e.Critical
		}
	}
	return false
}

// tokenOf takes the token from an answer, when it was granted.
func tokenOf(answer []byte) ([]byte, error) {
	if len(answer) > MaxSize {
		return nil, errdefs.Limit("the time stamp has more than %d bytes", MaxSize)
	}
	in := cryptobyte.String(answer)
	var resp, status cryptobyte.String
	var code int
	if !in.ReadASN1(&resp, cbasn1.SEQUENCE) || !in.Empty() || !resp.ReadASN1(&status, cbasn1.SEQUENCE) || !status.ReadASN1Integer(&code) {
		return nil, errdefs.Corrupt("the time stamp is no answer of a time stamping authority")
	}
	if code != 0 && code != 1 {
		return nil, errdefs.Permission("the time stamping authority refused (status %d)", code)
	}
	var token cryptobyte.String
	if !resp.ReadASN1Element(&token, cbasn1.SEQUENCE) || !resp.Empty() {
		return nil, errdefs.Corrupt("the time stamp has no token")
	}
	return token, nil
}
