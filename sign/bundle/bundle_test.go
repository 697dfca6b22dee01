package bundle_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/bundle"
)

const small = `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"x"},"tlogEntries":[{"logIndex":"7","logId":{"keyId":"AA=="},"kindVersion":{"kind":"dsse","version":"0.0.1"},"integratedTime":5,"inclusionProof":{"logIndex":"1","rootHash":"AA==","treeSize":"2","hashes":["AA=="],"checkpoint":{"envelope":"x"}}}]},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AA=="}]}}`

func TestParse(t *testing.T) {
	b, err := bundle.Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if e := b.Material.Entries[0]; e.Index != 7 || e.Time != 5 || e.Proof.Size != 2 {
		t.Errorf("%+v", e)
	}
	if got := string(b.Envelope.Signed()); got != "DSSEv1 28 application/vnd.in-toto+json 2 {}" {
		t.Errorf("signed %q", got)
	}
	for text, class := range map[string]errdefs.Class{
		`{`: errdefs.ErrCorrupt, small + "x": errdefs.ErrCorrupt, `{"mediaType":"x"}`: errdefs.ErrUnsupported,
		`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`:                                                           errdefs.ErrCorrupt,
		`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{"signatures":[{}]}}`:                        errdefs.ErrCorrupt,
		`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.9+json","dsseEnvelope":{"signatures":[{}]}}`:                        errdefs.ErrUnsupported,
		`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{}},"dsseEnvelope":{}}`: errdefs.ErrCorrupt,
	} {
		if _, err := bundle.Parse([]byte(text)); !isClass(err, class) {
			t.Errorf("%.80s: %v, want %s", text, err, class)
		}
	}
}

// TestLongList has lists that would take a hundred times their length in memory.
func TestLongList(t *testing.T) {
	const long = 1 << 20
	for _, list := range []string{`"tlogEntries":[{}` + strings.Repeat(",{}", long), `"x509CertificateChain":{"certificates":[{}` + strings.Repeat(",{}", long)} {
		data := []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{` + list)
		if strings.HasPrefix(list, `"t`) {
			data = append(data, `]}}`...)
		} else {
			data = append(data, `]}}}`...)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := bundle.Parse(data)
		runtime.ReadMemStats(&after)
		if !errdefs.IsLimit(err) {
			t.Errorf("%.20s: %v", list, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 24<<20 {
			t.Errorf("%.20s: %d bytes of memory for %d of JSON", list, used, len(data))
		}
	}
}

func isClass(err error, class errdefs.Class) bool {
	switch class {
	case errdefs.ErrUnsupported:
		return errdefs.IsUnsupported(err)
	}
	return errdefs.IsCorrupt(err)
}

func FuzzBundle(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"x509CertificateChain":{"certificates":[{"rawBytes":""}]}},"messageSignature":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := bundle.Parse(data)
		if err != nil {
			return
		}
		_, _ = b.Signature()
		b.Certificates()
		again, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.Parse(again); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}
