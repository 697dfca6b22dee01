// Package keys reads, makes and uses the keys that images are signed with.
//
//	key, err := keys.Open(ctx, "cosign.key", password)   // or "awskms://..." for a program of that name
//	sig, err := key.Sign(ctx, message)
//	pub, err := keys.ParsePublic(pem)
//	err = pub.Verify(message, sig)
//
// A key is a file in PEM: PKCS #8, SEC 1 or PKCS #1 as OpenSSL writes them, or cosign's encrypted form (ENCRYPTED SIGSTORE PRIVATE
// KEY). Or it is elsewhere, and a program signs with it: what is before :// in its name says which one, see package plugin.
//
// To each key belongs one way to sign, as sigstore has it: ECDSA with the hash of its curve's size, Ed25519 over the message itself, and
// RSA by PKCS #1 1.5 with SHA-256.
package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"

	// The hashes that keys are used with.
	_ "crypto/sha512"

	"github.com/camada/camada/errdefs"
)

const (
	// MaxFile is how big a file with a key, certificates or a trusted root may be, in bytes.
	MaxFile = 4 << 20
	// minRSA and maxRSA bound the modulus of an RSA key, in bits. What is longer costs more time than a signature is worth.
	minRSA, maxRSA = 2048, 8192
)

// Signer signs.
type Signer interface {
	// Public is the key that belongs to it.
	Public() *Public
	// Sign signs a message, not its hash.
	Sign(ctx context.Context, message []byte) ([]byte, error)
}

// Public is a key that signatures are verified with.
type Public struct {
	key crypto.PublicKey
	der []byte
}

// NewPublic takes an *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey. ErrUnsupported for another one, ErrInvalid for a weak one.
func NewPublic(key crypto.PublicKey) (*Public, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if n := k.Curve.Params().BitSize; n < 256 {
			return nil, errdefs.Invalid("the key is of a curve of %d bits: too short to be trusted", n)
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return nil, errdefs.Invalid("the RSA key has %d bits: want %d to %d", n, minRSA, maxRSA)
		}
	case ed25519.PublicKey:
	default:
		return nil, errdefs.Unsupported("a key of the kind %T", key)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, errdefs.Invalid("public key: %w", err)
	}
	return &Public{key: key, der: der}, nil
}

// ParsePublic reads a public key, or that of a certificate, in PEM.
func ParsePublic(data []byte) (*Public, error) {
	if len(data) > MaxFile {
		return nil, errdefs.Limit("read public key: it has more than %d bytes", MaxFile)
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errdefs.Invalid("read public key: there is none in PEM (BEGIN PUBLIC KEY)")
		}
		switch block.Type {
		case "PUBLIC KEY":
			return ParsePKIX(block.Bytes)
		case "RSA PUBLIC KEY":
			key, err := x509.ParsePKCS1PublicKey(block.Bytes)
			if err != nil {
				return nil, errdefs.Invalid("read public key: %w", err)
			}
			return NewPublic(key)
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, errdefs.Invalid("read the certificate's key: %w", err)
			}
			return NewPublic(cert.PublicKey)
		}
		if bytes.Contains([]byte(block.Type), []byte("PRIVATE KEY")) {
			return nil, errdefs.Invalid("this is a private key (%s): want the public one", block.Type)
		}
	}
}

// ParsePKIX reads a public key in DER (RFC 5280, SubjectPublicKeyInfo).
func ParsePKIX(der []byte) (*Public, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errdefs.Invalid("read public key: %w", err)
	}
	return NewPublic(key)
}

// ParseCertificate reads a certificate in DER that came with a signature: nobody believes it yet. ErrCorrupt when it cannot be read, ErrLimit when its RSA key is so long
// that one look at what it signed takes minutes.
func ParseCertificate(der []byte) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errdefs.Corrupt("read the certificate: %w", err)
	}
	if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSA {
		return nil, errdefs.Limit("read the certificate: its RSA key has %d bits, more than %d", k.N.BitLen(), maxRSA)
	}
	return c, nil
}

// Key is the key itself.
func (p *Public) Key() crypto.PublicKey { return p.key }

// DER is the key as SubjectPublicKeyInfo.
func (p *Public) DER() []byte { return bytes.Clone(p.der) }

// PEM is the key as files have it.
func (p *Public) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: p.der})
}

// ID names the key: SHA-256 of its DER, in hex. It is also the name that transparency logs have.
func (p *Public) ID() string {
	sum := sha256.Sum256(p.der)
	return hex.EncodeToString(sum[:])
}

// Hint names the key in bundles as cosign does: SHA-256 of its DER, in base64.
func (p *Public) Hint() string {
	sum := sha256.Sum256(p.der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Equal reports whether both are the same key.
func (p *Public) Equal(other *Public) bool { return other != nil && bytes.Equal(p.der, other.der) }

// Hash is what messages are hashed with before they are signed; 0 for Ed25519, which hashes for itself.
func (p *Public) Hash() crypto.Hash {
	switch k := p.key.(type) {
	case *ecdsa.PublicKey:
		switch n := k.Curve.Params().BitSize; {
		case n > 384:
			return crypto.SHA512
		case n > 256:
			return crypto.SHA384
		}
		return crypto.SHA256
	case *rsa.PublicKey:
		return crypto.SHA256
	}
	return 0
}

// Verify checks a signature of a message. ErrPermission when it does not hold.
func (p *Public) Verify(message, sig []byte) error { return p.verify(message, sig, p.Hash()) }

// VerifyLegacy is Verify that also takes SHA-256 with any key of ECDSA, as cosign before bundles signed, and the longer hashes with RSA.
func (p *Public) VerifyLegacy(message, sig []byte) error {
	err := p.Verify(message, sig)
	if err == nil {
		return nil
	}
	var others []crypto.Hash
	switch p.key.(type) {
	case *ecdsa.PublicKey:
		others = []crypto.Hash{crypto.SHA256}
	case *rsa.PublicKey:
		others = []crypto.Hash{crypto.SHA384, crypto.SHA512}
	}
	for _, h := range others {
		if h != p.Hash() && p.verify(message, sig, h) == nil {
			return nil
		}
	}
	return err
}

func (p *Public) verify(message, sig []byte, h crypto.Hash) error {
	sum := message
	if h != 0 {
		d := h.New()
		d.Write(message)
		sum = d.Sum(nil)
	}
	ok := false
	switch k := p.key.(type) {
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(k, sum, sig)
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(k, h, sum, sig) == nil
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, message, sig)
	}
	if !ok {
		return errdefs.Permission("the signature is not one of the key %s", p.ID()[:12])
	}
	return nil
}

// local is a key in the memory of this process.
type local struct {
	signer crypto.Signer
	public *Public
}

// New makes a Signer of a key of the standard library.
func New(key crypto.Signer) (Signer, error) {
	pub, err := NewPublic(key.Public())
	if err != nil {
		return nil, err
	}
	return &local{key, pub}, nil
}

// Public implements Signer.
func (l *local) Public() *Public { return l.public }

// Sign implements Signer.
func (l *local) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h := l.public.Hash()
	if h != 0 {
		d := h.New()
		d.Write(message)
		message = d.Sum(nil)
	}
	return l.signer.Sign(rand.Reader, message, h)
}
