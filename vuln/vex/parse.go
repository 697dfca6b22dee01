package vex

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// Parse reads an OpenVEX document (https://github.com/openvex/spec, version 0.0.1 to 0.2.0), alone or as the predicate of an in-toto statement, or the
// vulnerabilities of a CycloneDX document (1.4 to 1.6). Statements that nobody has decided yet are left out. ErrInvalid when it is none of
// them, ErrLimit when it is too large.
func Parse(data []byte) ([]Statement, error) {
	if len(data) > MaxDocument {
		return nil, errdefs.Limit("a VEX document of more than %d bytes", MaxDocument)
	}
	var kind struct {
		Context       string          `json:"@context"`
		BOMFormat     string          `json:"bomFormat"`
		PredicateType string          `json:"predicateType"`
		Predicate     json.RawMessage `json:"predicate"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, errdefs.Invalid("no VEX document: %w", err)
	}
	switch {
	case strings.Contains(kind.Context, "openvex.dev/"):
		return parseOpenVEX(data)
	case strings.Contains(kind.PredicateType, "openvex.dev/") && len(kind.Predicate) > 0:
		return parseOpenVEX(kind.Predicate)
	case kind.BOMFormat == "CycloneDX":
		return parseCycloneDX(data)
	}
	return nil, errdefs.Invalid("no VEX document: it is neither OpenVEX nor CycloneDX")
}

// named is a text, or an object with one; documents have both.
type named struct {
	Name    string
	Aliases []string
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *named) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		return json.Unmarshal(data, &n.Name)
	}
	var v struct {
		ID      string   `json:"@id"`
		Name    string   `json:"name"`
		Aliases []string `json:"aliases"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	if n.Name, n.Aliases = v.Name, v.Aliases; n.Name == "" {
		n.Name = v.ID[strings.LastIndexByte(v.ID, '/')+1:]
	}
	return nil
}

// product is a package, or an image with packages in it.
type product struct {
	ID          string            `json:"@id"`
	Identifiers map[string]string `json:"identifiers"`
	Sub         []product         `json:"subcomponents"`
}

// UnmarshalJSON implements json.Unmarshaler: version 0.0.1 had texts.
func (p *product) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		return json.Unmarshal(data, &p.ID)
	}
	type plain product
	return json.Unmarshal(data, (*plain)(p))
}

func (p *product) name() string {
	if u := p.Identifiers["purl"]; u != "" {
		return u
	}
	return p.ID
}

func parseOpenVEX(data []byte) ([]Statement, error) {
	var d struct {
		Timestamp  string `json:"timestamp"`
		Statements []struct {
			Vulnerability   named     `json:"vulnerability"`
			Products        []product `json:"products"`
			Status          string    `json:"status"`
			Justification   string    `json:"justification"`
			ImpactStatement string    `json:"impact_statement"`
			StatusNotes     string    `json:"status_notes"`
			ActionStatement string    `json:"action_statement"`
			Timestamp       string    `json:"timestamp"`
		} `json:"statements"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, errdefs.Invalid("no OpenVEX document: %w", err)
	}
	var out []Statement
	for i, s := range d.Statements {
		st := Statement{IDs: append([]string{s.Vulnerability.Name}, s.Vulnerability.Aliases...), Status: s.Status, Time: clock(s.Timestamp, d.Timestamp)}
		switch s.Status {
		case "not_affected", "fixed":
			st.NotAffected = true
		case "affected":
		case "under_investigation":
			continue
		default:
			return nil, errdefs.Invalid("statement %d of the OpenVEX document has the status %q", i+1, s.Status)
		}
		st.Reason = reason(s.Justification, s.ImpactStatement, s.StatusNotes, s.ActionStatement)
		if st.Reason == "" && s.Status == "not_affected" {
			return nil, errdefs.Invalid("statement %d of the OpenVEX document, about %s, has neither justification nor impact_statement", i+1, s.Vulnerability.Name)
		}
		if s.Vulnerability.Name == "" || len(s.Products) == 0 {
			return nil, errdefs.Invalid("statement %d of the OpenVEX document names no vulnerability or no products", i+1)
		}
		for _, p := range s.Products {
			one := st
			if name := p.name(); strings.HasPrefix(name, "pkg:") && !isImage(name) {
				one.Packages = []string{name}
			} else {
				one.Images = []string{name}
			}
			for _, sub := range p.Sub {
				one.Packages = append(one.Packages, sub.name())
			}
			if out = append(out, one); len(out) > maxStatements || len(one.Packages)+len(one.IDs) > maxNames {
				return nil, errdefs.Limit("the OpenVEX document has more than %d statements", maxStatements)
			}
		}
	}
	return out, nil
}

// isImage tells whether a package URL is of an image.
func isImage(purl string) bool {
	return strings.HasPrefix(purl, "pkg:oci/") || strings.HasPrefix(purl, "pkg:docker/")
}

func parseCycloneDX(data []byte) ([]Statement, error) {
	var d struct {
		Metadata struct {
			Timestamp string `json:"timestamp"`
		} `json:"metadata"`
		Components []struct {
			Ref  string `json:"bom-ref"`
			PURL string `json:"purl"`
		} `json:"components"`
		Vulnerabilities []struct {
			ID         string `json:"id"`
			Updated    string `json:"updated"`
			References []struct {
				ID string `json:"id"`
			} `json:"references"`
			Analysis struct {
				State         string `json:"state"`
				Justification string `json:"justification"`
				Detail        string `json:"detail"`
				LastUpdated   string `json:"lastUpdated"`
			} `json:"analysis"`
			Affects []struct {
				Ref string `json:"ref"`
			} `json:"affects"`
		} `json:"vulnerabilities"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, errdefs.Invalid("no CycloneDX document: %w", err)
	}
	refs := map[string]string{}
	for _, c := range d.Components {
		refs[c.Ref] = c.PURL
	}
	var out []Statement
	for i, v := range d.Vulnerabilities {
		st := Statement{IDs: []string{v.ID}, Status: v.Analysis.State, Time: clock(v.Analysis.LastUpdated, v.Updated, d.Metadata.Timestamp), Reason: reason(v.Analysis.Justification, v.Analysis.Detail)}
		switch v.Analysis.State {
		case "not_affected", "false_positive", "resolved", "resolved_with_pedigree":
			st.NotAffected = true
		case "exploitable":
		default: // in_triage, or nothing at all
			continue
		}
		if v.ID == "" {
			return nil, errdefs.Invalid("vulnerability %d of the CycloneDX document has no id", i+1)
		}
		if st.Reason == "" && (v.Analysis.State == "not_affected" || v.Analysis.State == "false_positive") {
			return nil, errdefs.Invalid("the CycloneDX document says of %s that it is %s, with neither justification nor detail", v.ID, v.Analysis.State)
		}
		for _, r := range v.References {
			st.IDs = append(st.IDs, r.ID)
		}
		for _, a := range v.Affects {
			name := a.Ref
			if strings.HasPrefix(name, "urn:cdx:") {
				_, name, _ = strings.Cut(name, "#")
			}
			if u := refs[name]; u != "" {
				name = u
			}
			if isImage(name) {
				st.Images = append(st.Images, name)
			} else {
				st.Packages = append(st.Packages, name)
			}
		}
		if out = append(out, st); len(out) > maxStatements || len(st.Packages)+len(st.IDs) > maxNames {
			return nil, errdefs.Limit("the CycloneDX document has more than %d vulnerabilities", maxStatements)
		}
	}
	return out, nil
}

// reason is what documents say, in one line.
func reason(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p = strings.Join(strings.Fields(p), " "); p != "" {
			out = append(out, p)
		}
	}
	return strings.ToValidUTF8(strings.Join(out, ": "), "�")
}

// clock is the first text that is a time.
func clock(texts ...string) time.Time {
	for _, s := range texts {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
