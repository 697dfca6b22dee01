package sign

import (
	"crypto/x509"
	"testing"

	"github.com/camada/camada/sign/bundle"
	"github.com/camada/camada/sign/signtest"
	"github.com/camada/camada/sign/trust"
)

// FuzzCertificate reads names, issuer and logs of a certificate that anybody wrote.
func FuzzCertificate(f *testing.F) {
	w := signtest.New(f)
	_, cert := w.Certificate("me@example.com", "https://issuer.example.com")
	f.Add(cert.Raw)
	f.Add(w.Root.Raw)
	root := &trust.Root{}
	f.Fuzz(func(t *testing.T, data []byte) {
		userNames(data)
		c, err := parseCertificate(data)
		if err != nil {
			return
		}
		Names(c)
		Issuer(c)
		if root.CheckSCT([]*x509.Certificate{c, c}) == nil {
			t.Error("a log that nobody believes has it")
		}
	})
}

// FuzzAnnotations reads what cosign kept in annotations before bundles.
func FuzzAnnotations(f *testing.F) {
	w := signtest.New(f)
	_, cert := w.Certificate("me@example.com", "https://issuer.example.com")
	f.Add(string(signtest.PEM(cert)), `{"SignedEntryTimestamp":"AA==","Payload":{"body":"e30=","integratedTime":1,"logIndex":2,"logID":"00ff"}}`, `{"SignedRFC3161Timestamp":"AA=="}`)
	f.Fuzz(func(t *testing.T, certs, entry, stamp string) {
		var s signature
		err := s.annotated(map[string]string{cosignCertificate: certs, cosignBundle: entry, cosignTimestamp: stamp})
		if err == nil && len(s.entries) > 0 && s.entries[0].Kind != (bundle.Kind{}) {
			t.Error("an old entry says what it is")
		}
	})
}
