package sign_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/sign"
	"github.com/camada/camada/sign/bundle"
	"github.com/camada/camada/sign/keys"
	"github.com/camada/camada/sign/notation"
	"github.com/camada/camada/sign/signtest"
	"github.com/camada/camada/sign/trust"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	me     = "me@example.com"
	issuer = "https://accounts.example.com"
)

// place is a store with an image, and what is listed as about it.
type place struct {
	*local.Store
	t     *testing.T
	image ocispec.Descriptor
	about []ocispec.Descriptor
	tags  map[string]ocispec.Descriptor
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{Store: local.Open(t.TempDir(), local.Options{}), t: t, tags: map[string]ocispec.Descriptor{}}
	p.image = p.newImage("an image")
	return p
}

func (p *place) newImage(say string) ocispec.Descriptor {
	p.t.Helper()
	d, err := image.Write(p.t.Context(), p.Store, image.Config{Image: ocispec.Image{Author: say, Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}}, nil, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *place) Referrers(_ context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	if d != p.image.Digest {
		return nil, nil
	}
	return p.about, nil
}

func (p *place) Tagged(_ context.Context, tag string) (ocispec.Descriptor, error) {
	if d, ok := p.tags[tag]; ok {
		return d, nil
	}
	return ocispec.Descriptor{}, errdefs.NotFound("no tag %s", tag)
}

// attach attaches a bundle to the image.
func (p *place) attach(data []byte, predicateType string) {
	p.t.Helper()
	d, err := sign.Attach(p.t.Context(), p.Store, p.image, data, predicateType, time.Unix(1, 0))
	if err != nil {
		p.t.Fatal(err)
	}
	p.about = append(p.about, d)
}

// sign makes a signature of a manifest.
func (p *place) sign(m sign.Maker, d digest.Digest, predicateType, predicate string) []byte {
	p.t.Helper()
	st, err := sign.Statement("", d, predicateType, []byte(predicate))
	if err != nil {
		p.t.Fatal(err)
	}
	data, err := m.Bundle(p.t.Context(), st)
	if err != nil {
		p.t.Fatal(err)
	}
	return data
}

func newKey(t *testing.T, kind string) keys.Signer {
	t.Helper()
	k, err := keys.Generate(kind)
	if err != nil {
		t.Fatal(err)
	}
	s, err := keys.New(k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantRefused wants all signatures refused, the first for a reason with these words.
func (p *place) wantRefused(req sign.Requirements, words string) {
	p.t.Helper()
	r, err := sign.Look(p.t.Context(), p, p.image, req)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(r.Verified) > 0 || len(r.Refused) == 0 {
		p.t.Fatalf("verified %+v, refused %+v", r.Verified, r.Refused)
	}
	if !strings.Contains(r.Refused[0].Reason, words) {
		p.t.Errorf("refused with %q, want %q", r.Refused[0].Reason, words)
	}
	if _, err := sign.Verify(p.t.Context(), p, p.image, req); !errdefs.IsPermission(err) {
		p.t.Errorf("Verify = %v", err)
	}
}

// wantHeld wants one signature that holds.
func (p *place) wantHeld(req sign.Requirements) sign.Verified {
	p.t.Helper()
	v, err := sign.Verify(p.t.Context(), p, p.image, req)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(v) != 1 || v[0].Digest != p.image.Digest {
		p.t.Fatalf("verified %+v", v)
	}
	return v[0]
}

func TestKeys(t *testing.T) {
	for _, kind := range keys.Kinds() {
		if kind == keys.RSA4096 {
			continue // it takes long to make, and is RSA like the other
		}
		p := newPlace(t)
		k := newKey(t, kind)
		p.attach(p.sign(sign.Maker{Signer: k}, p.image.Digest, sign.PredicateSignature, "{}"), sign.PredicateSignature)
		v := p.wantHeld(sign.Requirements{Keys: []*keys.Public{newKey(t, keys.P256).Public(), k.Public()}})
		if v.KeyID != k.Public().ID() || v.Format != sign.FormatBundle || v.PredicateType != sign.PredicateSignature {
			t.Errorf("%s: %+v", kind, v)
		}
		p.wantRefused(sign.Requirements{Keys: []*keys.Public{newKey(t, kind).Public()}}, "another key")
	}
}

func TestStripped(t *testing.T) {
	p := newPlace(t)
	req := sign.Requirements{Keys: []*keys.Public{newKey(t, keys.P256).Public()}}
	if _, err := sign.Verify(t.Context(), p, p.image, req); !errdefs.IsNotFound(err) {
		t.Errorf("Verify = %v", err)
	}
}

// fenced is a place that does not give out some blobs.
type fenced struct {
	*place
	closed func(ocispec.Descriptor) bool
}

func (f fenced) Open(ctx context.Context, d ocispec.Descriptor) (content.Reader, error) {
	if f.closed(d) {
		return nil, errdefs.Permission("not for you")
	}
	return f.place.Open(ctx, d)
}

// TestDenied has signatures that are listed, and not given out: whether one holds is not known, which is not the same as that none does.
func TestDenied(t *testing.T) {
	p := newPlace(t)
	k := newKey(t, keys.P256)
	p.attach(p.sign(sign.Maker{Signer: k}, p.image.Digest, sign.PredicateSignature, "{}"), sign.PredicateSignature)
	req := sign.Requirements{Keys: []*keys.Public{k.Public()}}
	for what, closed := range map[string]func(ocispec.Descriptor) bool{
		"the manifest":  func(d ocispec.Descriptor) bool { return d.Digest == p.about[0].Digest },
		"the signature": func(d ocispec.Descriptor) bool { return d.Digest != p.about[0].Digest },
	} {
		if _, err := sign.Verify(t.Context(), fenced{p, closed}, p.image, req); !errdefs.IsUnavailable(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := sign.Verify(t.Context(), fenced{p, func(ocispec.Descriptor) bool { return false }}, p.image, req); err != nil {
		t.Error(err)
	}
}

// edit changes a bundle.
func edit(t *testing.T, data []byte, f func(*bundle.Bundle)) []byte {
	t.Helper()
	b, err := bundle.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	f(b)
	if data, err = b.Encode(); err != nil {
		t.Fatal(err)
	}
	return data
}

// TestForged attaches what somebody could who has no key.
func TestForged(t *testing.T) {
	k := newKey(t, keys.P256)
	m := sign.Maker{Signer: k}
	req := sign.Requirements{Keys: []*keys.Public{k.Public()}}
	for name, c := range map[string]struct {
		make  func(p *place)
		words string
	}{
		"tampered signature": {func(p *place) {
			p.attach(edit(t, p.sign(m, p.image.Digest, sign.PredicateSignature, "{}"), func(b *bundle.Bundle) { b.Envelope.Signatures[0].Sig[10] ^= 1 }), sign.PredicateSignature)
		}, "another key"},
		"tampered statement": {func(p *place) {
			p.attach(edit(t, p.sign(m, p.newImage("other").Digest, sign.PredicateSignature, "{}"), func(b *bundle.Bundle) {
				b.Envelope.Payload = bytes.ReplaceAll(b.Envelope.Payload, []byte(p.newImage("other").Digest.Encoded()), []byte(p.image.Digest.Encoded()))
			}), sign.PredicateSignature)
		}, "another key"},
		"replayed": {func(p *place) {
			p.attach(p.sign(m, p.newImage("other").Digest, sign.PredicateSignature, "{}"), sign.PredicateSignature)
		}, "of another image"},
		"attestation as signature": {func(p *place) {
			p.attach(p.sign(m, p.image.Digest, "https://example.com/bad/v1", "{}"), sign.PredicateSignature)
		}, "claims to say"},
		"attestation without annotation": {func(p *place) {
			p.attach(p.sign(m, p.image.Digest, "https://example.com/bad/v1", "{}"), "")
		}, "and https://sigstore.dev/cosign/sign/v1 is asked for"},
		"type of payload": {func(p *place) {
			e := &bundle.Envelope{PayloadType: "text/plain", Payload: []byte("{}")}
			sig, err := k.Sign(t.Context(), e.Signed())
			if err != nil {
				t.Fatal(err)
			}
			e.Signatures = []bundle.Signature{{Sig: sig}}
			b := &bundle.Bundle{MediaType: bundle.MediaType, Envelope: e}
			b.Material.PublicKey = &bundle.PublicKey{}
			data, err := b.Encode()
			if err != nil {
				t.Fatal(err)
			}
			p.attach(data, sign.PredicateSignature)
		}, "no statement"},
		"no bundle": {func(p *place) { p.attach([]byte("{"), sign.PredicateSignature) }, "read the bundle"},
		"too big": {func(p *place) {
			p.attach(p.sign(m, p.image.Digest, sign.PredicateSignature, `{"x":"`+strings.Repeat("x", 1<<20)+`"}`), sign.PredicateSignature)
		}, "bytes, more than"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			c.make(p)
			p.wantRefused(req, c.words)
			// A good one beside it still counts.
			p.attach(p.sign(m, p.image.Digest, sign.PredicateSignature, "{}"), sign.PredicateSignature)
			p.wantHeld(req)
		})
	}
}

// TestListedWrong has a registry that lists the signature of another image.
func TestListedWrong(t *testing.T) {
	p := newPlace(t)
	k := newKey(t, keys.P256)
	other := p.newImage("other")
	d, err := sign.Attach(t.Context(), p.Store, other, p.sign(sign.Maker{Signer: k}, p.image.Digest, sign.PredicateSignature, "{}"), sign.PredicateSignature, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	p.about = append(p.about, d)
	if _, err := sign.Verify(t.Context(), p, p.image, sign.Requirements{Keys: []*keys.Public{k.Public()}}); !errdefs.IsNotFound(err) {
		t.Errorf("Verify = %v", err)
	}
}

func TestMany(t *testing.T) {
	p := newPlace(t)
	k := newKey(t, keys.P256)
	data := p.sign(sign.Maker{Signer: newKey(t, keys.P256)}, p.image.Digest, sign.PredicateSignature, "{}")
	for range sign.MaxSignatures + 5 {
		p.attach(data, sign.PredicateSignature)
	}
	r, err := sign.Look(t.Context(), p, p.image, sign.Requirements{Keys: []*keys.Public{k.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Refused) != sign.MaxSignatures || r.More != 5 {
		t.Errorf("refused %d, more %d", len(r.Refused), r.More)
	}
}

func TestAttestation(t *testing.T) {
	p := newPlace(t)
	k := newKey(t, keys.P384)
	m := sign.Maker{Signer: k}
	for _, typ := range []string{"https://slsa.dev/provenance/v1", "https://spdx.dev/Document"} {
		p.attach(p.sign(m, p.image.Digest, typ, `{"of":"`+typ+`"}`), typ)
	}
	req := sign.Requirements{Keys: []*keys.Public{k.Public()}}
	if _, err := sign.Verify(t.Context(), p, p.image, req); !errdefs.IsNotFound(err) {
		t.Errorf("an attestation is a signature: %v", err)
	}
	req.Predicate = "https://spdx.dev/Document"
	v := p.wantHeld(req)
	if string(v.Statement.Predicate) != `{"of":"https://spdx.dev/Document"}` {
		t.Errorf("predicate %s", v.Statement.Predicate)
	}
}

// TestReason has an envelope of COSE with a header that would clear the screen of whoever reads why it is refused.
func TestReason(t *testing.T) {
	p := newPlace(t)
	blob, err := content.WriteBlob(t.Context(), p.Store, []byte("\xd2\x84\x49\xa1\x02\x81\x81\x64\x1b[2J\xa0\x40\x40"))
	if err != nil {
		t.Fatal(err)
	}
	blob.MediaType = "application/cose"
	d, err := image.WriteArtifact(t.Context(), p.Store, image.Artifact{Type: notation.ArtifactType, Subject: &p.image, Layers: []ocispec.Descriptor{blob}})
	if err != nil {
		t.Fatal(err)
	}
	p.about = append(p.about, d)
	r, err := sign.Look(t.Context(), p, p.image, sign.Requirements{Notation: &notation.Trust{}})
	if err != nil || len(r.Refused) != 1 || !strings.Contains(r.Refused[0].Reason, "[2J") {
		t.Fatalf("%+v, %v", r, err)
	}
	if strings.Contains(r.Refused[0].Reason, "\x1b") || strings.Contains(r.Err().Error(), "\x1b") {
		t.Errorf("%q", r.Refused[0].Reason)
	}
}

// TestNotationIsNoAttestation has a signature of notation in a manifest that is listed as an attestation.
func TestNotationIsNoAttestation(t *testing.T) {
	p := newPlace(t)
	blob, err := content.WriteBlob(t.Context(), p.Store, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	blob.MediaType = "application/jose+json"
	d, err := image.WriteArtifact(t.Context(), p.Store, image.Artifact{Type: bundle.MediaType, Subject: &p.image, Layers: []ocispec.Descriptor{blob}})
	if err != nil {
		t.Fatal(err)
	}
	p.about = append(p.about, d)
	req := sign.Requirements{Keys: []*keys.Public{newKey(t, keys.P256).Public()}, Notation: &notation.Trust{}}
	p.wantRefused(req, "") // as a signature it is looked at
	req.Predicate = "https://slsa.dev/provenance/v1"
	if r, err := sign.Look(t.Context(), p, p.image, req); err != nil || len(r.Verified)+len(r.Refused) > 0 {
		t.Errorf("a signature is looked at as an attestation: %+v, %v", r, err)
	}
}

// certified makes a signature with a certificate of the world.
func (p *place) certified(w *signtest.World, who, by string) []byte {
	p.t.Helper()
	s, c := w.Certificate(who, by)
	return p.sign(sign.Maker{Signer: s, Certificates: []*x509.Certificate{c}, Logs: []sign.Log{w}, Clocks: []sign.Clock{w}}, p.image.Digest, sign.PredicateSignature, "{}")
}

func believe(t *testing.T, w *signtest.World) *trust.Root {
	t.Helper()
	root, err := trust.Parse(w.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestKeyless signs an hour ago, with certificates that were good for ten minutes.
func TestKeyless(t *testing.T) {
	w := signtest.New(t)
	w.Now = time.Now().Add(-time.Hour).Truncate(time.Second)
	root := believe(t, w)
	p := newPlace(t)
	for range 5 { // so that the log has more than one entry
		p.certified(w, me, issuer)
	}
	req := func(id sign.Identity) sign.Requirements {
		return sign.Requirements{Identities: []sign.Identity{id}, Trust: root}
	}
	p.attach(p.certified(w, me, issuer), sign.PredicateSignature)
	v := p.wantHeld(req(sign.Identity{Subject: me, Issuer: issuer}))
	if v.Identity != me || v.Issuer != issuer || !v.Time.Equal(w.Now) || !v.Logged {
		t.Errorf("%+v", v)
	}
	p.wantHeld(req(sign.Identity{SubjectRegexp: "^me@", IssuerRegexp: "example[.]com$"}))
	for _, id := range []sign.Identity{
		{Subject: "you@example.com", Issuer: issuer}, {Subject: me, Issuer: "https://evil.example.com"}, {SubjectRegexp: "^you@"}, {Subject: me, IssuerRegexp: "^http://"},
	} {
		p.wantRefused(req(id), "another identity: "+me)
	}
	for _, id := range []sign.Identity{{Issuer: issuer}, {SubjectRegexp: "("}} {
		if _, err := sign.Look(t.Context(), p, p.image, req(id)); !errdefs.IsInvalid(err) {
			t.Errorf("%+v: %v", id, err)
		}
	}
	p.wantRefused(sign.Requirements{Keys: []*keys.Public{newKey(t, keys.P256).Public()}}, "with a certificate")
}

// TestKeylessForged has certificates, logs and times that do not hold.
func TestKeylessForged(t *testing.T) {
	w, evil := signtest.New(t), signtest.New(t)
	w.Now = time.Now().Add(-time.Hour).Truncate(time.Second)
	root := believe(t, w)
	for name, c := range map[string]struct {
		make  func(p *place) []byte
		root  func(r *trust.Root)
		words string
	}{
		"authority of another": {func(p *place) []byte { return p.certified(evil, me, issuer) }, nil, "no log is trusted"},
		"authority of another, our logs": {func(p *place) []byte {
			s, cert := evil.Certificate(me, issuer)
			return p.sign(sign.Maker{Signer: s, Certificates: []*x509.Certificate{cert}, Logs: []sign.Log{w}, Clocks: []sign.Clock{w}}, p.image.Digest, sign.PredicateSignature, "{}")
		}, nil, "the certificate at"},
		"no log": {func(p *place) []byte {
			return edit(t, p.certified(w, me, issuer), func(b *bundle.Bundle) { b.Material.Entries = nil })
		}, nil, "no entry of a log"},
		"entry of another signature": {func(p *place) []byte {
			other := p.certified(w, me, issuer)
			return edit(t, p.certified(w, me, issuer), func(b *bundle.Bundle) {
				edit(t, other, func(o *bundle.Bundle) { b.Material.Entries = o.Material.Entries })
			})
		}, nil, "about another signature"},
		"time in the log": {func(p *place) []byte {
			return edit(t, p.certified(w, me, issuer), func(b *bundle.Bundle) { b.Material.Entries[0].Time++ })
		}, nil, "promise"},
		"neither promise nor proof": {func(p *place) []byte {
			return edit(t, p.certified(w, me, issuer), func(b *bundle.Bundle) { b.Material.Entries[0].Promise, b.Material.Entries[0].Proof = nil, nil })
		}, nil, "neither"},
		"proof": {func(p *place) []byte {
			p.certified(w, me, issuer)
			return edit(t, p.certified(w, me, issuer), func(b *bundle.Bundle) { b.Material.Entries[0].Proof.Hashes[0][0] ^= 1 })
		}, nil, "another tree"},
		"root and proof": {func(p *place) []byte {
			return edit(t, p.certified(w, me, issuer), func(b *bundle.Bundle) {
				e := b.Material.Entries[0]
				e.Proof.Hashes, e.Proof.Size, e.Proof.Index = nil, 1, 0
				sum := sha256.Sum256(append([]byte{0}, e.Body...))
				e.Proof.Root = sum[:]
			})
		}, nil, "checkpoint"},
		"expired": {func(p *place) []byte {
			return edit(t, p.certified(w, me, issuer), func(b *bundle.Bundle) {
				b.Material.Timestamps = nil
				b.Material.Entries[0].Promise = nil // without it the log does not say when
			})
		}, nil, "expired"},
		"certificate in no log": {func(p *place) []byte { return p.certified(w, me, issuer) },
			func(r *trust.Root) { r.CertificateLogs = believe(t, evil).CertificateLogs }, "no log of certificates"},
		"log of certificates of another key": {func(p *place) []byte { return p.certified(w, me, issuer) },
			func(r *trust.Root) {
				l := believe(t, evil).CertificateLogs
				l[0].ID = r.CertificateLogs[0].ID
				r.CertificateLogs = l
			}, "does not hold"},
		"authority that is trusted no longer": {func(p *place) []byte { return p.certified(w, me, issuer) },
			func(r *trust.Root) { r.Authorities[0].End = w.Now.Add(-time.Minute) }, "not trusted at"},
		"authority with a key that takes minutes": {func(p *place) []byte {
			return edit(t, p.certified(w, me, issuer), func(b *bundle.Bundle) {
				b.Material.Chain = &bundle.Chain{Certificates: []bundle.Certificate{*b.Material.Certificate, {Raw: w.LongKey().Raw}}}
				b.Material.Certificate = nil
			})
		}, nil, "more than 8192"},
		"log that is trusted no longer": {func(p *place) []byte { return p.certified(w, me, issuer) },
			func(r *trust.Root) { r.Logs[0].End = w.Now.Add(-time.Minute) }, "not trusted at"},
		"log that is trusted no longer, and says no time": {func(p *place) []byte {
			return edit(t, p.certified(w, me, issuer), func(b *bundle.Bundle) { b.Material.Entries[0].Promise = nil })
		}, func(r *trust.Root) { r.Logs[0].End = w.Now.Add(-time.Minute) }, "not trusted at"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.attach(c.make(p), sign.PredicateSignature)
			r := believe(t, w)
			if c.root != nil {
				c.root(r)
			}
			p.wantRefused(sign.Requirements{Identities: []sign.Identity{{Subject: me, Issuer: issuer}}, Trust: r}, c.words)
		})
	}
	// What is left out on request is not asked for.
	p := newPlace(t)
	p.attach(edit(t, p.certified(w, me, issuer), func(b *bundle.Bundle) { b.Material.Entries = nil }), sign.PredicateSignature)
	v := p.wantHeld(sign.Requirements{Identities: []sign.Identity{{Subject: me, Issuer: issuer}}, Trust: root, IgnoreLog: true})
	if !v.Time.Equal(w.Now) || v.Logged {
		t.Errorf("%+v", v)
	}
}

func TestKeyInLog(t *testing.T) {
	w := signtest.New(t)
	root := believe(t, w)
	p := newPlace(t)
	k := newKey(t, keys.P256)
	req := sign.Requirements{Keys: []*keys.Public{k.Public()}, Trust: root, Log: true}
	p.attach(p.sign(sign.Maker{Signer: k}, p.image.Digest, sign.PredicateSignature, "{}"), sign.PredicateSignature)
	p.wantRefused(req, "no entry of a log")
	p.attach(p.sign(sign.Maker{Signer: k, Logs: []sign.Log{w}}, p.image.Digest, sign.PredicateSignature, "{}"), sign.PredicateSignature)
	if v := p.wantHeld(req); !v.Logged || v.Time.IsZero() {
		t.Errorf("%+v", v)
	}
}

// TestPrivateAuthority has a certificate without logs: it must be valid now, or at a signed time.
func TestPrivateAuthority(t *testing.T) {
	for _, c := range []struct {
		ago    time.Duration
		clocks bool
		words  string
	}{{0, false, ""}, {time.Hour, false, "expired"}, {time.Hour, true, ""}} {
		w := signtest.New(t)
		w.Now = time.Now().Add(-c.ago)
		root, err := trust.Private([]*x509.Certificate{w.Authority, w.Root}, []*x509.Certificate{w.Clock, w.ClockRoot})
		if err != nil {
			t.Fatal(err)
		}
		s, cert := w.Certificate("https://example.com/release", "")
		m := sign.Maker{Signer: s, Certificates: []*x509.Certificate{cert, w.Authority, w.Root}}
		if c.clocks {
			m.Clocks = []sign.Clock{w}
		}
		p := newPlace(t)
		p.attach(p.sign(m, p.image.Digest, sign.PredicateSignature, "{}"), sign.PredicateSignature)
		req := sign.Requirements{Identities: []sign.Identity{{Subject: "https://example.com/release"}}, Trust: root}
		if c.words != "" {
			p.wantRefused(req, c.words)
			continue
		}
		p.wantHeld(req)
		// The root alone will do: the signature has the certificate between.
		if req.Trust, err = trust.Private([]*x509.Certificate{w.Root}, []*x509.Certificate{w.Clock, w.ClockRoot}); err != nil {
			t.Fatal(err)
		}
		p.wantHeld(req)
	}
	w := signtest.New(t)
	if _, err := trust.Private([]*x509.Certificate{w.Authority}, nil); !errdefs.IsInvalid(err) {
		t.Errorf("a chain without a root: %v", err)
	}
	s, _ := w.Certificate(me, issuer)
	_, cert := w.Certificate(me, issuer)
	st, err := sign.Statement("", digest.FromString("x"), "https://example.com", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (sign.Maker{Signer: s, Certificates: []*x509.Certificate{cert}}).Bundle(t.Context(), st); !errdefs.IsInvalid(err) {
		t.Errorf("the certificate of another key: %v", err)
	}
}

// legacy puts a signature under a tag, as cosign did before bundles.
func (p *place) legacy(tag, mediaType string, payload []byte, annotations map[string]string) {
	p.t.Helper()
	blob, err := content.WriteBlob(p.t.Context(), p.Store, payload)
	if err != nil {
		p.t.Fatal(err)
	}
	blob.MediaType, blob.Annotations = mediaType, annotations
	d, err := image.WriteArtifact(p.t.Context(), p.Store, image.Artifact{Type: "application/vnd.oci.image.config.v1+json", Layers: []ocispec.Descriptor{blob}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.tags[strings.Replace(p.image.Digest.String(), ":", "-", 1)+tag] = d
}

func simple(d digest.Digest) []byte {
	return []byte(fmt.Sprintf(`{"critical":{"identity":{"docker-reference":"example.com/app"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, d))
}

func TestBeforeBundles(t *testing.T) {
	p := newPlace(t)
	k := newKey(t, keys.P256)
	req := sign.Requirements{Keys: []*keys.Public{k.Public()}}
	const mediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
	put := func(payload []byte) {
		sig, err := k.Sign(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		p.legacy(".sig", mediaType, payload, map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig)})
	}
	put(simple(p.image.Digest))
	if v := p.wantHeld(req); v.Format != sign.FormatCosign {
		t.Errorf("%+v", v)
	}
	put(simple(p.newImage("other").Digest))
	p.wantRefused(req, "of another image")
	put([]byte(strings.Replace(string(simple(p.image.Digest)), "cosign container image signature", "something", 1)))
	p.wantRefused(req, "no image")
	p.legacy(".sig", mediaType, simple(p.image.Digest), nil)
	p.wantRefused(req, "no signature")

	// An attestation, with certificate, log entry and time in annotations.
	w := signtest.New(t)
	w.Now = time.Now().Add(-time.Hour)
	s, cert := w.Certificate(me, issuer)
	data := p.sign(sign.Maker{Signer: s, Certificates: []*x509.Certificate{cert}, Logs: []sign.Log{w}, Clocks: []sign.Clock{w}}, p.image.Digest, "https://spdx.dev/Document", `{}`)
	b, err := bundle.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := json.Marshal(b.Envelope)
	if err != nil {
		t.Fatal(err)
	}
	e := b.Material.Entries[0]
	old, err := json.Marshal(map[string]any{"SignedEntryTimestamp": e.Promise.Signature, "Payload": map[string]any{
		"body": e.Body, "integratedTime": int64(e.Time), "logIndex": int64(e.Index), "logID": hex.EncodeToString(e.LogID.KeyID)}})
	if err != nil {
		t.Fatal(err)
	}
	stamp, err := json.Marshal(map[string]any{"SignedRFC3161Timestamp": b.Material.Timestamps.Timestamps[0].Raw})
	if err != nil {
		t.Fatal(err)
	}
	p.legacy(".att", "application/vnd.dsse.envelope.v1+json", envelope, map[string]string{
		"dev.sigstore.cosign/certificate": string(signtest.PEM(cert)), "dev.sigstore.cosign/chain": string(signtest.PEM(w.Authority, w.Root)),
		"dev.sigstore.cosign/bundle": string(old), "dev.sigstore.cosign/rfc3161timestamp": string(stamp),
	})
	v := p.wantHeld(sign.Requirements{Identities: []sign.Identity{{Subject: me, Issuer: issuer}}, Trust: believe(t, w), Predicate: "https://spdx.dev/Document"})
	if v.Identity != me || !v.Logged {
		t.Errorf("%+v", v)
	}
}

func TestRequirements(t *testing.T) {
	p := newPlace(t)
	for _, req := range []sign.Requirements{
		{}, {Identities: []sign.Identity{{Subject: me}}}, {Keys: []*keys.Public{newKey(t, keys.P256).Public()}, Log: true},
	} {
		if _, err := sign.Look(t.Context(), p, p.image, req); !errdefs.IsInvalid(err) {
			t.Errorf("%+v: %v", req, err)
		}
	}
	for name, want := range map[string]string{"spdx": "https://spdx.dev/Document", "slsaprovenance": "https://slsa.dev/provenance/v1", "https://x.example/y": "https://x.example/y"} {
		if got, err := sign.PredicateType(name); err != nil || got != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if _, err := sign.PredicateType("nonsense"); !errdefs.IsInvalid(err) {
		t.Errorf("nonsense: %v", err)
	}
}
