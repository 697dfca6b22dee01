package scanreport

import (
	"time"

	"github.com/camada/camada/engine"
)

// The part of OpenVEX 0.2.0 that is written.
type (
	vexDocument struct {
		Context    string         `json:"@context"`
		ID         string         `json:"@id"`
		Author     string         `json:"author"`
		Timestamp  string         `json:"timestamp"`
		Version    int            `json:"version"`
		Tooling    string         `json:"tooling"`
		Statements []vexStatement `json:"statements"`
	}
	vexStatement struct {
		Vulnerability vexVulnerability `json:"vulnerability"`
		Products      []vexProduct     `json:"products"`
		Status        string           `json:"status"`
		Impact        string           `json:"impact_statement,omitempty"`
		Action        string           `json:"action_statement,omitempty"`
	}
	vexVulnerability struct {
		Name    string   `json:"name"`
		Aliases []string `json:"aliases,omitempty"`
	}
	vexProduct struct {
		ID  string       `json:"@id"`
		Sub []vexProduct `json:"subcomponents,omitempty"`
	}
)

// openVEX makes a document of what was decided, not_affected or fixed, and of what nobody decided yet: affected where an update helps, and else
// under_investigation.
func openVEX(r *engine.ScanReport, o Options) *vexDocument {
	now := o.Now.UTC().Format(time.RFC3339)
	d := &vexDocument{Context: "https://openvex.dev/ns/v0.2.0", ID: "https://openvex.dev/docs/public/vex-" + short(r.Digest, r.Database.Digest, now), Author: "camada", Timestamp: now,
		Version: 1, Tooling: "camada " + o.Version, Statements: []vexStatement{}}
	about := func(f *engine.ScanFinding) vexStatement {
		aliases := f.Aliases
		if len(f.Upstream) == 1 {
			aliases = append(append([]string{}, aliases...), f.Upstream[0])
		}
		return vexStatement{Vulnerability: vexVulnerability{f.ID, aliases}, Products: []vexProduct{{ID: imagePURL(r), Sub: []vexProduct{{ID: f.PURL}}}}}
	}
	for i := range r.Ignored {
		x := &r.Ignored[i]
		s := about(&x.ScanFinding)
		s.Status, s.Impact = "not_affected", x.Reason
		if x.Decision == "fixed" || x.Decision == "resolved" || x.Decision == "resolved_with_pedigree" {
			s.Status, s.Impact = "fixed", ""
		}
		d.Statements = append(d.Statements, s)
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		s := about(f)
		s.Status = "under_investigation"
		if f.Fixed != "" {
			s.Status, s.Action = "affected", "Update "+f.Package+" to "+f.Fixed+" or later"
		}
		d.Statements = append(d.Statements, s)
	}
	return d
}
