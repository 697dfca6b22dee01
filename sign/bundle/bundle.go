// Package bundle is the form in which signatures lie beside an image: sigstore's bundles, versions 0.1 to 0.3 (sigstore
// protobuf-specs, sigstore_bundle.proto), as JSON.
//
//	b, err := bundle.Parse(data)
//	message := bundle.PAE(b.Envelope.PayloadType, b.Envelope.Payload)   // what was signed
//
// Parsing checks the form and its limits, and nothing else: what a bundle says is worth nothing before it is verified.
package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

const (
	// MediaType is that of version 0.3, which is written.
	MediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	// family is what the media types of all versions begin with.
	family = "application/vnd.dev.sigstore.bundle"
	// MaxSize is how big a bundle may be, in bytes: an SBOM fits in.
	MaxSize = 64 << 20
	// maxEach bounds log entries, timestamps and certificates of one bundle, and maxHashes the proof of an entry.
	maxEach, maxHashes = 16, 64
)

// IsMediaType reports whether a media type is that of a bundle of a known version.
func IsMediaType(t string) bool {
	switch t {
	case MediaType, family + ".v0.1+json", family + ".v0.2+json", family + "+json;version=0.1", family + "+json;version=0.2", family + "+json;version=0.3":
		return true
	}
	return false
}

// Bundle is a signature with what is needed to verify it. Bytes are base64, and 64-bit numbers are strings, in JSON.
type Bundle struct {
	MediaType string    `json:"mediaType"`
	Material  Material  `json:"verificationMaterial"`
	Envelope  *Envelope `json:"dsseEnvelope,omitempty"`
	// Message is a signature of bytes that are elsewhere.
	Message *MessageSignature `json:"messageSignature,omitempty"`
}

// Material is what says whose signature it is, and when it was made.
type Material struct {
	PublicKey   *PublicKey       `json:"publicKey,omitempty"`
	Certificate *Certificate     `json:"certificate,omitempty"`
	Chain       *Chain           `json:"x509CertificateChain,omitempty"`
	Entries     few[LogEntry]    `json:"tlogEntries,omitempty"`
	Timestamps  *TimestampedData `json:"timestampVerificationData,omitempty"`
}

// PublicKey names a key that the verifier has.
type PublicKey struct {
	Hint string `json:"hint"`
}

// Certificate is one in DER.
type Certificate struct {
	Raw []byte `json:"rawBytes"`
}

// Chain is a certificate and those that lead to a root, without the root.
type Chain struct {
	Certificates few[Certificate] `json:"certificates"`
}

// TimestampedData are answers of time stamping authorities about the signature (RFC 3161, TimeStampResp in DER).
type TimestampedData struct {
	Timestamps few[Timestamp] `json:"rfc3161Timestamps,omitempty"`
}

// Timestamp is one answer.
type Timestamp struct {
	Raw []byte `json:"signedTimestamp"`
}

// LogEntry is an entry of a transparency log (sigstore_rekor.proto, TransparencyLogEntry).
type LogEntry struct {
	Index Int   `json:"logIndex"`
	LogID LogID `json:"logId"`
	Kind  Kind  `json:"kindVersion"`
	// Time is when it came into the log, in seconds since 1970; only Promise makes it true. 0 in a log of the second version.
	Time    Int             `json:"integratedTime,omitempty"`
	Promise *Promise        `json:"inclusionPromise,omitempty"`
	Proof   *InclusionProof `json:"inclusionProof,omitempty"`
	Body    []byte          `json:"canonicalizedBody,omitempty"`
}

// LogID is the name of a log: SHA-256 of its key.
type LogID struct {
	KeyID []byte `json:"keyId"`
}

// Kind is what an entry tells, such as dsse 0.0.1.
type Kind struct {
	Kind    string `json:"kind"`
	Version string `json:"version"`
}

// Promise is the log's signature of entry and time.
type Promise struct {
	Signature []byte `json:"signedEntryTimestamp"`
}

// InclusionProof shows that an entry is in the log (RFC 6962, 2.1.1).
type InclusionProof struct {
	Index      Int         `json:"logIndex"`
	Root       []byte      `json:"rootHash"`
	Size       Int         `json:"treeSize"`
	Hashes     few[[]byte] `json:"hashes"`
	Checkpoint Checkpoint  `json:"checkpoint"`
}

// Checkpoint is the log's signature of its root, a signed note.
type Checkpoint struct {
	Envelope string `json:"envelope"`
}

// Envelope is DSSE.
type Envelope struct {
	Payload     []byte         `json:"payload"`
	PayloadType string         `json:"payloadType"`
	Signatures  few[Signature] `json:"signatures"`
}

// Signature is one of an envelope.
type Signature struct {
	Sig   []byte `json:"sig"`
	KeyID string `json:"keyid,omitempty"`
}

// MessageSignature is a signature of bytes that are elsewhere.
type MessageSignature struct {
	Digest struct {
		Algorithm string `json:"algorithm"`
		Digest    []byte `json:"digest"`
	} `json:"messageDigest"`
	Signature []byte `json:"signature"`
}

// Int is a number that JSON has as a string, or as a number.
type Int int64

// UnmarshalJSON implements json.Unmarshaler.
func (i *Int) UnmarshalJSON(data []byte) error {
	n, err := strconv.ParseInt(strings.Trim(string(data), `"`), 10, 64)
	*i = Int(n)
	return err
}

// MarshalJSON implements json.Marshaler.
func (i Int) MarshalJSON() ([]byte, error) {
	return []byte(`"` + strconv.FormatInt(int64(i), 10) + `"`), nil
}

// few is a list that is read no further than one may be long: three characters of JSON can stand for a hundred bytes of memory.
type few[T any] []T

// UnmarshalJSON implements json.Unmarshaler. ErrLimit for more than maxHashes.
func (f *few[T]) UnmarshalJSON(data []byte) error {
	*f = nil
	dec := json.NewDecoder(bytes.NewReader(data))
	switch t, err := dec.Token(); {
	case err != nil || t == nil:
		return err
	case t != json.Delim('['):
		return errdefs.Corrupt("%v is no list", t)
	}
	for dec.More() {
		if len(*f) == maxHashes {
			return errdefs.Limit("a list has more than %d entries", maxHashes)
		}
		var one T
		if err := dec.Decode(&one); err != nil {
			return err
		}
		*f = append(*f, one)
	}
	return nil
}

// Parse reads a bundle. ErrCorrupt when it is none, ErrLimit when it is too big, ErrUnsupported for a version that is not known.
func Parse(data []byte) (*Bundle, error) {
	if len(data) > MaxSize {
		return nil, errdefs.Limit("the bundle has more than %d bytes", MaxSize)
	}
	var b Bundle
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&b); err != nil {
		return nil, errdefs.Corrupt("read the bundle: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errdefs.Corrupt("read the bundle: something stands behind it")
	}
	if !IsMediaType(b.MediaType) {
		return nil, errdefs.Unsupported("a bundle of the kind %.80q", b.MediaType)
	}
	return &b, b.check()
}

// check looks whether there is one of what there must be one of.
func (b *Bundle) check() error {
	m := &b.Material
	has := 0
	for _, there := range []bool{m.PublicKey != nil, m.Certificate != nil, m.Chain != nil} {
		if there {
			has++
		}
	}
	switch {
	case (b.Envelope == nil) == (b.Message == nil):
		return errdefs.Corrupt("the bundle must have an envelope or a signature of a message")
	case has != 1:
		return errdefs.Corrupt("the bundle must have a key, a certificate or a chain")
	case b.Envelope != nil && len(b.Envelope.Signatures) != 1:
		return errdefs.Corrupt("the bundle has %d signatures, and must have one", len(b.Envelope.Signatures))
	case m.Chain != nil && len(m.Chain.Certificates) == 0:
		return errdefs.Corrupt("the bundle's chain has no certificate")
	case m.Chain != nil && len(m.Chain.Certificates) > maxEach, len(m.Entries) > maxEach, m.Timestamps != nil && len(m.Timestamps.Timestamps) > maxEach:
		return errdefs.Limit("the bundle has more than %d certificates, log entries or timestamps", maxEach)
	}
	for _, e := range m.Entries {
		if e.Proof != nil && len(e.Proof.Hashes) > maxHashes {
			return errdefs.Limit("the proof of the log entry has more than %d hashes", maxHashes)
		}
	}
	return nil
}

// Encode writes a bundle.
func (b *Bundle) Encode() ([]byte, error) {
	data, err := json.Marshal(b)
	if err == nil && len(data) > MaxSize {
		err = errdefs.Limit("the bundle has %d bytes, more than %d", len(data), MaxSize)
	}
	return data, err
}

// Signature is what was signed, and the signature of it; the first is nil for a message that is elsewhere.
func (b *Bundle) Signature() (message, sig []byte) {
	if b.Envelope == nil {
		return nil, b.Message.Signature
	}
	return b.Envelope.Signed(), b.Envelope.Signatures[0].Sig
}

// Certificates are those of the bundle in DER, the signer's first; none when a key signed.
func (b *Bundle) Certificates() [][]byte {
	var out [][]byte
	if c := b.Material.Certificate; c != nil {
		out = append(out, c.Raw)
	}
	if c := b.Material.Chain; c != nil {
		for _, one := range c.Certificates {
			out = append(out, one.Raw)
		}
	}
	return out
}

// Signed is what a signature of the envelope is of.
func (e *Envelope) Signed() []byte { return PAE(e.PayloadType, e.Payload) }

// PAE is what is signed of a payload (DSSE, protocol.md, PAE).
func PAE(payloadType string, payload []byte) []byte {
	head := fmt.Sprintf("DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload))
	return append([]byte(head), payload...)
}

// ParseEnvelope reads an envelope that stands alone, as cosign before bundles wrote it.
func ParseEnvelope(data []byte) (*Envelope, error) {
	if len(data) > MaxSize {
		return nil, errdefs.Limit("the envelope has more than %d bytes", MaxSize)
	}
	var e Envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, errdefs.Corrupt("read the envelope: %w", err)
	}
	if n := len(e.Signatures); n == 0 || n > maxEach {
		return nil, errdefs.Corrupt("the envelope has %d signatures", n)
	}
	return &e, nil
}
