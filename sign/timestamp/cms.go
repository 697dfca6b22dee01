package timestamp

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // of the certificate, in the older form of the attribute that names it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/keys"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The object identifiers that occur.
const (
	oidSignedData    = "1.2.840.113549.1.7.2"
	oidTSTInfo       = "1.2.840.113549.1.9.16.1.4"
	oidContentType   = "1.2.840.113549.1.9.3"
	oidMessageDigest = "1.2.840.113549.1.9.4"
	oidSigningCert   = "1.2.840.113549.1.9.16.2.12"
	oidSigningCertV2 = "1.2.840.113549.1.9.16.2.47"
	oidSHA1          = "1.3.14.3.2.26"
	oidSHA256        = "2.16.840.1.101.3.4.2.1"
	oidSHA384        = "2.16.840.1.101.3.4.2.2"
	oidSHA512        = "2.16.840.1.101.3.4.2.3"
	oidRSA           = "1.2.840.113549.1.1.1"
	oidRSAPSS        = "1.2.840.113549.1.1.10"
	oidSHA256RSA     = "1.2.840.113549.1.1.11"
	oidSHA384RSA     = "1.2.840.113549.1.1.12"
	oidSHA512RSA     = "1.2.840.113549.1.1.13"
	oidECKey         = "1.2.840.10045.2.1"
	oidECDSASHA256   = "1.2.840.10045.4.3.2"
	oidECDSASHA384   = "1.2.840.10045.4.3.3"
	oidECDSASHA512   = "1.2.840.10045.4.3.4"
	oidEd25519       = "1.3.101.112"
)

const (
	// maxCerts and maxAttributes bound what a message may have of each.
	maxCerts, maxAttributes = 16, 32
)

func oid(s string) asn1.ObjectIdentifier {
	var out asn1.ObjectIdentifier
	for part := range strings.SplitSeq(s, ".") {
		n, _ := strconv.Atoi(part) // they are the constants above
		out = append(out, n)
	}
	return out
}

func hashOf(id string) crypto.Hash {
	switch id {
	case oidSHA256:
		return crypto.SHA256
	case oidSHA384:
		return crypto.SHA384
	case oidSHA512:
		return crypto.SHA512
	}
	return 0
}

// message is a signed message (RFC 5652, SignedData) with one signer, whose content is a TSTInfo.
type message struct {
	info    info
	content []byte
	certs   []*x509.Certificate
	// issuer, serial and keyID say whose signature it is: the first two, or the last.
	issuer, serial, keyID []byte
	// digest is the hash that the signed attributes have of the content, attributes are those as they are signed.
	hash                        crypto.Hash
	digest, attributes, certSum []byte
	certHash                    crypto.Hash
	algorithm                   string
	signature                   []byte
}

// malformed says what part of a message cannot be read.
func malformed(what string) error { return errdefs.Corrupt("the time stamp cannot be read: %s", what) }

// parse reads a TimeStampToken.
func parse(token []byte) (*message, error) {
	if len(token) > MaxSize {
		return nil, errdefs.Limit("the time stamp has more than %d bytes", MaxSize)
	}
	in := cryptobyte.String(token)
	var outer, wrapped, signed, algorithms, encap, eContent cryptobyte.String
	if !in.ReadASN1(&outer, cbasn1.SEQUENCE) || !in.Empty() || !isOID(&outer, oidSignedData) ||
		!outer.ReadASN1(&wrapped, explicit(0)) || !wrapped.ReadASN1(&signed, cbasn1.SEQUENCE) {
		return nil, malformed("it is no signed data")
	}
	var version int
	if !signed.ReadASN1Integer(&version) || !signed.ReadASN1(&algorithms, cbasn1.SET) || !signed.ReadASN1(&encap, cbasn1.SEQUENCE) ||
		!isOID(&encap, oidTSTInfo) || !encap.ReadASN1(&eContent, explicit(0)) {
		return nil, malformed("it has no time")
	}
	m := &message{}
	if !eContent.ReadASN1Bytes(&m.content, cbasn1.OCTET_STRING) {
		return nil, malformed("its time")
	}
	var err error
	if m.info, err = parseInfo(m.content); err != nil {
		return nil, err
	}
	if err := m.readCerts(&signed); err != nil {
		return nil, err
	}
	if !signed.SkipOptionalASN1(explicit(1)) {
		return nil, malformed("its revocations")
	}
	var signers, signer cryptobyte.String
	if !signed.ReadASN1(&signers, cbasn1.SET) || !signers.ReadASN1(&signer, cbasn1.SEQUENCE) {
		return nil, malformed("its signer")
	}
	if !signers.Empty() {
		return nil, malformed("it has more than one signer")
	}
	return m, m.readSigner(signer)
}

func explicit(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

// isOID reads an object identifier and reports whether it is the one.
func isOID(s *cryptobyte.String, want string) bool {
	id, ok := readOID(s)
	return ok && id == want
}

func readOID(s *cryptobyte.String) (string, bool) {
	var id asn1.ObjectIdentifier
	ok := s.ReadASN1ObjectIdentifier(&id)
	return id.String(), ok
}

// readAlgorithm reads an AlgorithmIdentifier, without its parameters.
func readAlgorithm(s *cryptobyte.String) (string, bool) {
	var alg cryptobyte.String
	if !s.ReadASN1(&alg, cbasn1.SEQUENCE) {
		return "", false
	}
	return readOID(&alg)
}

// parseInfo reads a TSTInfo.
func parseInfo(der []byte) (info, error) {
	in := cryptobyte.String(der)
	var tst, imprint, when cryptobyte.String
	var version int
	var i info
	if !in.ReadASN1(&tst, cbasn1.SEQUENCE) || !in.Empty() || !tst.ReadASN1Integer(&version) || version != 1 || !tst.SkipASN1(cbasn1.OBJECT_IDENTIFIER) ||
		!tst.ReadASN1(&imprint, cbasn1.SEQUENCE) {
		return i, malformed("its time")
	}
	alg, ok := readAlgorithm(&imprint)
	if i.hash = hashOf(alg); !ok || i.hash == 0 || !imprint.ReadASN1Bytes(&i.sum, cbasn1.OCTET_STRING) {
		return i, malformed("its hash, which must be SHA-256, SHA-384 or SHA-512")
	}
	if !tst.SkipASN1(cbasn1.INTEGER) || !tst.ReadASN1(&when, cbasn1.GeneralizedTime) {
		return i, malformed("its time")
	}
	var err error
	if i.time, err = time.Parse("20060102150405Z", string(when)); err != nil {
		return i, malformed("its time")
	}
	if tst.PeekASN1Tag(cbasn1.SEQUENCE) { // accuracy
		tst.SkipASN1(cbasn1.SEQUENCE)
	}
	if tst.PeekASN1Tag(cbasn1.BOOLEAN) { // ordering
		tst.SkipASN1(cbasn1.BOOLEAN)
	}
	if tst.PeekASN1Tag(cbasn1.INTEGER) {
		if i.nonce = new(big.Int); !tst.ReadASN1Integer(i.nonce) {
			return i, malformed("its nonce")
		}
	}
	return i, nil
}

func (m *message) readCerts(signed *cryptobyte.String) error {
	var certs cryptobyte.String
	var has bool
	if !signed.ReadOptionalASN1(&certs, &has, explicit(0)) {
		return malformed("its certificates")
	}
	for !certs.Empty() {
		var der cryptobyte.String
		if !certs.ReadASN1Element(&der, cbasn1.SEQUENCE) {
			return malformed("its certificates")
		}
		c, err := keys.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("the time stamp: %w", err)
		}
		if m.certs = append(m.certs, c); len(m.certs) > maxCerts {
			return errdefs.Limit("the time stamp has more than %d certificates", maxCerts)
		}
	}
	return nil
}

// readSigner reads a SignerInfo.
func (m *message) readSigner(s cryptobyte.String) error {
	var version int
	if !s.ReadASN1Integer(&version) {
		return malformed("its signer")
	}
	if s.PeekASN1Tag(cbasn1.SEQUENCE) {
		var sid, issuer cryptobyte.String
		if !s.ReadASN1(&sid, cbasn1.SEQUENCE) || !sid.ReadASN1Element(&issuer, cbasn1.SEQUENCE) || !sid.ReadASN1Bytes(&m.serial, cbasn1.INTEGER) {
			return malformed("who its signer is")
		}
		m.issuer = issuer
	} else if !s.ReadASN1Bytes(&m.keyID, cbasn1.Tag(0).ContextSpecific()) {
		return malformed("who its signer is")
	}
	alg, ok := readAlgorithm(&s)
	var attrs cryptobyte.String
	if m.hash = hashOf(alg); !ok || m.hash == 0 || !s.ReadASN1(&attrs, explicit(0)) {
		return malformed("its signed attributes, or their hash, which must be SHA-256, SHA-384 or SHA-512")
	}
	if err := m.readAttributes(attrs); err != nil {
		return err
	}
	if m.algorithm, ok = readAlgorithm(&s); !ok || !s.ReadASN1Bytes(&m.signature, cbasn1.OCTET_STRING) {
		return malformed("its signature")
	}
	return nil
}

// readAttributes reads the signed attributes (RFC 5652, 5.3). They are signed as a SET, whatever tag they have.
func (m *message) readAttributes(attrs cryptobyte.String) error {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(attrs) })
	var err error
	if m.attributes, err = b.Bytes(); err != nil {
		return malformed("its attributes")
	}
	seen := map[string]bool{}
	for !attrs.Empty() {
		var attr, values cryptobyte.String
		if !attrs.ReadASN1(&attr, cbasn1.SEQUENCE) {
			return malformed("its attributes")
		}
		id, ok := readOID(&attr)
		if !ok || !attr.ReadASN1(&values, cbasn1.SET) || seen[id] || len(seen) == maxAttributes {
			return malformed("its attributes")
		}
		seen[id] = true
		switch id {
		case oidContentType:
			ok = isOID(&values, oidTSTInfo)
		case oidMessageDigest:
			ok = values.ReadASN1Bytes(&m.digest, cbasn1.OCTET_STRING)
		case oidSigningCert:
			ok = m.readCertID(values, true)
		case oidSigningCertV2:
			ok = m.readCertID(values, false)
		}
		if !ok {
			return malformed("its attribute " + id)
		}
	}
	if !seen[oidContentType] || m.digest == nil || m.certSum == nil {
		return malformed("it lacks the type, the hash of the content, or that of the certificate (RFC 3161, 2.4.2)")
	}
	return nil
}

// readCertID reads the hash of the signer's certificate (RFC 5035, SigningCertificateV2; RFC 2634, SigningCertificate). With both, the newer one counts.
func (m *message) readCertID(s cryptobyte.String, old bool) bool {
	var cert, ids, id cryptobyte.String
	if !s.ReadASN1(&cert, cbasn1.SEQUENCE) || !cert.ReadASN1(&ids, cbasn1.SEQUENCE) || !ids.ReadASN1(&id, cbasn1.SEQUENCE) {
		return false
	}
	h := crypto.SHA256
	if old {
		if m.certSum != nil {
			return true
		}
		h = crypto.SHA1
	} else if id.PeekASN1Tag(cbasn1.SEQUENCE) {
		alg, ok := readAlgorithm(&id)
		if h = hashOf(alg); !ok || h == 0 {
			return false
		}
	}
	m.certHash = h
	return id.ReadASN1Bytes(&m.certSum, cbasn1.OCTET_STRING)
}

// verify checks hash and signature, and returns the certificate whose key signed.
func (m *message) verify(by Authority) (*x509.Certificate, error) {
	h := m.hash.New()
	h.Write(m.content)
	if !bytes.Equal(h.Sum(nil), m.digest) {
		return nil, errdefs.Permission("the time stamp was changed after it was signed")
	}
	candidates := m.certs
	if by.Leaf != nil {
		candidates = append([]*x509.Certificate{by.Leaf}, candidates...)
	}
	for _, c := range candidates {
		if !m.isOf(c) {
			continue
		}
		h := m.certHash.New()
		h.Write(c.Raw)
		if !bytes.Equal(h.Sum(nil), m.certSum) {
			continue
		}
		alg := m.signatureAlgorithm()
		if alg == x509.UnknownSignatureAlgorithm {
			return nil, errdefs.Unsupported("the time stamp is signed by the algorithm %s", m.algorithm)
		}
		if err := c.CheckSignature(alg, m.attributes, m.signature); err != nil {
			return nil, errdefs.Permission("the time stamp's signature does not hold: %w", err)
		}
		return c, nil
	}
	return nil, errdefs.Permission("the certificate of the time stamp's signer is not there")
}

func (m *message) isOf(c *x509.Certificate) bool {
	if m.keyID != nil {
		return len(c.SubjectKeyId) > 0 && bytes.Equal(c.SubjectKeyId, m.keyID)
	}
	return bytes.Equal(c.RawIssuer, m.issuer) && new(big.Int).SetBytes(m.serial).Cmp(c.SerialNumber) == 0
}

func (m *message) signatureAlgorithm() x509.SignatureAlgorithm {
	pick := func(a, b, c x509.SignatureAlgorithm) x509.SignatureAlgorithm {
		switch m.hash {
		case crypto.SHA256:
			return a
		case crypto.SHA384:
			return b
		}
		return c
	}
	switch m.algorithm {
	case oidRSA:
		return pick(x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA)
	case oidRSAPSS:
		return pick(x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS)
	case oidECKey:
		return pick(x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512)
	case oidSHA256RSA:
		return x509.SHA256WithRSA
	case oidSHA384RSA:
		return x509.SHA384WithRSA
	case oidSHA512RSA:
		return x509.SHA512WithRSA
	case oidECDSASHA256:
		return x509.ECDSAWithSHA256
	case oidECDSASHA384:
		return x509.ECDSAWithSHA384
	case oidECDSASHA512:
		return x509.ECDSAWithSHA512
	case oidEd25519:
		return x509.PureEd25519
	}
	return x509.UnknownSignatureAlgorithm
}
