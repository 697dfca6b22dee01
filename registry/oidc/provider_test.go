package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// signer is a key of an issuer.
type signer struct {
	id, algorithm string
	private       crypto.Signer
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func signerOf(t *testing.T, id, algorithm string) signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch algorithm[:2] {
	case "RS", "PS":
		key, err = rsa.GenerateKey(rand.Reader, minRSA)
	case "ES":
		a, _ := algorithmOf(algorithm)
		key, err = ecdsa.GenerateKey(a.curve, rand.Reader)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, algorithm, key}
}

// jwk is the public key.
func (s signer) jwk() map[string]any {
	m := map[string]any{"kid": s.id, "use": "sig"}
	switch k := s.private.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		raw, _ := k.Bytes()
		m["kty"], m["crv"], m["x"], m["y"] = "EC", k.Params().Name, b64(raw[1:1+len(raw)/2]), b64(raw[1+len(raw)/2:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
	}
	return m
}

// sign makes a token; head is put over its header.
func (s signer) sign(t *testing.T, head, claims map[string]any) string {
	t.Helper()
	h := map[string]any{"alg": s.algorithm, "typ": "JWT", "kid": s.id}
	for k, v := range head {
		if h[k] = v; v == nil {
			delete(h, k)
		}
	}
	text := part(t, h) + "." + part(t, claims)
	a, _ := algorithmOf(s.algorithm)
	sum := []byte(text)
	var opts crypto.SignerOpts = crypto.Hash(0)
	if a.hash != 0 {
		d := a.hash.New()
		d.Write(sum)
		sum, opts = d.Sum(nil), a.hash
	}
	if a.pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.hash}
	}
	var sig []byte
	var err error
	if k, ok := s.private.(*ecdsa.PrivateKey); ok {
		var r, v *big.Int
		if r, v, err = ecdsa.Sign(rand.Reader, k, sum); err == nil {
			n := (k.Params().BitSize + 7) / 8
			sig = append(r.FillBytes(make([]byte, n)), v.FillBytes(make([]byte, n))...)
		}
	} else {
		sig, err = s.private.Sign(rand.Reader, sum, opts)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(sig)
}

func part(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b64(b)
}

// provider is an issuer on this machine.
type provider struct {
	*httptest.Server

	mu       sync.Mutex
	keys     []signer
	down     bool
	metadata map[string]any
	asked    int
	shown    string
}

func providerOf(t *testing.T, keys ...signer) *provider {
	p := &provider{keys: keys}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.shown = r.Header.Get("Authorization")
		switch {
		case p.down:
			http.Error(w, "down", http.StatusInternalServerError)
		case r.URL.Path == "/.well-known/openid-configuration":
			m := p.metadata
			if m == nil {
				m = map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/keys"}
			}
			_ = json.NewEncoder(w).Encode(m)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/keys", http.StatusFound)
		case r.URL.Path == "/big":
			_, _ = w.Write(make([]byte, maxKeySet+1))
		default:
			p.asked++
			_, _ = w.Write(setOf(p.keys...))
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func setOf(keys ...signer) []byte {
	list := []any{map[string]any{"kty": "oct", "k": "c2VjcmV0"}, map[string]any{"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"}}
	for _, k := range keys {
		list = append(list, k.jwk())
	}
	b, _ := json.Marshal(map[string]any{"keys": list})
	return b
}

// issuer is a configuration that trusts the provider.
func (p *provider) issuer() Issuer {
	return Issuer{Name: "test", URL: p.URL, Audiences: []string{"registry"}, Match: []Condition{{"sub", []string{"**"}}}, Prefix: "test:", Algorithms: algorithmNames()}
}

// claims are good ones; over is put over them, nil takes a claim away.
func (p *provider) claims(over map[string]any) map[string]any {
	now := time.Now().Unix()
	m := map[string]any{"iss": p.URL, "aud": "registry", "sub": "alice", "exp": now + 60, "nbf": now - 5, "iat": now}
	for k, v := range over {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	return m
}

func verifierOf(t *testing.T, issuers ...Issuer) *Verifier {
	t.Helper()
	v, err := New(issuers, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
