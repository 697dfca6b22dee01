package trust_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/camada/camada/sign/bundle"
)

// entryBody makes an entry of a kind, as rekor writes it.
func entryBody(t *testing.T, kind bundle.Kind, sig, message, payload, pem, der []byte) []byte {
	t.Helper()
	hexSum := func(b []byte) map[string]any {
		s := sha256.Sum256(b)
		return map[string]any{"algorithm": "sha256", "value": hex.EncodeToString(s[:])}
	}
	rawSum := func(b []byte) map[string]any {
		s := sha256.Sum256(b)
		return map[string]any{"algorithm": "SHA2_256", "digest": s[:]}
	}
	second := map[string]any{"content": sig, "verifier": map[string]any{"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": map[string]any{"rawBytes": der}}}
	var spec any
	switch kind.Kind + kind.Version {
	case "hashedrekord0.0.1":
		spec = map[string]any{"data": map[string]any{"hash": hexSum(message)}, "signature": map[string]any{"content": sig, "publicKey": map[string]any{"content": pem}}}
	case "dsse0.0.1":
		spec = map[string]any{"payloadHash": hexSum(payload), "envelopeHash": hexSum(message), "signatures": []any{map[string]any{"signature": sig, "verifier": pem}}}
	case "intoto0.0.2":
		spec = map[string]any{"content": map[string]any{"payloadHash": hexSum(payload), "envelope": map[string]any{"payloadType": "application/vnd.in-toto+json",
			"signatures": []any{map[string]any{"sig": []byte(base64.StdEncoding.EncodeToString(sig)), "publicKey": pem}}}}}
	case "hashedrekord0.0.2":
		spec = map[string]any{"hashedRekordV002": map[string]any{"data": rawSum(message), "signature": second}}
	case "dsse0.0.2":
		spec = map[string]any{"dsseV002": map[string]any{"payloadHash": rawSum(payload), "signatures": []any{second}}}
	}
	body, err := json.Marshal(map[string]any{"apiVersion": kind.Version, "kind": kind.Kind, "spec": spec})
	if err != nil {
		t.Fatal(err)
	}
	return body
}
