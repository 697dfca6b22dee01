package trust_test

import (
	"crypto/x509"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/bundle"
	"github.com/camada/camada/sign/signtest"
	"github.com/camada/camada/sign/trust"
)

func TestParse(t *testing.T) {
	w := signtest.New(t)
	r, err := trust.Parse(w.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Authorities) != 1 || len(r.Logs) != 1 || len(r.CertificateLogs) != 1 || len(r.Timestamps) != 1 || r.Logs[0].Origin != "log.test" {
		t.Errorf("%+v", r)
	}
	for text, is := range map[string]func(error) bool{
		`{`: errdefs.IsInvalid, `{"mediaType":"x"}`: errdefs.IsUnsupported,
		`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[{"hashAlgorithm":"MD5"}]}`:      errdefs.IsUnsupported,
		`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","certificateAuthorities":[{}]}`:          errdefs.IsInvalid,
		`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[{"hashAlgorithm":"SHA2_256"}]}`: errdefs.IsInvalid,
	} {
		if _, err := trust.Parse([]byte(text)); !is(err) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestUsage has a certificate that is for nothing certain, and one for signing code.
func TestUsage(t *testing.T) {
	w := signtest.New(t)
	r, err := trust.Private([]*x509.Certificate{w.Authority, w.Root}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, cert := w.Certificate("me@example.com", "")
	if _, err := r.Chain(cert, nil, time.Now()); err != nil {
		t.Error(err)
	}
	w.NoUsage = true
	_, cert = w.Certificate("me@example.com", "")
	if _, err := r.Chain(cert, nil, time.Now()); !errdefs.IsPermission(err) || !strings.Contains(err.Error(), "lacks the extended key usage codeSigning") {
		t.Errorf("a certificate for nothing certain: %v", err)
	}
}

// TestKindsOfEntries has entries that are about a signature, and about others.
func TestKindsOfEntries(t *testing.T) {
	w := signtest.New(t)
	r, err := trust.Parse(w.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	s, cert := w.Certificate("me@example.com", "https://issuer.example.com")
	e := &bundle.Envelope{PayloadType: "application/vnd.in-toto+json", Payload: []byte("{}")}
	sig, err := s.Sign(t.Context(), e.Signed())
	if err != nil {
		t.Fatal(err)
	}
	pem := signtest.PEM(cert)
	signed := trust.Signed{Payload: e.Payload, Message: e.Signed(), Signature: sig, Certificate: cert.Raw, Key: s.Public()}
	for _, c := range []struct{ kind, version string }{{"hashedrekord", "0.0.1"}, {"dsse", "0.0.1"}, {"intoto", "0.0.2"}, {"hashedrekord", "0.0.2"}, {"dsse", "0.0.2"}} {
		for _, of := range []struct {
			sig, message, payload []byte
			ok                    bool
		}{{sig, e.Signed(), e.Payload, true}, {[]byte("other"), e.Signed(), e.Payload, false}, {sig, []byte("other"), []byte("other"), false}} {
			kind := bundle.Kind{Kind: c.kind, Version: c.version}
			entry := w.AddBody(kind, entryBody(t, kind, of.sig, of.message, of.payload, pem, cert.Raw))
			if c.version == "0.0.2" && c.kind != "intoto" {
				// The second version has no promise, and is called by its host.
				entry.Promise, entry.Time = nil, 0
			}
			_, err := r.Logged(entry, signed)
			if of.ok && c.version == "0.0.2" && c.kind != "intoto" {
				if !errdefs.IsPermission(err) { // the checkpoint says "log.test - 42"
					t.Errorf("%v of another log: %v", kind, err)
				}
				r.Logs[0].Origin = ""
				_, err = r.Logged(entry, signed)
				r.Logs[0].Origin = "log.test"
			}
			if (err == nil) != of.ok {
				t.Errorf("%v: %v, want ok %v", kind, err, of.ok)
			}
		}
	}
}

// TestUnsigned has entries that no log has: what they say is not read.
func TestUnsigned(t *testing.T) {
	w := signtest.New(t)
	r, err := trust.Parse(w.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	good := func() bundle.LogEntry { return w.AddBody(bundle.Kind{Kind: "dsse", Version: "0.0.1"}, []byte("{")) }
	for name, c := range map[string]struct {
		change func(e *bundle.LogEntry)
		is     func(error) bool
	}{
		"as it is":    {func(*bundle.LogEntry) {}, errdefs.IsCorrupt},
		"another log": {func(e *bundle.LogEntry) { e.LogID.KeyID = []byte("x") }, errdefs.IsPermission},
		"no promise":  {func(e *bundle.LogEntry) { e.Promise.Signature[9] ^= 1 }, errdefs.IsPermission},
		"long":        {func(e *bundle.LogEntry) { e.Body = make([]byte, 16<<20+1) }, errdefs.IsLimit},
		"long checkpoint": {func(e *bundle.LogEntry) {
			e.Proof.Checkpoint.Envelope += strings.Repeat("\n", 64<<10)
		}, errdefs.IsLimit},
	} {
		e := good()
		c.change(&e)
		if _, err := r.Logged(e, trust.Signed{}); !c.is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzEntry(f *testing.F) {
	w := signtest.New(f)
	r, err := trust.Parse(w.TrustedRoot())
	if err != nil {
		f.Fatal(err)
	}
	entry := w.AddBody(bundle.Kind{Kind: "dsse", Version: "0.0.1"}, []byte(`{"apiVersion":"0.0.1","kind":"dsse","spec":{"payloadHash":{"algorithm":"sha256","value":"00"},"signatures":[{}]}}`))
	data, err := json.Marshal(entry)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var e bundle.LogEntry
		if json.Unmarshal(data, &e) != nil {
			return
		}
		if _, err := r.Logged(e, trust.Signed{Payload: []byte("x"), Message: []byte("x"), Signature: []byte("x"), Certificate: []byte("x")}); err == nil {
			t.Error("what nobody signed is in the log")
		}
	})
}

func FuzzRoot(f *testing.F) {
	f.Add(signtest.New(f).TrustedRoot())
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = trust.Parse(data) })
}
