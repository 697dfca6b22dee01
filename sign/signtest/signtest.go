// Package signtest is a sigstore of one's own, for tests: an authority for certificates, logs of certificates and of signatures, and a
// time stamping authority, over HTTP and as a trusted root.
//
//	w := signtest.New(t)
//	w.Now = time.Now().Add(-time.Hour)     // what it takes the time to be
//	signer, cert := w.Certificate("me@example.com", "https://accounts.example.com")
//	root := w.TrustedRoot()                // trusted_root.json
package signtest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/sign/bundle"
	"github.com/camada/camada/sign/keys"
	"github.com/digitorus/timestamp"
	"golang.org/x/crypto/cryptobyte"
)

// World is the services.
type World struct {
	t testing.TB
	// Now is the time of the services; zero is that of the clock.
	Now time.Time
	// Root signed Authority, which signs certificates for ten minutes; Clock is of the time stamping authority.
	Root, Authority, ClockRoot, Clock        *x509.Certificate
	rootKey, authorityKey, clockKey, tsaRoot *ecdsa.PrivateKey
	// NoUsage leaves out what its certificates are for.
	NoUsage bool
	// LogKey and CTKey are of the logs.
	LogKey, CTKey *ecdsa.PrivateKey

	mu     sync.Mutex
	leaves [][]byte
}

// New makes the services.
func New(t testing.TB) *World {
	w := &World{t: t, LogKey: newKey(t), CTKey: newKey(t), rootKey: newKey(t), authorityKey: newKey(t), clockKey: newKey(t), tsaRoot: newKey(t)}
	w.Root = w.authority("root", nil, nil, w.rootKey)
	w.Authority = w.authority("authority", w.Root, w.rootKey, w.authorityKey)
	w.ClockRoot = w.authority("clock root", nil, nil, w.tsaRoot)
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	template := w.template("clock", 10*365*24*time.Hour)
	template.NotBefore, template.KeyUsage = w.Root.NotBefore, x509.KeyUsageDigitalSignature
	template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}
	w.Clock = w.create(template, w.ClockRoot, w.clockKey.Public(), w.tsaRoot)
	return w
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (w *World) now() time.Time {
	if w.Now.IsZero() {
		return time.Now()
	}
	return w.Now
}

func (w *World) template(name string, life time.Duration) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		w.t.Fatal(err)
	}
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"signtest"}},
		NotBefore: w.now().Add(-time.Minute), NotAfter: w.now().Add(life)}
}

func (w *World) create(template, parent *x509.Certificate, pub crypto.PublicKey, by *ecdsa.PrivateKey) *x509.Certificate {
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, by)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *World) authority(name string, parent *x509.Certificate, parentKey, key *ecdsa.PrivateKey) *x509.Certificate {
	template := w.template(name, 10*365*24*time.Hour)
	template.NotBefore = w.now().Add(-365 * 24 * time.Hour)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	if parentKey == nil {
		parentKey = key
	}
	return w.create(template, parent, key.Public(), parentKey)
}

// Certificate makes a key and its certificate for an identity, an address of mail or a URI, by the word of an issuer.
func (w *World) Certificate(identity, issuer string) (keys.Signer, *x509.Certificate) {
	key := newKey(w.t)
	s, err := keys.New(key)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, w.Certify(key.Public(), identity, issuer)
}

// LongKey is a certificate of an authority that nobody believes, whose RSA key is longer than anybody should have to compute with.
func (w *World) LongKey() *x509.Certificate {
	template := w.template("long", time.Hour)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	n := new(big.Int).Lsh(big.NewInt(1), 20_000)
	return w.create(template, w.Root, &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}, w.rootKey)
}

// Certify makes a certificate of a key, which is in the log of certificates.
func (w *World) Certify(pub crypto.PublicKey, identity, issuer string) *x509.Certificate {
	template := w.template("", 10*time.Minute)
	template.Subject = pkix.Name{}
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	if w.NoUsage {
		template.ExtKeyUsage = nil
	}
	if strings.Contains(identity, "://") {
		u, err := url.Parse(identity)
		if err != nil {
			w.t.Fatal(err)
		}
		template.URIs = []*url.URL{u}
	} else {
		template.EmailAddresses = []string{identity}
	}
	text, err := asn1.MarshalWithParams(issuer, "utf8")
	if err != nil {
		w.t.Fatal(err)
	}
	template.ExtraExtensions = []pkix.Extension{
		{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(issuer)},
		{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: text},
	}
	before := w.create(template, w.Authority, pub, w.authorityKey)
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: w.sct(before)})
	return w.create(template, w.Authority, pub, w.authorityKey)
}

// sct is the word of the log of certificates about one that does not have it yet (RFC 6962, 3.2 and 3.3).
func (w *World) sct(c *x509.Certificate) []byte {
	at := uint64(w.now().UnixMilli())
	issuer := sha256.Sum256(w.Authority.RawSubjectPublicKeyInfo)
	var signed cryptobyte.Builder
	signed.AddUint16(0)
	signed.AddUint64(at)
	signed.AddUint16(1)
	signed.AddBytes(issuer[:])
	signed.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(c.RawTBSCertificate) })
	signed.AddUint16(0)
	var list cryptobyte.Builder
	list.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8(0)
			b.AddBytes(w.id(&w.CTKey.PublicKey))
			b.AddUint64(at)
			b.AddUint16(0)
			b.AddUint16(0x0403) // SHA-256, ECDSA
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(w.sign(w.CTKey, signed.BytesOrPanic())) })
		})
	})
	der, err := asn1.Marshal(list.BytesOrPanic())
	if err != nil {
		w.t.Fatal(err)
	}
	return der
}

func (w *World) sign(key *ecdsa.PrivateKey, message []byte) []byte {
	sum := sha256.Sum256(message)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		w.t.Fatal(err)
	}
	return sig
}

func (w *World) der(pub *ecdsa.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		w.t.Fatal(err)
	}
	return der
}

func (w *World) id(pub *ecdsa.PublicKey) []byte {
	sum := sha256.Sum256(w.der(pub))
	return sum[:]
}

// Add implements sign.Log: the first version of the log.
func (w *World) Add(_ context.Context, e *bundle.Envelope, verifier []byte) (bundle.LogEntry, error) {
	envelope, err := json.Marshal(e)
	if err != nil {
		return bundle.LogEntry{}, err
	}
	type hash struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"value"`
	}
	sum := func(data []byte) hash {
		s := sha256.Sum256(data)
		return hash{"sha256", hex.EncodeToString(s[:])}
	}
	body, err := json.Marshal(map[string]any{"apiVersion": "0.0.1", "kind": "dsse", "spec": map[string]any{
		"envelopeHash": sum(envelope), "payloadHash": sum(e.Payload),
		"signatures": []map[string]any{{"signature": e.Signatures[0].Sig, "verifier": verifier}},
	}})
	if err != nil {
		return bundle.LogEntry{}, err
	}
	return w.AddBody(bundle.Kind{Kind: "dsse", Version: "0.0.1"}, body), nil
}

// AddBody puts an entry into the log as it is.
func (w *World) AddBody(kind bundle.Kind, body []byte) bundle.LogEntry {
	w.mu.Lock()
	defer w.mu.Unlock()
	leaf := sha256.Sum256(append([]byte{0}, body...))
	w.leaves = append(w.leaves, leaf[:])
	n := len(w.leaves)
	root := treeHash(w.leaves)
	text := fmt.Sprintf("log.test - 42\n%d\n%s\n", n, base64.StdEncoding.EncodeToString(root))
	sig := binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(w.id(&w.LogKey.PublicKey)))
	sig = append(sig, w.sign(w.LogKey, []byte(text))...)
	at := w.now().Unix()
	promise := fmt.Sprintf(`{"body":"%s","integratedTime":%d,"logID":"%x","logIndex":%d}`, base64.StdEncoding.EncodeToString(body), at, w.id(&w.LogKey.PublicKey), n-1)
	return bundle.LogEntry{
		Index: bundle.Int(n - 1), LogID: bundle.LogID{KeyID: w.id(&w.LogKey.PublicKey)}, Kind: kind, Time: bundle.Int(at),
		Promise: &bundle.Promise{Signature: w.sign(w.LogKey, []byte(promise))},
		Proof: &bundle.InclusionProof{Index: bundle.Int(n - 1), Root: root, Size: bundle.Int(n), Hashes: path(n-1, w.leaves),
			Checkpoint: bundle.Checkpoint{Envelope: text + "\n— log.test " + base64.StdEncoding.EncodeToString(sig) + "\n"}},
		Body: body,
	}
}

// split is the largest power of two below n (RFC 6962, 2.1).
func split(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

func treeHash(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := split(len(leaves))
	sum := sha256.Sum256(append(append([]byte{1}, treeHash(leaves[:k])...), treeHash(leaves[k:])...))
	return sum[:]
}

func path(m int, leaves [][]byte) [][]byte {
	if len(leaves) == 1 {
		return nil
	}
	if k := split(len(leaves)); m < k {
		return append(path(m, leaves[:k]), treeHash(leaves[k:]))
	} else {
		return append(path(m-k, leaves[k:]), treeHash(leaves[:k]))
	}
}

// Stamp implements sign.Clock.
func (w *World) Stamp(_ context.Context, sig []byte) ([]byte, error) {
	sum := sha256.Sum256(sig)
	return w.answer(&timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: sum[:]})
}

func (w *World) answer(req *timestamp.Request) ([]byte, error) {
	ts := timestamp.Timestamp{HashAlgorithm: req.HashAlgorithm, HashedMessage: req.HashedMessage, Time: w.now(), Nonce: req.Nonce,
		Policy: asn1.ObjectIdentifier{1, 2, 3, 4}, AddTSACertificate: true}
	return ts.CreateResponseWithOpts(w.Clock, w.clockKey, crypto.SHA256)
}

// TrustedRoot is a trusted_root.json that believes all of it.
func (w *World) TrustedRoot() []byte {
	start := w.now().Add(-24 * time.Hour).UTC().Format(time.RFC3339)
	period := map[string]any{"start": start}
	chain := func(certs ...*x509.Certificate) map[string]any {
		var list []map[string]any
		for _, c := range certs {
			list = append(list, map[string]any{"rawBytes": c.Raw})
		}
		return map[string]any{"certificates": list}
	}
	log := func(key *ecdsa.PublicKey) []map[string]any {
		return []map[string]any{{"baseUrl": "https://log.test", "hashAlgorithm": "SHA2_256", "logId": map[string]any{"keyId": w.id(key)},
			"publicKey": map[string]any{"rawBytes": w.der(key), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": period}}}
	}
	subject := map[string]any{"organization": "signtest", "commonName": "signtest"}
	data, err := json.Marshal(map[string]any{
		"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		"tlogs":     log(&w.LogKey.PublicKey), "ctlogs": log(&w.CTKey.PublicKey),
		"certificateAuthorities": []map[string]any{{"subject": subject, "uri": "https://fulcio.test", "certChain": chain(w.Authority, w.Root), "validFor": period}},
		"timestampAuthorities":   []map[string]any{{"subject": subject, "uri": "https://tsa.test", "certChain": chain(w.Clock, w.ClockRoot), "validFor": period}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// PEM writes certificates as files have them.
func PEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}
