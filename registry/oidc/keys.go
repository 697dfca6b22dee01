package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // hashes of signatures
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// algorithm is a way to sign. There is none with a secret that both sides know, and no "none": a public key can never be taken for a secret.
type algorithm struct {
	name string
	hash crypto.Hash
	pss  bool
	// curve is that of ECDSA; nil for all else.
	curve elliptic.Curve
	kind  string // the key's: "RSA", "EC", "OKP"
}

// algorithmOf finds an algorithm (RFC 7518, section 3.1; RFC 8037, section 3.1).
func algorithmOf(name string) (algorithm, bool) {
	a := algorithm{name: name}
	switch {
	case name == "EdDSA":
		a.kind = "OKP"
		return a, true
	case len(name) != 5:
		return algorithm{}, false
	}
	switch name[2:] {
	case "256":
		a.hash, a.curve = crypto.SHA256, elliptic.P256()
	case "384":
		a.hash, a.curve = crypto.SHA384, elliptic.P384()
	case "512":
		a.hash, a.curve = crypto.SHA512, elliptic.P521()
	default:
		return algorithm{}, false
	}
	switch name[:2] {
	case "ES":
		a.kind = "EC"
	case "RS", "PS":
		a.kind, a.curve, a.pss = "RSA", nil, name[:2] == "PS"
	default:
		return algorithm{}, false
	}
	return a, true
}

func algorithmNames() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// verify reports whether a signature is that of a key. The key's own type has to be the algorithm's.
func (a algorithm) verify(public crypto.PublicKey, signed, signature []byte) bool {
	var sum []byte
	if a.hash != 0 {
		h := a.hash.New()
		h.Write(signed)
		sum = h.Sum(nil)
	}
	switch k := public.(type) {
	case ed25519.PublicKey:
		return a.kind == "OKP" && ed25519.Verify(k, signed, signature)
	case *rsa.PublicKey:
		switch {
		case a.kind != "RSA":
			return false
		case a.pss:
			return rsa.VerifyPSS(k, a.hash, sum, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		default:
			return rsa.VerifyPKCS1v15(k, a.hash, sum, signature) == nil
		}
	case *ecdsa.PublicKey:
		if a.kind != "EC" || k.Curve != a.curve {
			return false
		}
		n := (k.Params().BitSize + 7) / 8
		if len(signature) != 2*n {
			return false
		}
		return ecdsa.Verify(k, sum, new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:]))
	default:
		return false
	}
}

// key is one that verifies.
type key struct {
	id        string
	algorithm string // the only one that it is for; "" says nothing
	public    crypto.PublicKey
}

// fits reports whether a token that names a key, or "", may be of this one.
func (k *key) fits(id string, a algorithm) bool {
	if id != "" && k.id != id || k.algorithm != "" && k.algorithm != a.name {
		return false
	}
	switch p := k.public.(type) {
	case *rsa.PublicKey:
		return a.kind == "RSA"
	case *ecdsa.PublicKey:
		return a.kind == "EC" && p.Curve == a.curve
	default:
		return a.kind == "OKP"
	}
}

const (
	// maxKeySet and maxKeys bound a set of keys.
	maxKeySet = 1 << 20
	maxKeys   = 100
	// The sizes of RSA keys, in bits: what is smaller can be broken, and what is bigger costs too much time.
	minRSA, maxRSA = 2048, 8192
)

// jwk is a key as JSON (RFC 7517, section 4; RFC 7518, section 6).
type jwk struct {
	Kind      string   `json:"kty"`
	ID        string   `json:"kid"`
	Use       string   `json:"use"`
	Ops       []string `json:"key_ops"`
	Algorithm string   `json:"alg"`
	Curve     string   `json:"crv"`
	N         string   `json:"n"`
	E         string   `json:"e"`
	X         string   `json:"x"`
	Y         string   `json:"y"`
}

// parseKeys reads a JWK set. Keys that are for something else, or of a kind that is not known, are left out (RFC 7517, section 5). ErrInvalid is a set that has none.
func parseKeys(data []byte) ([]*key, error) {
	if len(data) > maxKeySet {
		return nil, errdefs.Limit("the key set has more than %d bytes", maxKeySet)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errdefs.Invalid("it is no JWK set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, errdefs.Limit("the key set has more than %d keys", maxKeys)
	}
	var keys []*key
	for _, raw := range set.Keys {
		var j jwk
		if json.Unmarshal(raw, &j) != nil || j.Use != "" && j.Use != "sig" || len(j.Ops) > 0 && !slices.Contains(j.Ops, "verify") {
			continue
		}
		if public := j.public(); public != nil {
			keys = append(keys, &key{j.ID, j.Algorithm, public})
		}
	}
	if len(keys) == 0 {
		return nil, errdefs.Invalid("the JWK set has no key to verify signatures with")
	}
	return keys, nil
}

// public is the key; nil when it is not good.
func (j *jwk) public() crypto.PublicKey {
	switch j.Kind {
	case "RSA":
		n, e := number(j.N), number(j.E)
		if n == nil || e == nil || n.BitLen() < minRSA || n.BitLen() > maxRSA || e.BitLen() > 31 || e.Int64() < 3 || e.Bit(0) == 0 {
			return nil
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}
	case "EC":
		a, ok := algorithmOf(map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[j.Curve])
		x, y := field(j.X), field(j.Y)
		if !ok || len(x) != len(y) {
			return nil
		}
		// It checks lengths, and that the point is on the curve.
		k, err := ecdsa.ParseUncompressedPublicKey(a.curve, slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil
		}
		return k
	case "OKP":
		if x := field(j.X); j.Curve == "Ed25519" && len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x)
		}
	}
	return nil
}

// field decodes base64url; some write padding. nil when it cannot be read, or is too much.
func field(s string) []byte {
	if len(s) > 2*maxRSA/8 {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil
	}
	return b
}

// number decodes a number (RFC 7518, section 2, Base64urlUInt).
func number(s string) *big.Int {
	b := field(s)
	if len(b) == 0 {
		return nil
	}
	return new(big.Int).SetBytes(b)
}
