package oidc

import (
	"context"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
)

func TestAlgorithms(t *testing.T) {
	for _, name := range algorithmNames() {
		s := signerOf(t, "k", name)
		p := providerOf(t, s)
		v := verifierOf(t, p.issuer())
		who, err := v.Verify(t.Context(), s.sign(t, nil, p.claims(nil)))
		if err != nil || who.Name != "test:alice" || time.Until(who.Expires) > time.Minute || !v.Knows(who.Stamp) {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
		if _, err := v.Verify(t.Context(), s.sign(t, map[string]any{"kid": nil}, p.claims(nil))); err != nil {
			t.Errorf("%s without the name of a key: %v", name, err)
		}
		token := s.sign(t, nil, p.claims(nil))
		last := token[len(token)-2] ^ 1 // not the last one, which has bits that count for nothing
		if _, err := v.Verify(t.Context(), token[:len(token)-2]+string(last)+token[len(token)-1:]); !errdefs.IsPermission(err) {
			t.Errorf("%s with a changed signature: %v", name, err)
		}
	}
}

func TestRefused(t *testing.T) {
	rs, es, other := signerOf(t, "rs", "RS256"), signerOf(t, "es", "ES256"), signerOf(t, "rs", "RS256")
	p := providerOf(t, rs, es)
	v := verifierOf(t, p.issuer())
	if _, err := v.Verify(t.Context(), rs.sign(t, nil, p.claims(nil))); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	der, err := x509.MarshalPKIXPublicKey(rs.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	secret := func(alg string) string { // signed with the public key as if it were a secret
		text := part(t, map[string]any{"alg": alg, "kid": "rs"}) + "." + part(t, p.claims(nil))
		mac := hmac.New(sha256.New, der)
		mac.Write([]byte(text))
		return text + "." + b64(mac.Sum(nil))
	}
	good := rs.sign(t, nil, p.claims(nil))
	body := strings.Split(good, ".")[1]
	for name, token := range map[string]string{
		"HS256 with the public key": secret("HS256"), "HS256 named RS256": secret("RS256"),
		"none":              part(t, map[string]any{"alg": "none"}) + "." + body + ".",
		"None":              part(t, map[string]any{"alg": "None", "kid": "rs"}) + "." + body + "." + strings.Split(good, ".")[2],
		"no algorithm":      rs.sign(t, map[string]any{"alg": nil}, p.claims(nil)),
		"another's key":     other.sign(t, nil, p.claims(nil)),
		"a key of its own":  other.sign(t, map[string]any{"jwk": other.jwk(), "jku": p.URL + "/keys", "x5c": []string{b64(der)}}, p.claims(nil)),
		"RSA for EC":        rs.sign(t, map[string]any{"kid": "es"}, p.claims(nil)),
		"EC named RSA":      es.sign(t, map[string]any{"alg": "RS256"}, p.claims(nil)),
		"another curve":     es.sign(t, map[string]any{"alg": "ES384"}, p.claims(nil)),
		"an unknown key":    rs.sign(t, map[string]any{"kid": "x"}, p.claims(nil)),
		"crit":              rs.sign(t, map[string]any{"crit": []string{"b64"}, "b64": false}, p.claims(nil)),
		"empty crit":        rs.sign(t, map[string]any{"crit": []string{}}, p.claims(nil)),
		"another type":      rs.sign(t, map[string]any{"typ": "logout+jwt"}, p.claims(nil)),
		"a number as kid":   rs.sign(t, map[string]any{"kid": 1}, p.claims(nil)),
		"another issuer":    rs.sign(t, nil, p.claims(map[string]any{"iss": p.URL + "/"})),
		"no issuer":         rs.sign(t, nil, p.claims(map[string]any{"iss": nil})),
		"a list of issuers": rs.sign(t, nil, p.claims(map[string]any{"iss": []string{p.URL}})),
		"case of iss":       rs.sign(t, nil, p.claims(map[string]any{"iss": nil, "ISS": p.URL})),
		"another audience":  rs.sign(t, nil, p.claims(map[string]any{"aud": "registry2"})),
		"no audience":       rs.sign(t, nil, p.claims(map[string]any{"aud": nil})),
		"audiences":         rs.sign(t, nil, p.claims(map[string]any{"aud": []any{"a", 1, nil}})),
		"expired":           rs.sign(t, nil, p.claims(map[string]any{"exp": now - 31})),
		"never ends":        rs.sign(t, nil, p.claims(map[string]any{"exp": nil})),
		"ends as text":      rs.sign(t, nil, p.claims(map[string]any{"exp": "9999999999"})),
		"ends too late":     rs.sign(t, nil, p.claims(map[string]any{"exp": 1e300})),
		"not yet":           rs.sign(t, nil, p.claims(map[string]any{"nbf": now + 90})),
		"nbf as text":       rs.sign(t, nil, p.claims(map[string]any{"nbf": "0"})),
		"from the future":   rs.sign(t, nil, p.claims(map[string]any{"iat": now + 90})),
		"no user":           rs.sign(t, nil, p.claims(map[string]any{"sub": nil})),
		"an empty user":     rs.sign(t, nil, p.claims(map[string]any{"sub": ""})),
		"a user as list":    rs.sign(t, nil, p.claims(map[string]any{"sub": []string{"alice"}})),
		"a star":            rs.sign(t, nil, p.claims(map[string]any{"sub": "*"})),
		"spaces":            rs.sign(t, nil, p.claims(map[string]any{"sub": "a\nb"})),
		"a long name":       rs.sign(t, nil, p.claims(map[string]any{"sub": strings.Repeat("a", 300)})),
		"four parts":        good + ".x", "two parts": body + "." + body, "nothing": "", "points": "..", "long": good + strings.Repeat("a", maxToken),
		"padding": good + "=", "a line": good[:len(good)-5] + "\n" + good[len(good)-5:],
		"no object": part(t, []int{1}) + "." + body + ".x", "two objects": b64([]byte(`{"alg":"RS256"}{}`)) + "." + body + ".x",
		"deep": b64([]byte(strings.Repeat(`{"a":`, 2000))) + "." + body + ".x",
	} {
		if who, err := v.Verify(t.Context(), token); !errdefs.IsPermission(err) {
			t.Errorf("%s: %+v, %v", name, who, err)
		} else if len(token) > 20 && strings.Contains(err.Error(), token[:20]) {
			t.Errorf("%s: the token is told: %v", name, err)
		}
	}
	// A key that is for one algorithm is for no other, and only those of the configuration are taken.
	i := p.issuer()
	i.Algorithms = nil
	ps := rs
	ps.algorithm = "PS256"
	if _, err := verifierOf(t, i).Verify(t.Context(), ps.sign(t, nil, p.claims(nil))); !errdefs.IsPermission(err) {
		t.Errorf("an algorithm that is not in the configuration: %v", err)
	}
	m := rs.jwk()
	m["alg"] = "RS256"
	b, _ := json.Marshal(map[string]any{"keys": []any{m}})
	keys, err := parseKeys(b)
	a, _ := algorithmOf("PS256")
	if err != nil || keys[0].fits("rs", a) {
		t.Errorf("a key for another algorithm fits: %v", err)
	}
}

func TestMatch(t *testing.T) {
	s := signerOf(t, "k", "EdDSA")
	p := providerOf(t, s)
	main := p.issuer()
	main.Match = []Condition{{"repository", []string{"acme/*"}}, {"/kubernetes.io/serviceaccount/name", []string{"builder"}}, {"groups", []string{"dev"}}, {"verified", []string{"true"}}}
	main.User = "{repository}@{/a~1b/1}"
	admin := p.issuer()
	admin.Name, admin.Match, admin.User, admin.Prefix = "admin", []Condition{{"repository", []string{"acme/root"}}}, "root", ""
	v := verifierOf(t, main, admin)
	good := map[string]any{"repository": "acme/app", "groups": []any{"x", 1, "dev"}, "verified": true, "a/b": []any{"x", 7},
		"kubernetes.io": map[string]any{"serviceaccount": map[string]any{"name": "builder"}}}
	for name, tc := range map[string]struct {
		over map[string]any
		want string
	}{
		"all": {nil, "test:acme/app@7"}, "another repository": {map[string]any{"repository": "evil/app"}, ""}, "below": {map[string]any{"repository": "acme/app/x"}, ""},
		"no group": {map[string]any{"groups": []any{"devs"}}, ""}, "an empty list": {map[string]any{"groups": []any{}}, ""}, "no claim": {map[string]any{"verified": nil}, ""},
		"false": {map[string]any{"verified": false}, ""}, "an object": {map[string]any{"groups": map[string]any{"dev": "dev"}}, ""}, "no name": {map[string]any{"a/b": []any{"x"}}, ""},
		"the second": {map[string]any{"repository": "acme/root", "groups": nil}, "root"},
	} {
		claims := p.claims(good)
		for k, c := range tc.over {
			if claims[k] = c; c == nil {
				delete(claims, k)
			}
		}
		who, err := v.Verify(t.Context(), s.sign(t, nil, claims))
		if who.Name != tc.want || (err != nil) != (tc.want == "") {
			t.Errorf("%s: %q, %v", name, who.Name, err)
		}
	}
	// Whoever is vouched for on other conditions is somebody else.
	who, err := v.Verify(t.Context(), s.sign(t, nil, p.claims(good)))
	if err != nil {
		t.Fatal(err)
	}
	main.Match[0].Patterns = []string{"other/*"}
	if verifierOf(t, main).Knows(who.Stamp) || v.Knows("") {
		t.Error("a stamp outlives its issuer")
	}
	if v.Claims("x") || v.Claims(s.sign(t, nil, p.claims(map[string]any{"iss": "camada"}))) || !v.Claims(s.sign(t, nil, p.claims(nil))) {
		t.Error("whose a token claims to be")
	}
}

// clock is one that is set by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) forward(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

func TestRotation(t *testing.T) {
	old, next := signerOf(t, "1", "ES256"), signerOf(t, "2", "ES256")
	p := providerOf(t, old)
	var faults atomic.Int32 // keys are fetched beside what is asked
	v, err := New([]Issuer{p.issuer()}, func(error) { faults.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	source := v.issuers[0].keys.(*keyServer)
	c := &clock{at: time.Now()}
	source.now = c.now
	try := func(s signer) error { _, err := v.Verify(t.Context(), s.sign(t, nil, p.claims(nil))); return err }
	set := func(down bool, keys ...signer) { p.mu.Lock(); defer p.mu.Unlock(); p.keys, p.down = keys, down }
	asked := func() int { p.mu.Lock(); defer p.mu.Unlock(); return p.asked }
	for range 3 {
		if err := try(old); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	// Tokens of keys that nobody has make nobody ask again and again.
	for range 5 {
		if err := try(next); !errdefs.IsPermission(err) {
			t.Errorf("a key that is not there: %v", err)
		}
	}
	if n := asked(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	set(false, old, next)
	c.forward(again)
	if err := try(next); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
	if err := try(old); err != nil {
		t.Errorf("the old key: %v", err)
	}
	// An issuer that does not answer is done without, for a day.
	set(true)
	c.forward(fresh + time.Second)
	if err := try(next); err != nil {
		t.Errorf("the issuer is down: %v", err)
	}
	waitIdle(source)
	c.forward(stale)
	if err := try(next); !errdefs.IsUnavailable(err) {
		t.Errorf("the issuer is down for a day: %v", err)
	}
	waitIdle(source)
	if faults.Load() != 2 || strings.Contains(try(next).Error(), p.URL) {
		t.Errorf("%d faults", faults.Load())
	}
	// A key that was taken away is good for an hour at most.
	set(false, next)
	c.forward(again)
	if err := try(old); !errdefs.IsPermission(err) {
		t.Errorf("a key that was taken away: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.forward(2 * stale)
	if _, err := v.Verify(ctx, next.sign(t, nil, p.claims(nil))); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("who went away: %v", err)
	}
	waitIdle(source)
}

// waitIdle waits until nobody asks.
func waitIdle(s *keyServer) {
	s.mu.Lock()
	busy := s.busy
	s.mu.Unlock()
	if busy != nil {
		<-busy
	}
}

func TestMetadata(t *testing.T) {
	s := signerOf(t, "k", "EdDSA")
	credential := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(credential, []byte("tell-nobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*provider, *Issuer)
		good   bool
	}{
		"another issuer's": {func(p *provider, _ *Issuer) {
			p.metadata = map[string]any{"issuer": "https://evil", "jwks_uri": p.URL + "/keys"}
		}, false},
		"no keys": {func(p *provider, _ *Issuer) { p.metadata = map[string]any{"issuer": p.URL} }, false},
		"keys in the open": {func(p *provider, _ *Issuer) {
			p.metadata = map[string]any{"issuer": p.URL, "jwks_uri": "http://192.0.2.1/"}
		}, false},
		"a file": {func(p *provider, _ *Issuer) {
			p.metadata = map[string]any{"issuer": p.URL, "jwks_uri": "file:///etc/passwd"}
		}, false},
		"moved": {func(p *provider, _ *Issuer) {
			p.metadata = map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/moved"}
		}, false},
		"big":             {func(p *provider, _ *Issuer) { p.metadata = map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/big"} }, false},
		"keys by URL":     {func(p *provider, i *Issuer) { p.metadata, i.Keys = map[string]any{}, p.URL+"/other" }, true},
		"a credential":    {func(_ *provider, i *Issuer) { i.Credential = credential }, true},
		"none to be read": {func(_ *provider, i *Issuer) { i.Credential = credential + "x" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := providerOf(t, s)
			i := p.issuer()
			tc.change(p, &i)
			if _, err := verifierOf(t, i).Verify(t.Context(), s.sign(t, nil, p.claims(nil))); (err == nil) != tc.good || err != nil && !errdefs.IsUnavailable(err) {
				t.Errorf("%v", err)
			}
			if want := "Bearer tell-nobody"; i.Credential == credential && p.shown != want {
				t.Errorf("shown is %q", p.shown)
			}
		})
	}
}

func TestKeyFile(t *testing.T) {
	old, next := signerOf(t, "1", "EdDSA"), signerOf(t, "2", "RS256")
	file := filepath.Join(t.TempDir(), "keys.json")
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := providerOf(t)
	i := p.issuer()
	i.Keys = file
	if _, err := New([]Issuer{i}, nil); err == nil {
		t.Error("a file that is not there is taken")
	}
	write(setOf(old))
	v := verifierOf(t, i)
	c := &clock{at: time.Now()}
	v.issuers[0].keys.(*keyFile).now = c.now
	try := func(s signer) error { _, err := v.Verify(t.Context(), s.sign(t, nil, p.claims(nil))); return err }
	if err := try(old); err != nil {
		t.Error(err)
	}
	write([]byte("{")) // half of it: what was there counts
	c.forward(look)
	if err := try(old); err != nil {
		t.Errorf("while the file is written: %v", err)
	}
	write(setOf(next))
	c.forward(look)
	if err := try(next); err != nil {
		t.Errorf("a new key: %v", err)
	}
	if err := try(old); !errdefs.IsPermission(err) {
		t.Errorf("the old key: %v", err)
	}
}

func TestKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	n := new(big.Int).Rsh(small.N, 1024)
	for name, keys := range map[string]string{
		"a small key": `{"kty":"RSA","n":"` + b64(n.Bytes()) + `","e":"AQAB"}`, "an exponent of one": `{"kty":"RSA","n":"` + b64(small.N.Bytes()) + `","e":"AQ"}`,
		"an even exponent": `{"kty":"RSA","n":"` + b64(small.N.Bytes()) + `","e":"BA"}`, "a point that is not on the curve": `{"kty":"EC","crv":"P-256","x":"` + b64(make([]byte, 32)) + `","y":"` + b64(make([]byte, 32)) + `"}`,
		"a short point": `{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`, "an unknown curve": `{"kty":"EC","crv":"secp256k1","x":"AQ","y":"AQ"}`, "a secret": `{"kty":"oct","k":"AQ"}`,
		"for secrets": `{"kty":"OKP","crv":"Ed25519","use":"enc","x":"` + b64(make([]byte, 32)) + `"}`, "X25519": `{"kty":"OKP","crv":"X25519","x":"` + b64(make([]byte, 32)) + `"}`, "no key": `1`,
		"to sign only": `{"kty":"OKP","crv":"Ed25519","key_ops":["sign"],"x":"` + b64(make([]byte, 32)) + `"}`,
	} {
		if k, err := parseKeys([]byte(`{"keys":[` + keys + `]}`)); !errdefs.IsInvalid(err) {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
	if _, err := parseKeys([]byte(`{"keys":[` + strings.Repeat("1,", maxKeys) + `1]}`)); !errdefs.IsLimit(err) {
		t.Errorf("many keys: %v", err)
	}
	if (algorithm{}).verify(elliptic.P256(), nil, nil) {
		t.Error("something that is no key verifies")
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("e30.e30.e30")
	f.Add(b64([]byte(`{"alg":"RS256","kid":"a","typ":"JWT"}`)) + "." + b64([]byte(`{"iss":"https://x","aud":["a"],"exp":1e9,"a":{"b":[1]}}`)) + ".AA")
	tmpl, err := parseTemplate("{sub}@{/a/b/0}")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := parseToken(s)
		if err != nil {
			if !errdefs.IsPermission(err) {
				t.Errorf("%v is of another class", err)
			}
			return
		}
		if s != string(tok.signed)+"."+b64(tok.signature) {
			t.Errorf("%q is not what was signed", s)
		}
		_, _ = tok.live(time.Unix(1e9, 0))
		tok.audiences()
		if name, err := tmpl.expand(tok.claims); err == nil && !strings.Contains(name, "@") {
			t.Errorf("name %q", name)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"RSA","n":"AA","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := parseKeys(data)
		if err != nil {
			return
		}
		for _, k := range keys {
			fits := 0
			for _, name := range algorithmNames() {
				if a, _ := algorithmOf(name); k.fits("", a) {
					fits++
					a.verify(k.public, []byte("a.b"), make([]byte, 64))
				}
			}
			if fits == 0 && k.algorithm == "" {
				t.Errorf("a key %T for nothing", k.public)
			}
		}
	})
}
