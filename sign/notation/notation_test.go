package notation_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/notation"
	"github.com/camada/camada/sign/signtest"
	"github.com/camada/camada/sign/timestamp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var subject = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 5}

// signer is a key with its certificate, which signs itself.
type signer struct {
	key  crypto.Signer
	cert *x509.Certificate
	alg  string
	cose int64
	hash crypto.Hash
}

func newSigner(t testing.TB, kind string, change func(*x509.Certificate)) signer {
	t.Helper()
	s := signer{alg: kind}
	var err error
	switch kind {
	case "ES256":
		s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		s.cose, s.hash = -7, crypto.SHA256
	case "ES384":
		s.key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		s.cose, s.hash = -35, crypto.SHA384
	case "PS256":
		s.key, err = rsa.GenerateKey(rand.Reader, 2048)
		s.cose, s.hash = -37, crypto.SHA256
	}
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signer", Organization: []string{"acme"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, s.key.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	if s.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s signer) sign(t testing.TB, message []byte) []byte {
	t.Helper()
	h := s.hash.New()
	h.Write(message)
	if key, ok := s.key.(*rsa.PrivateKey); ok {
		sig, err := rsa.SignPSS(rand.Reader, key, s.hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	der, err := s.key.Sign(rand.Reader, h.Sum(nil), s.hash)
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	n := (s.key.Public().(*ecdsa.PublicKey).Curve.Params().BitSize + 7) / 8
	return append(rs.R.FillBytes(make([]byte, n)), rs.S.FillBytes(make([]byte, n))...)
}

func payload(t testing.TB, d ocispec.Descriptor) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{"targetArtifact": d})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// headers are what the envelope says of itself.
type headers map[string]any

func usual(s signer) headers {
	return headers{"alg": s.alg, "cty": "application/vnd.cncf.notary.payload.v1+json", "crit": []string{"io.cncf.notary.signingScheme"},
		"io.cncf.notary.signingScheme": "notary.x509", "io.cncf.notary.signingTime": time.Now().Format(time.RFC3339)}
}

// jws makes an envelope. stamp may be nil.
func jws(t testing.TB, s signer, h headers, data []byte, stamp func(sig []byte) []byte) []byte {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	head, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	sig := s.sign(t, []byte(b64(head)+"."+b64(data)))
	header := map[string]any{"x5c": [][]byte{s.cert.Raw}, "io.cncf.notary.signingAgent": "test"}
	if stamp != nil {
		header["io.cncf.notary.timestampSignature"] = stamp(sig)
	}
	out, err := json.Marshal(map[string]any{"payload": b64(data), "protected": b64(head), "signature": b64(sig), "header": header})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// head writes the head of a value of CBOR.
func head(major byte, n int) []byte {
	if n < 24 {
		return []byte{major<<5 | byte(n)}
	}
	return binary.BigEndian.AppendUint32([]byte{major<<5 | 26}, uint32(n))
}

func text(s string) []byte   { return append(head(3, len(s)), s...) }
func octets(b []byte) []byte { return append(head(2, len(b)), b...) }

func join(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// cose makes an envelope, that expires when expiry is not 0.
func cose(t testing.TB, s signer, data []byte, expiry int64) []byte {
	t.Helper()
	n, crit, more := 4, join(head(4, 1), text("io.cncf.notary.signingScheme")), []byte(nil)
	if expiry != 0 {
		n, crit = 5, join(head(4, 2), text("io.cncf.notary.signingScheme"), text("io.cncf.notary.expiry"))
		more = join(text("io.cncf.notary.expiry"), head(6, 1), head(0, int(expiry)))
	}
	protected := join(head(5, n), head(0, 1), head(1, int(-1-s.cose)), head(0, 2), crit, head(0, 3), text("application/vnd.cncf.notary.payload.v1+json"),
		text("io.cncf.notary.signingScheme"), text("notary.x509"), more)
	sig := s.sign(t, join(head(4, 4), text("Signature1"), shortest(protected), shortest(nil), shortest(data)))
	unprotected := join(head(5, 1), []byte{24, 33}, head(4, 1), octets(s.cert.Raw))
	return join([]byte{0xd2}, head(4, 4), octets(protected), unprotected, octets(data), octets(sig))
}

// shortest is a byte string as what is signed has it.
func shortest(b []byte) []byte {
	switch n := len(b); {
	case n < 24:
		return append([]byte{0x40 | byte(n)}, b...)
	case n < 256:
		return append([]byte{0x58, byte(n)}, b...)
	default:
		return append(binary.BigEndian.AppendUint16([]byte{0x59}, uint16(n)), b...)
	}
}

func believe(s signer) *notation.Trust {
	return &notation.Trust{Authorities: []*x509.Certificate{s.cert}}
}

const typeJWS, typeCOSE = "application/jose+json", "application/cose"

func TestHolds(t *testing.T) {
	for _, kind := range []string{"ES256", "ES384", "PS256"} {
		s := newSigner(t, kind, nil)
		for mediaType, data := range map[string][]byte{typeJWS: jws(t, s, usual(s), payload(t, subject), nil), typeCOSE: cose(t, s, payload(t, subject), 0)} {
			got, err := notation.Verify(data, mediaType, subject, believe(s), time.Now())
			if err != nil {
				t.Errorf("%s %s: %v", kind, mediaType, err)
				continue
			}
			if got.Certificate.Subject.CommonName != "signer" || !got.Time.IsZero() {
				t.Errorf("%+v", got)
			}
			by := believe(s)
			by.Subjects = []string{"CN=signer,O=acme"}
			if _, err := notation.Verify(data, mediaType, subject, by, time.Now()); err != nil {
				t.Error(err)
			}
			by.Subjects = []string{"CN=other,O=acme"}
			if _, err := notation.Verify(data, mediaType, subject, by, time.Now()); !errdefs.IsPermission(err) {
				t.Errorf("another signer: %v", err)
			}
			other := subject
			other.Digest = digest.FromString("other")
			if _, err := notation.Verify(data, mediaType, other, by, time.Now()); !errdefs.IsPermission(err) {
				t.Errorf("another image: %v", err)
			}
			if _, err := notation.Verify(data, mediaType, subject, believe(newSigner(t, "ES256", nil)), time.Now()); !errdefs.IsPermission(err) {
				t.Errorf("a certificate that is not believed: %v", err)
			}
			if _, err := notation.Verify(data, mediaType, subject, believe(s), time.Now().Add(2*time.Hour)); !errdefs.IsPermission(err) {
				t.Errorf("an expired certificate: %v", err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	s := newSigner(t, "ES256", nil)
	with := func(change func(headers)) []byte {
		h := usual(s)
		change(h)
		return jws(t, s, h, payload(t, subject), nil)
	}
	smaller := subject
	smaller.Size--
	for name, c := range map[string]struct {
		data  []byte
		words string
	}{
		"algorithm":    {with(func(h headers) { h["alg"] = "PS256" }), "is for"},
		"no algorithm": {with(func(h headers) { h["alg"] = "none" }), "is for"},
		"unknown header": {with(func(h headers) {
			h["crit"] = []string{"io.cncf.notary.signingScheme", "io.cncf.notary.verificationPlugin"}
		}), "must be understood"},
		"scheme":       {with(func(h headers) { h["io.cncf.notary.signingScheme"] = "x" }), "the scheme"},
		"not critical": {with(func(h headers) { delete(h, "crit") }), "critical"},
		"content":      {with(func(h headers) { h["cty"] = "text/plain" }), "of the kind"},
		"expired": {with(func(h headers) {
			h["crit"] = []string{"io.cncf.notary.signingScheme", "io.cncf.notary.expiry"}
			h["io.cncf.notary.expiry"] = "2020-01-01T00:00:00Z"
		}), "expired"},
		"hidden expiry": {with(func(h headers) { h["io.cncf.notary.expiry"] = "2020-01-01T00:00:00Z" }), "critical"},
		"signing service": {with(func(h headers) {
			h["crit"] = []string{"io.cncf.notary.signingScheme", "io.cncf.notary.authenticSigningTime"}
			h["io.cncf.notary.signingScheme"] = "notary.x509.signingAuthority"
			h["io.cncf.notary.authenticSigningTime"] = time.Now()
		}), "no certificate is believed"},
		"size":      {jws(t, s, usual(s), payload(t, smaller), nil), "something else"},
		"signature": {[]byte(strings.Replace(string(with(func(headers) {})), `"signature":"`, `"signature":"AAAA`, 1)), "not one of"},
	} {
		if _, err := notation.Verify(c.data, typeJWS, subject, believe(s), time.Now()); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %q", name, err, c.words)
		}
	}
	if _, err := notation.Verify(cose(t, s, payload(t, subject), 1_600_000_000), typeCOSE, subject, believe(s), time.Now()); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("COSE, expired: %v", err)
	}
	var e map[string]any
	if err := json.Unmarshal(with(func(headers) {}), &e); err != nil {
		t.Fatal(err)
	}
	e["header"] = map[string]any{"x5c": [][]byte{s.cert.Raw, signtest.New(t).LongKey().Raw}}
	long, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := notation.Verify(long, typeJWS, subject, believe(s), time.Now()); !errdefs.IsLimit(err) {
		t.Errorf("an authority with a key that takes minutes: %v", err)
	}
	for name, change := range map[string]func(*x509.Certificate){
		"authority":   func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true },
		"other usage": func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) },
		"no usage":    func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement },
	} {
		s := newSigner(t, "ES256", change)
		if _, err := notation.Verify(jws(t, s, usual(s), payload(t, subject), nil), typeJWS, subject, believe(s), time.Now()); !errdefs.IsPermission(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTime has a certificate that ended, and a signature that was seen while it was good.
func TestTime(t *testing.T) {
	w := signtest.New(t)
	w.Now = time.Now().Add(-30 * time.Second).Truncate(time.Second)
	s := newSigner(t, "ES256", nil)
	stamp := func(sig []byte) []byte {
		answer, err := w.Stamp(t.Context(), sig)
		if err != nil {
			t.Fatal(err)
		}
		var res struct {
			Status asn1.RawValue
			Token  asn1.RawValue
		}
		if _, err := asn1.Unmarshal(answer, &res); err != nil {
			t.Fatal(err)
		}
		return res.Token.FullBytes
	}
	data := jws(t, s, usual(s), payload(t, subject), stamp)
	later := time.Now().Add(24 * time.Hour)
	by := believe(s)
	if _, err := notation.Verify(data, typeJWS, subject, by, later); !errdefs.IsPermission(err) {
		t.Errorf("nobody who tells the time is believed: %v", err)
	}
	by.Timestamps = []timestamp.Authority{{Roots: []*x509.Certificate{w.ClockRoot}}}
	got, err := notation.Verify(data, typeJWS, subject, by, later)
	if err != nil || !got.Time.Equal(w.Now) {
		t.Errorf("%+v, %v", got, err)
	}
	bad := jws(t, s, usual(s), payload(t, subject), func([]byte) []byte { return stamp([]byte("another signature")) })
	if _, err := notation.Verify(bad, typeJWS, subject, by, time.Now()); !errdefs.IsPermission(err) {
		t.Errorf("the time of another signature: %v", err)
	}
}

func FuzzEnvelope(f *testing.F) {
	s := newSigner(f, "ES256", nil)
	other := ocispec.Descriptor{MediaType: subject.MediaType, Digest: digest.FromString("other"), Size: 5}
	f.Add(jws(f, s, usual(s), payload(f, other), nil))
	f.Add(cose(f, s, payload(f, other), 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, mediaType := range []string{typeJWS, typeCOSE} {
			if _, err := notation.Verify(data, mediaType, subject, believe(s), time.Now()); err == nil {
				t.Error("what nobody signed holds")
			}
		}
	})
}
