package timestamp_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/signtest"
	"github.com/camada/camada/sign/timestamp"
	digitorus "github.com/digitorus/timestamp"
)

func authority(w *signtest.World) timestamp.Authority {
	return timestamp.Authority{Roots: []*x509.Certificate{w.ClockRoot}}
}

func TestVerify(t *testing.T) {
	w, other := signtest.New(t), signtest.New(t)
	w.Now = time.Now().Add(-48 * time.Hour).Truncate(time.Second)
	w.Now = w.Now.Add(47 * time.Hour)
	message := []byte("message")
	answer, err := w.Stamp(t.Context(), message)
	if err != nil {
		t.Fatal(err)
	}
	at, err := timestamp.Verify(answer, message, authority(w))
	if err != nil || !at.Equal(w.Now) {
		t.Fatalf("%s, %v, want %s", at, err, w.Now)
	}
	leaf := authority(w)
	leaf.Leaf = w.Clock
	if _, err := timestamp.Verify(answer, message, leaf); err != nil {
		t.Error(err)
	}
	for name, by := range map[string]timestamp.Authority{
		"nobody": {}, "another": authority(other), "another signer": {Roots: authority(w).Roots, Leaf: other.Clock},
		"ended": {Roots: authority(w).Roots, End: w.Now.Add(-time.Second)}, "not begun": {Roots: authority(w).Roots, Start: w.Now.Add(time.Second)},
	} {
		if _, err := timestamp.Verify(answer, message, by); !errdefs.IsPermission(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := timestamp.Verify(answer, []byte("other"), authority(w)); !errdefs.IsPermission(err) {
		t.Errorf("another message: %v", err)
	}
	// Whatever byte is changed, it is refused, or tells the same.
	for i := range answer {
		bad := append([]byte(nil), answer...)
		bad[i] ^= 0x41
		if got, err := timestamp.Verify(bad, message, authority(w)); err == nil && !got.Equal(at) {
			t.Errorf("byte %d changed: %s", i, got)
		}
	}
}

// TestLongKey has a certificate in the answer whose key takes minutes to compute with.
func TestLongKey(t *testing.T) {
	w := signtest.New(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("message"))
	ts := digitorus.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Time: time.Now(), Policy: asn1.ObjectIdentifier{1, 2, 3, 4}, AddTSACertificate: true}
	answer, err := ts.CreateResponseWithOpts(w.LongKey(), key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := timestamp.Verify(answer, []byte("message"), authority(w)); !errdefs.IsLimit(err) {
		t.Errorf("Verify = %v", err)
	}
}

// TestOpenSSL verifies what openssl ts answers to our query.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skipf("no openssl: %v", err)
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), openssl, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	conf := `[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign
[tsa]
extendedKeyUsage=critical,timeStamping
keyUsage=critical,digitalSignature
[tsa_config]
serial=serial
digests=sha256
default_policy=1.2.3.4
signer_digest=sha256
ordering=yes
tsa_name=yes
ess_cert_id_chain=yes
accuracy=secs:1
`
	for name, text := range map[string]string{"conf": conf, "serial": "01\n", "message": "message"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca", "-config", "conf", "-extensions", "ca", "-days", "2")
	run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=tsa", "-config", "conf")
	run("x509", "-req", "-in", "tsa.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", "tsa.crt", "-extfile", "conf", "-extensions", "tsa", "-days", "2")
	query, nonce, err := timestamp.Query([]byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "query"), query, 0o600); err != nil {
		t.Fatal(err)
	}
	run("ts", "-reply", "-config", "conf", "-section", "tsa_config", "-queryfile", "query", "-signer", "tsa.crt", "-inkey", "tsa.key", "-out", "answer")
	answer, err := os.ReadFile(filepath.Join(dir, "answer"))
	if err != nil {
		t.Fatal(err)
	}
	if err := timestamp.Answered(answer, []byte("message"), nonce); err != nil {
		t.Fatal(err)
	}
	root := readCert(t, openssl, filepath.Join(dir, "ca.crt"))
	at, err := timestamp.Verify(answer, []byte("message"), timestamp.Authority{Roots: []*x509.Certificate{root}})
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(at); d < -time.Hour || d > time.Hour {
		t.Errorf("it tells %s", at)
	}
}

func readCert(t *testing.T, openssl, path string) *x509.Certificate {
	t.Helper()
	der, err := exec.CommandContext(t.Context(), openssl, "x509", "-in", path, "-outform", "DER").Output()
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func FuzzVerify(f *testing.F) {
	w := signtest.New(f)
	answer, err := w.Stamp(f.Context(), []byte("message"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(answer)
	f.Fuzz(func(t *testing.T, data []byte) {
		at, err := timestamp.Verify(data, []byte("message"), authority(w))
		if err == nil && at.IsZero() {
			t.Error("it holds, and tells nothing")
		}
	})
}
