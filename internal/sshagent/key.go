package sshagent

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"

	"github.com/camada/camada/errdefs"
)

// MaxKeyFile is how large the file of a key may be, in bytes.
const MaxKeyFile = 100 << 10

// maxRSA bounds an RSA key, in bits.
const maxRSA = 16 << 10

// Key is a private key.
type Key struct {
	signer  crypto.Signer
	public  []byte // as SSH writes it
	comment string
}

// ParseKey reads a private key without a passphrase: RSA, ECDSA or Ed25519, in OpenSSH's format or in those of OpenSSL.
// ErrUnsupported for a key with a passphrase or of another kind, ErrInvalid for what is no key. No error has a
// part of the key in it.
func ParseKey(data []byte) (*Key, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errdefs.Invalid("it is no private key in PEM form")
	}
	if block.Headers["DEK-Info"] != "" || block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, locked()
	}
	var key any
	var err error
	switch block.Type {
	case "OPENSSH PRIVATE KEY":
		return parseOpenSSH(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, errdefs.Unsupported("keys of the form %q are not known", block.Type)
	}
	if err != nil {
		return nil, errdefs.Invalid("the private key cannot be read")
	}
	return newKey(key, "")
}

func locked() error {
	return errdefs.Unsupported("the key has a passphrase; add it to an agent with ssh-add and name the agent instead")
}

// parseOpenSSH reads the format that OpenSSH describes in PROTOCOL.key.
func parseOpenSSH(data []byte) (*Key, error) {
	const magic = "openssh-key-v1\x00"
	bad := errdefs.Invalid("the private key cannot be read")
	if len(data) < len(magic) || string(data[:len(magic)]) != magic {
		return nil, bad
	}
	r := reader{rest: data[len(magic):]}
	cipher, kdf, _ := string(r.str()), string(r.str()), r.str()
	n := r.number()
	r.str() // the public key
	inner := reader{rest: r.str()}
	switch {
	case r.failed || n != 1:
		return nil, bad
	case cipher != "none" || kdf != "none":
		return nil, locked()
	}
	if a, b := inner.number(), inner.number(); a != b || inner.failed {
		return nil, bad
	}
	var key any
	switch kind := string(inner.str()); kind {
	case "ssh-ed25519":
		inner.str()
		if private := inner.str(); len(private) == ed25519.PrivateKeySize {
			key = ed25519.NewKeyFromSeed(private[:ed25519.SeedSize])
		}
	case "ssh-rsa":
		n, e, d := inner.integer(), inner.integer(), inner.integer()
		inner.str() // iqmp
		p, q := inner.integer(), inner.integer()
		if inner.failed || n.BitLen() > maxRSA || !e.IsInt64() || e.BitLen() > 31 {
			return nil, bad
		}
		private := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: int(e.Int64())}, D: d, Primes: []*big.Int{p, q}}
		if private.Validate() == nil {
			private.Precompute()
			key = private
		}
	case "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521":
		inner.str() // the curve's name
		inner.str() // the public point
		key = ecKey(kind, inner.integer())
	default:
		return nil, errdefs.Unsupported("keys of the kind %q are not known", kind)
	}
	comment := string(inner.str())
	if inner.failed || key == nil {
		return nil, bad
	}
	return newKey(key, comment)
}

// ecKey returns nil for a number that is no key.
func ecKey(kind string, d *big.Int) any {
	curve := elliptic.P256()
	switch kind {
	case "ecdsa-sha2-nistp384":
		curve = elliptic.P384()
	case "ecdsa-sha2-nistp521":
		curve = elliptic.P521()
	}
	size := (curve.Params().BitSize + 7) / 8
	if d.BitLen() > 8*size {
		return nil
	}
	key, err := ecdsa.ParseRawPrivateKey(curve, d.FillBytes(make([]byte, size)))
	if err != nil {
		return nil
	}
	return key
}

// integer reads an mpint (RFC 4251, section 5); a negative one is a failure.
func (r *reader) integer() *big.Int {
	b := r.str()
	if len(b) > 0 && b[0]&0x80 != 0 {
		r.failed = true
	}
	return new(big.Int).SetBytes(b)
}

func appendInteger(out []byte, n *big.Int) []byte {
	b := n.Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return appendString(out, b)
}

// newKey makes the public key as RFC 4253 (section 6.6), RFC 5656 (section 3.1) and RFC 8709 (section 4) have it.
func newKey(key any, comment string) (*Key, error) {
	k := &Key{comment: comment}
	switch key := key.(type) {
	case ed25519.PrivateKey:
		k.signer = key
		k.public = appendString(appendString(nil, []byte("ssh-ed25519")), key.Public().(ed25519.PublicKey))
	case *rsa.PrivateKey:
		k.signer = key
		k.public = appendInteger(appendInteger(appendString(nil, []byte("ssh-rsa")), big.NewInt(int64(key.E))), key.N)
	case *ecdsa.PrivateKey:
		name := curveName(key.Curve)
		point, err := key.PublicKey.Bytes()
		if name == "" || err != nil {
			return nil, errdefs.Unsupported("the curve of the key is not known")
		}
		k.signer = key
		k.public = appendString(appendString(appendString(nil, []byte("ecdsa-sha2-"+name)), []byte(name)), point)
	default:
		return nil, errdefs.Unsupported("keys of the kind %T are not known", key)
	}
	return k, nil
}

func curveName(c elliptic.Curve) string {
	switch c {
	case elliptic.P256():
		return "nistp256"
	case elliptic.P384():
		return "nistp384"
	case elliptic.P521():
		return "nistp521"
	}
	return ""
}

// The flags of a sign request: which hash an RSA signature has (RFC 8332).
const (
	flagSHA256 = 2
	flagSHA512 = 4
)

// sign makes a signature as SSH writes it.
func (k *Key) sign(data []byte, flags uint32) ([]byte, error) {
	name, hash := "ssh-ed25519", crypto.Hash(0)
	switch key := k.signer.(type) {
	case *rsa.PrivateKey:
		switch {
		case flags&flagSHA512 != 0:
			name, hash = "rsa-sha2-512", crypto.SHA512
		case flags&flagSHA256 != 0:
			name, hash = "rsa-sha2-256", crypto.SHA256
		default:
			name, hash = "ssh-rsa", crypto.SHA1
		}
	case *ecdsa.PrivateKey:
		name, hash = "ecdsa-sha2-"+curveName(key.Curve), crypto.SHA256
		if bits := key.Curve.Params().BitSize; bits > 384 {
			hash = crypto.SHA512
		} else if bits > 256 {
			hash = crypto.SHA384
		}
	}
	digest := data
	if hash != 0 {
		if !hash.Available() {
			return nil, errdefs.Unsupported("hash %s", hash)
		}
		h := hash.New()
		h.Write(data)
		digest = h.Sum(nil)
	}
	sig, err := k.signer.Sign(rand.Reader, digest, hash)
	if err != nil {
		return nil, err
	}
	if _, ok := k.signer.(*ecdsa.PrivateKey); ok { // two integers instead of ASN.1
		var rs struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(sig, &rs); err != nil {
			return nil, err
		}
		sig = appendInteger(appendInteger(nil, rs.R), rs.S)
	}
	return appendString(appendString(nil, []byte(name)), sig), nil
}
