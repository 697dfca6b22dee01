package vex

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/jsonwalk"
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

// openVEX is a statement of OpenVEX.
type openVEX struct {
	Vulnerability   named     `json:"vulnerability"`
	Products        []product `json:"products"`
	Status          string    `json:"status"`
	Justification   string    `json:"justification"`
	ImpactStatement string    `json:"impact_statement"`
	StatusNotes     string    `json:"status_notes"`
	ActionStatement string    `json:"action_statement"`
	Timestamp       string    `json:"timestamp"`
}

// statements reads the objects of a list one by one: a list of millions of empty ones would become much larger than its bytes.
func statements[T any](c *jsonwalk.Cursor, what string, fn func(n int, v *T) error) error {
	n := 0
	return c.Array(func() error {
		raw := c.Raw()
		if n++; n > maxStatements || len(raw) > maxStatement {
			return errdefs.Limit("the %s document has more than %d statements, or one of more than %d bytes", what, maxStatements, maxStatement)
		}
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			return errdefs.Invalid("no %s document: statement %d: %w", what, n, err)
		}
		return fn(n, &v)
	})
}

func parseOpenVEX(data []byte) ([]Statement, error) {
	time, err := textOf(data, "timestamp")
	if err != nil {
		return nil, err
	}
	c, err := jsonwalk.New(data)
	if err != nil {
		return nil, err
	}
	var out list
	err = c.Object(func(name string) error {
		if name != "statements" {
			return nil
		}
		return statements(c, "OpenVEX", func(n int, s *openVEX) error { return out.addOpenVEX(n, s, time) })
	})
	return out.statements, err
}

// textOf is the text of a member of a document.
func textOf(data []byte, member string) (text string, err error) {
	c, err := jsonwalk.New(data)
	if err != nil {
		return "", err
	}
	err = c.Object(func(name string) error {
		if name == member {
			text = c.Text()
		}
		return nil
	})
	return text, err
}

// list are the statements of a document, and how many names are in them.
type list struct {
	statements []Statement
	names      int
}

func (l *list) add(what string, s Statement) error {
	l.names += len(s.IDs) + len(s.Packages) + len(s.Images)
	if l.statements = append(l.statements, s); len(l.statements) > maxStatements || len(s.IDs)+len(s.Packages) > maxNames || l.names > maxAllNames {
		return errdefs.Limit("the %s document has more than %d statements", what, maxStatements)
	}
	return nil
}

func (l *list) addOpenVEX(n int, s *openVEX, time string) error {
	st := Statement{IDs: append([]string{s.Vulnerability.Name}, s.Vulnerability.Aliases...), Status: s.Status, Time: clock(s.Timestamp, time)}
	switch s.Status {
	case "not_affected", "fixed":
		st.NotAffected = true
	case "affected":
	case "under_investigation":
		return nil
	default:
		return errdefs.Invalid("statement %d of the OpenVEX document has the status %q", n, s.Status)
	}
	st.Reason = reason(s.Justification, s.ImpactStatement, s.StatusNotes, s.ActionStatement)
	if st.Reason == "" && s.Status == "not_affected" {
		return errdefs.Invalid("statement %d of the OpenVEX document, about %s, has neither justification nor impact_statement", n, s.Vulnerability.Name)
	}
	if s.Vulnerability.Name == "" || len(s.Products) == 0 {
		return errdefs.Invalid("statement %d of the OpenVEX document names no vulnerability or no products", n)
	}
	for _, p := range s.Products {
		one := st
		name := p.name()
		switch {
		case name == "":
			return errdefs.Invalid("statement %d of the OpenVEX document, about %s, has a product without a name", n, s.Vulnerability.Name)
		case strings.HasPrefix(name, "pkg:") && !isImage(name):
			one.Packages = []string{name}
		default:
			one.Images = []string{name}
		}
		for _, sub := range p.Sub {
			one.Packages = append(one.Packages, sub.name())
		}
		if err := l.add("OpenVEX", one); err != nil {
			return err
		}
	}
	return nil
}

// isImage tells whether a package URL is of an image.
func isImage(purl string) bool {
	return strings.HasPrefix(purl, "pkg:oci/") || strings.HasPrefix(purl, "pkg:docker/")
}

// cdxVulnerability is one of CycloneDX's.
type cdxVulnerability struct {
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
}

func parseCycloneDX(data []byte) ([]Statement, error) {
	refs, time, err := cdxParts(data)
	if err != nil {
		return nil, err
	}
	c, err := jsonwalk.New(data)
	if err != nil {
		return nil, err
	}
	var out list
	err = c.Object(func(name string) error {
		if name != "vulnerabilities" {
			return nil
		}
		return statements(c, "CycloneDX", func(n int, v *cdxVulnerability) error { return out.addCycloneDX(n, v, refs, time) })
	})
	return out.statements, err
}

// cdxParts reads the package URLs of components by their references, and the document's time.
func cdxParts(data []byte) (refs map[string]string, time string, err error) {
	c, err := jsonwalk.New(data)
	if err != nil {
		return nil, "", err
	}
	refs = map[string]string{}
	err = c.Object(func(name string) error {
		switch name {
		case "metadata":
			return c.Object(func(name string) error {
				if name == "timestamp" {
					time = c.Text()
				}
				return nil
			})
		case "components":
			return c.Array(func() error {
				var ref, purl string
				err := c.Object(func(name string) error {
					switch name {
					case "bom-ref":
						ref = c.Text()
					case "purl":
						purl = c.Text()
					}
					return nil
				})
				if purl != "" {
					refs[ref] = purl
				}
				if len(refs) > maxAllNames {
					return errdefs.Limit("the CycloneDX document has more than %d components", maxAllNames)
				}
				return err
			})
		}
		return nil
	})
	return refs, time, err
}

func (l *list) addCycloneDX(n int, v *cdxVulnerability, refs map[string]string, time string) error {
	st := Statement{IDs: []string{v.ID}, Status: v.Analysis.State, Time: clock(v.Analysis.LastUpdated, v.Updated, time), Reason: reason(v.Analysis.Justification, v.Analysis.Detail)}
	switch v.Analysis.State {
	case "not_affected", "false_positive", "resolved", "resolved_with_pedigree":
		st.NotAffected = true
	case "exploitable":
	default: // in_triage, or nothing at all
		return nil
	}
	if v.ID == "" {
		return errdefs.Invalid("vulnerability %d of the CycloneDX document has no id", n)
	}
	if st.Reason == "" && (v.Analysis.State == "not_affected" || v.Analysis.State == "false_positive") {
		return errdefs.Invalid("the CycloneDX document says of %s that it is %s, with neither justification nor detail", v.ID, v.Analysis.State)
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
	return l.add("CycloneDX", st)
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
