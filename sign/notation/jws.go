package notation

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/camada/camada/errdefs"
)

// parseJWS reads an envelope of JSON (signature-envelope-jws.md: the flattened JSON serialization of RFC 7515).
func parseJWS(data []byte) (*envelope, error) {
	var j struct {
		Payload   string `json:"payload"`
		Protected string `json:"protected"`
		Signature string `json:"signature"`
		Header    struct {
			Certificates [][]byte `json:"x5c"`
			Timestamp    []byte   `json:"io.cncf.notary.timestampSignature"`
		} `json:"header"`
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, errdefs.Corrupt("read the envelope: %w", err)
	}
	e := &envelope{signed: []byte(j.Protected + "." + j.Payload), timestamp: j.Header.Timestamp}
	var err error
	var protected []byte
	for text, to := range map[*string]*[]byte{&j.Payload: &e.payload, &j.Signature: &e.signature, &j.Protected: &protected} {
		if *to, err = base64.RawURLEncoding.DecodeString(*text); err != nil {
			return nil, errdefs.Corrupt("read the envelope: %w", err)
		}
	}
	// Any other protected name that is critical is refused by its name in crit.
	var h struct {
		Algorithm string     `json:"alg"`
		Type      string     `json:"cty"`
		Critical  []string   `json:"crit"`
		Scheme    string     `json:"io.cncf.notary.signingScheme"`
		Expiry    *time.Time `json:"io.cncf.notary.expiry"`
		Authentic *time.Time `json:"io.cncf.notary.authenticSigningTime"`
	}
	if err := json.Unmarshal(protected, &h); err != nil {
		return nil, errdefs.Corrupt("read the envelope's header: %w", err)
	}
	e.algorithm, e.contentType, e.critical, e.scheme = h.Algorithm, h.Type, h.Critical, h.Scheme
	if h.Expiry != nil {
		e.expiry = *h.Expiry
	}
	if h.Authentic != nil {
		e.authentic = *h.Authentic
	}
	e.certs, err = parseCerts(j.Header.Certificates)
	return e, err
}
