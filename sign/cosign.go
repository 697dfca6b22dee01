package sign

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/bundle"
	"github.com/camada/camada/sign/trust"
)

// The annotations of a layer in which cosign kept what belongs to a signature, before bundles.
const (
	cosignSignature   = "dev.cosignproject.cosign/signature"
	cosignCertificate = "dev.sigstore.cosign/certificate"
	cosignChain       = "dev.sigstore.cosign/chain"
	cosignBundle      = "dev.sigstore.cosign/bundle"
	cosignTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
)

// simplePayload is what cosign signed (containers/image, signature formats, "simple signing").
type simplePayload struct {
	Critical struct {
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
}

// simple verifies a signature in cosign's older form.
func (c *collection) simple(payload []byte, annotations map[string]string) (Verified, error) {
	sig, err := base64.StdEncoding.DecodeString(annotations[cosignSignature])
	if err != nil || len(sig) == 0 {
		return Verified{}, errdefs.Corrupt("its manifest has no signature of it")
	}
	s := signature{payload: payload, message: payload, sig: sig, old: true}
	if err := s.annotated(annotations); err != nil {
		return Verified{}, err
	}
	v, err := c.signature(s)
	if err != nil {
		return v, err
	}
	var p simplePayload
	if err := json.Unmarshal(payload, &p); err != nil {
		return v, errdefs.Corrupt("read what is signed: %w", err)
	}
	if p.Critical.Type != "cosign container image signature" && p.Critical.Type != "atomic container signature" {
		return v, errdefs.Permission("what is signed is no image, but %.80q", p.Critical.Type)
	}
	if p.Critical.Image.Digest != c.subject.Digest.String() {
		return v, errdefs.Permission("it is a signature of another image: %.100s", p.Critical.Image.Digest)
	}
	return v, nil
}

// envelope verifies an attestation in cosign's older form.
func (c *collection) envelope(data []byte, annotations map[string]string) (Verified, error) {
	e, err := bundle.ParseEnvelope(data)
	if err != nil {
		return Verified{}, err
	}
	last := error(nil)
	for _, one := range e.Signatures {
		s := signature{payload: e.Payload, message: e.Signed(), sig: one.Sig, old: true}
		if err := s.annotated(annotations); err != nil {
			return Verified{}, err
		}
		var v Verified
		if v, last = c.statement(s, e.PayloadType, ""); last == nil {
			return v, nil
		}
	}
	return Verified{}, last
}

// annotated takes certificates, log entry and time from annotations.
func (s *signature) annotated(a map[string]string) error {
	for _, text := range []string{a[cosignCertificate], a[cosignChain]} {
		if text == "" {
			continue
		}
		certs, err := trust.ParseCertificates([]byte(text))
		if err != nil {
			return err
		}
		for _, c := range certs {
			s.certs = append(s.certs, c.Raw)
		}
	}
	if text := a[cosignBundle]; text != "" {
		e, err := oldEntry([]byte(text))
		if err != nil {
			return err
		}
		s.entries = append(s.entries, e)
	}
	if text := a[cosignTimestamp]; text != "" {
		var t struct {
			Raw []byte `json:"SignedRFC3161Timestamp"`
		}
		if err := json.Unmarshal([]byte(text), &t); err != nil {
			return errdefs.Corrupt("read its time: %w", err)
		}
		s.times = append(s.times, t.Raw)
	}
	return nil
}

// oldEntry reads a log entry as cosign kept it before bundles: with the promise of the log alone.
func oldEntry(data []byte) (bundle.LogEntry, error) {
	var old struct {
		Promise []byte `json:"SignedEntryTimestamp"`
		Payload struct {
			Body  []byte     `json:"body"`
			Time  bundle.Int `json:"integratedTime"`
			Index bundle.Int `json:"logIndex"`
			LogID string     `json:"logID"`
		} `json:"Payload"`
	}
	if err := json.Unmarshal(data, &old); err != nil {
		return bundle.LogEntry{}, errdefs.Corrupt("read its log entry: %w", err)
	}
	id, err := hex.DecodeString(old.Payload.LogID)
	if err != nil {
		return bundle.LogEntry{}, errdefs.Corrupt("read its log entry: %w", err)
	}
	return bundle.LogEntry{Index: old.Payload.Index, LogID: bundle.LogID{KeyID: id}, Time: old.Payload.Time,
		Promise: &bundle.Promise{Signature: old.Promise}, Body: old.Payload.Body}, nil
}
