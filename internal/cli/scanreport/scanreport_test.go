package scanreport_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/scanreport"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/vuln"
	"github.com/camada/camada/vuln/vex"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const purl = "pkg:deb/debian/libfoo@1:2.0-1?arch=amd64&distro=debian-12&upstream=foo"

func report() *engine.ScanReport {
	one := engine.ScanFinding{ID: "GHSA-1", Aliases: []string{"CVE-1"}, Group: "GHSA-1", Package: "libfoo", Version: "1:2.0-1", Type: "deb", Source: "foo", PURL: purl, Path: "/var/lib/dpkg/status", Severity: vuln.Critical,
		Score: 9.8, Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Fixed: "2.0-2", Status: "fixed", Summary: "bad", URL: "https://example.org/1",
		ScanPlace: engine.ScanPlace{Layer: 2, Dockerfile: "Dockerfile", Line: 7, Instruction: "RUN x"}}
	two := one
	two.ID, two.Aliases, two.Fixed, two.Status, two.Severity, two.Score, two.Vector, two.Line = "CVE-2", nil, "", "unfixed", vuln.Unknown, 0, "", 0
	three := two
	three.ID = "CVE-3"
	return &engine.ScanReport{Image: "example.org/app:1", Digest: "sha256:" + strings.Repeat("a", 64), Platform: "linux/amd64", Findings: []engine.ScanFinding{one, two},
		Ignored: []engine.IgnoredFinding{{ScanFinding: three, Decision: "ignored", Reason: "not called"}}}
}

// encode makes a document and reads it back.
func encode(t *testing.T, form string) (doc map[string]any, text []byte) {
	t.Helper()
	text, err := scanreport.Encode(form, report(), scanreport.Options{Version: "1.2", Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc, text
}

// at follows a path of names and numbers.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%v: %v is no object", path, v)
			}
			v = m[p]
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				t.Fatalf("%v: %v is no list of %d", path, v, p+1)
			}
			v = l[p]
		}
	}
	return v
}

func TestSARIF(t *testing.T) {
	doc, _ := encode(t, "sarif")
	run := at(t, doc, "runs", 0)
	for want, path := range map[string][]any{
		"GHSA-1":              {"results", 0, "ruleId"},
		"error":               {"results", 0, "level"},
		"warning":             {"results", 1, "level"},
		"Dockerfile":          {"results", 0, "locations", 0, "physicalLocation", "artifactLocation", "uri"},
		"var/lib/dpkg/status": {"results", 1, "locations", 0, "physicalLocation", "artifactLocation", "uri"},
		"not called":          {"results", 2, "suppressions", 0, "justification"},
		"9.8":                 {"tool", "driver", "rules", 0, "properties", "security-severity"},
		"libfoo 1:2.0-1 has CVE-2 (unknown), unfixed; it came with layer 2 of example.org/app:1": {"results", 1, "message", "text"},
	} {
		if got := at(t, run, path...); got != want {
			t.Errorf("%v is %v, want %s", path, got, want)
		}
	}
	if line := at(t, run, "results", 0, "locations", 0, "physicalLocation", "region", "startLine"); line != 7.0 {
		t.Errorf("line %v", line)
	}
	for i, r := range at(t, run, "results").([]any) {
		rule := int(at(t, r, "ruleIndex").(float64))
		if at(t, run, "tool", "driver", "rules", rule, "id") != at(t, r, "ruleId") {
			t.Errorf("result %d has another rule", i)
		}
	}
}

func TestCycloneDX(t *testing.T) {
	doc, _ := encode(t, "cyclonedx")
	if serial, _ := doc["serialNumber"].(string); !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(serial) {
		t.Errorf("serial number %q", serial)
	}
	for want, path := range map[string][]any{
		"1.6":                      {"specVersion"},
		"CVSSv31":                  {"vulnerabilities", 0, "ratings", 0, "method"},
		"Update to 2.0-2 or later": {"vulnerabilities", 0, "recommendation"},
		purl:                       {"vulnerabilities", 1, "affects", 0, "ref"},
		"not_affected":             {"vulnerabilities", 2, "analysis", "state"},
		"CVE-1":                    {"vulnerabilities", 0, "references", 0, "id"},
	} {
		if got := at(t, doc, path...); got != want {
			t.Errorf("%v is %v, want %s", path, got, want)
		}
	}
}

// TestDecisionsComeBack: what was decided is decided again when the document is given to the next scan, and nothing else is.
func TestDecisionsComeBack(t *testing.T) {
	p := inventory.Package{Type: "deb", Name: "libfoo", Version: "1:2.0-1", Source: "foo", SourceVersion: "2.0-1", PURL: purl}
	found := []vuln.Finding{{ID: "GHSA-1", Group: "GHSA-1", Package: p}, {ID: "CVE-2", Group: "CVE-2", Package: p}, {ID: "CVE-3", Group: "CVE-3", Package: p}}
	for _, form := range []string{"openvex", "cyclonedx"} {
		_, text := encode(t, form)
		s, err := vex.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		d := vex.Apply(found, s, vex.Image{Name: "example.org/app:1", Digest: report().Digest}, now)
		if len(d.Ignored) != 1 || d.Ignored[0].ID != "CVE-3" || !strings.Contains(d.Ignored[0].Statement.Reason, "not called") {
			t.Errorf("%s: ignored %+v", form, d.Ignored)
		}
		if form == "openvex" { // names the image
			if d := vex.Apply(found, s, vex.Image{Name: "example.org/other:1", Digest: "sha256:" + strings.Repeat("b", 64)}, now); len(d.Ignored) != 0 {
				t.Errorf("%s: another image is meant as well", form)
			}
		}
	}
}

func TestUnknownForm(t *testing.T) {
	if _, err := scanreport.Encode("xml", report(), scanreport.Options{}); err == nil || scanreport.Known("xml") {
		t.Error("there is xml")
	}
}
