package scanreport

import (
	"strings"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/vuln"
)

// The part of CycloneDX 1.6 that is written.
type (
	cdxDocument struct {
		BOMFormat       string             `json:"bomFormat"`
		SpecVersion     string             `json:"specVersion"`
		Serial          string             `json:"serialNumber"`
		Version         int                `json:"version"`
		Metadata        cdxMetadata        `json:"metadata"`
		Components      []cdxComponent     `json:"components"`
		Vulnerabilities []cdxVulnerability `json:"vulnerabilities"`
	}
	cdxMetadata struct {
		Timestamp string       `json:"timestamp"`
		Tools     cdxTools     `json:"tools"`
		Component cdxComponent `json:"component"`
	}
	cdxTools struct {
		Components []cdxComponent `json:"components"`
	}
	cdxComponent struct {
		Type       string        `json:"type"`
		Ref        string        `json:"bom-ref,omitempty"`
		Name       string        `json:"name"`
		Version    string        `json:"version,omitempty"`
		PURL       string        `json:"purl,omitempty"`
		Properties []cdxProperty `json:"properties,omitempty"`
	}
	cdxProperty struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	cdxVulnerability struct {
		ID             string         `json:"id"`
		Source         *cdxSource     `json:"source,omitempty"`
		References     []cdxReference `json:"references,omitempty"`
		Ratings        []cdxRating    `json:"ratings,omitempty"`
		Description    string         `json:"description,omitempty"`
		Recommendation string         `json:"recommendation,omitempty"`
		Published      string         `json:"published,omitempty"`
		Updated        string         `json:"updated,omitempty"`
		Analysis       *cdxAnalysis   `json:"analysis,omitempty"`
		Affects        []cdxAffects   `json:"affects"`
		Properties     []cdxProperty  `json:"properties,omitempty"`
	}
	cdxSource struct {
		URL string `json:"url"`
	}
	cdxReference struct {
		ID     string    `json:"id"`
		Source cdxSource `json:"source"`
	}
	cdxRating struct {
		Score    float64 `json:"score,omitempty"`
		Severity string  `json:"severity"`
		Method   string  `json:"method,omitempty"`
		Vector   string  `json:"vector,omitempty"`
	}
	cdxAnalysis struct {
		State  string `json:"state"`
		Detail string `json:"detail,omitempty"`
	}
	cdxAffects struct {
		Ref string `json:"ref"`
	}
)

// cycloneDX makes a document of all packages and what is known of them. Two packages of one URL, in two lists, are one component.
func cycloneDX(r *engine.ScanReport, o Options) *cdxDocument {
	image := cdxComponent{Type: "container", Ref: imagePURL(r), Name: r.Image, Version: r.Digest, PURL: imagePURL(r)}
	d := &cdxDocument{BOMFormat: "CycloneDX", SpecVersion: "1.6", Version: 1, Components: []cdxComponent{}, Vulnerabilities: []cdxVulnerability{},
		Metadata: cdxMetadata{Timestamp: o.Now.UTC().Format(time.RFC3339), Component: image,
			Tools: cdxTools{[]cdxComponent{{Type: "application", Name: "camada", Version: o.Version}}}}}
	s := short(r.Digest, r.Database.Digest, d.Metadata.Timestamp)
	d.Serial = "urn:uuid:" + s[:8] + "-" + s[8:12] + "-4" + s[13:16] + "-8" + s[17:20] + "-" + s[20:32]
	seen := map[string]bool{}
	inv := r.Inventory()
	for i := range inv.Packages {
		p := &inv.Packages[i]
		if p.PURL == "" || seen[p.PURL] {
			continue
		}
		seen[p.PURL] = true
		d.Components = append(d.Components, cdxComponent{Type: "library", Ref: p.PURL, Name: p.Name, Version: p.Version, PURL: p.PURL,
			Properties: []cdxProperty{{"camada:found", "/" + p.Found}, {"camada:source", strings.TrimSpace(p.Source + " " + p.SourceVersion)}}})
	}
	at := map[string]int{}
	add := func(f *engine.ScanFinding, a *cdxAnalysis) {
		key := f.ID + "\x00" + f.Fixed + "\x00" + string(f.Reachable)
		if a != nil {
			key += "\x00" + a.State + "\x00" + a.Detail
		}
		i, ok := at[key]
		if !ok {
			i = len(d.Vulnerabilities)
			at[key] = i
			v := vulnerability(f)
			v.Analysis = a
			if f.Reachable == vuln.ReachYes || f.Reachable == vuln.ReachNo {
				v.Properties = []cdxProperty{{"camada:reachable", string(f.Reachable)}}
			}
			d.Vulnerabilities = append(d.Vulnerabilities, v)
		}
		for _, x := range d.Vulnerabilities[i].Affects {
			if x.Ref == f.PURL {
				return
			}
		}
		d.Vulnerabilities[i].Affects = append(d.Vulnerabilities[i].Affects, cdxAffects{f.PURL})
	}
	for i := range r.Findings {
		add(&r.Findings[i], nil)
	}
	for i := range r.Ignored {
		x := &r.Ignored[i]
		state := "not_affected"
		switch x.Decision {
		case "fixed", "resolved":
			state = "resolved"
		case "false_positive", "resolved_with_pedigree":
			state = x.Decision
		}
		add(&x.ScanFinding, &cdxAnalysis{state, x.Reason})
	}
	return d
}

func vulnerability(f *engine.ScanFinding) cdxVulnerability {
	v := cdxVulnerability{ID: f.ID, Description: f.Summary, Affects: []cdxAffects{}}
	if f.URL != "" {
		v.Source = &cdxSource{f.URL}
	}
	for _, id := range append(append([]string{}, f.Aliases...), f.Upstream...) {
		v.References = append(v.References, cdxReference{ID: id, Source: cdxSource{"https://osv.dev/vulnerability/" + id}})
	}
	rating := cdxRating{Severity: f.Severity.String(), Score: f.Score, Vector: f.Vector}
	switch {
	case strings.HasPrefix(f.Vector, "CVSS:4"):
		rating.Method = "CVSSv4"
	case strings.HasPrefix(f.Vector, "CVSS:3.1"):
		rating.Method = "CVSSv31"
	case strings.HasPrefix(f.Vector, "CVSS:3"):
		rating.Method = "CVSSv3"
	case f.Vector != "":
		rating.Method = "CVSSv2"
	}
	if f.Severity != vuln.Unknown || f.Vector != "" {
		v.Ratings = []cdxRating{rating}
	}
	if f.Fixed != "" {
		v.Recommendation = "Update to " + f.Fixed + " or later"
	}
	if !f.Published.IsZero() {
		v.Published = f.Published.Format(time.RFC3339)
	}
	if !f.Modified.IsZero() {
		v.Updated = f.Modified.Format(time.RFC3339)
	}
	return v
}
