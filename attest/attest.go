// Package attest makes statements about images: what is in them (an SBOM, as SPDX) and how they were built (SLSA provenance). They
// are in-toto statements, which go beside an image as a manifest with a subject and never change it.
//
//	s, err := attest.NewStatement(subjects, attest.PredicateSPDX, attest.SPDX(image, inv, attest.SPDXOptions{...}))
//	data, err := s.Encode()
//
// The functions are pure: who calls them stores the statements. The same input gives the same bytes.
package attest

import (
	"bytes"
	"encoding/json"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// The media types and names.
const (
	// MediaType is that of a statement that is not signed, as BuildKit, cosign and others have it.
	MediaType = "application/vnd.in-toto+json"
	// StatementType is of version 1 (in-toto attestation framework).
	StatementType = "https://in-toto.io/Statement/v1"
	// PredicateKey is the annotation of a layer, and of its manifest, with the predicateType.
	PredicateKey = "in-toto.io/predicate-type"
	// PredicateSPDX is of an SBOM.
	PredicateSPDX = "https://spdx.dev/Document"
	// PredicateProvenance is of SLSA provenance v1.
	PredicateProvenance = "https://slsa.dev/provenance/v1"
)

// MaxStatement is how big a statement may be, in bytes.
const MaxStatement = 256 << 20

// Subject is what a statement is about.
type Subject struct {
	Name   string    `json:"name"`
	Digest DigestSet `json:"digest"`
}

// DigestSet maps names of algorithms to digests in hex (in-toto, digest_set.md).
type DigestSet map[string]string

// Digests is the set of one digest.
func Digests(d digest.Digest) DigestSet { return DigestSet{d.Algorithm().String(): d.Encoded()} }

// Statement is an in-toto statement, version 1.
type Statement struct {
	Type          string    `json:"_type"`
	Subject       []Subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	// Predicate is what is said of the subjects.
	Predicate json.RawMessage `json:"predicate"`
}

// NewStatement makes a statement of a predicate.
func NewStatement(subjects []Subject, predicateType string, predicate any) (*Statement, error) {
	if len(subjects) == 0 {
		return nil, errdefs.Invalid("a statement about nothing")
	}
	data, err := encode(predicate, "")
	if err != nil {
		return nil, err
	}
	return &Statement{Type: StatementType, Subject: subjects, PredicateType: predicateType, Predicate: data}, nil
}

// Encode returns the bytes that are stored.
func (s *Statement) Encode() ([]byte, error) { return encode(s, "") }

// Parse reads a statement, of this version or an older one, and checks its form. ErrCorrupt when it is none.
func Parse(data []byte) (*Statement, error) {
	var s Statement
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, errdefs.Corrupt("parse statement: %w", err)
	}
	switch s.Type {
	case StatementType, "https://in-toto.io/Statement/v0.1":
	default:
		return nil, errdefs.Corrupt("parse statement: %.100q is no in-toto statement", s.Type)
	}
	if s.PredicateType == "" || len(s.Predicate) == 0 {
		return nil, errdefs.Corrupt("parse statement: it says nothing")
	}
	return &s, nil
}

// Indented returns JSON as people read it.
func Indented(data []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return nil, errdefs.Corrupt("statement: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// encode is JSON without the escapes that are for web pages: package URLs have & in them.
func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
