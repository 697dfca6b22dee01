package vex_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/vuln"
	"github.com/camada/camada/vuln/vex"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func finding(id, group string, aliases ...string) vuln.Finding {
	return vuln.Finding{ID: id, Group: group, Aliases: aliases, Package: inventory.Package{Type: "deb", Name: "libfoo", Version: "1:2.0-1", Source: "foo", SourceVersion: "2.0-1",
		PURL: "pkg:deb/debian/libfoo@1:2.0-1?arch=amd64&distro=debian-12&upstream=foo"}}
}

// found has two names of one vulnerability, and another one.
func found() []vuln.Finding {
	other := finding("DSA-1", "DSA-1")
	other.Upstream = []string{"CVE-8", "CVE-9"}
	return []vuln.Finding{finding("GHSA-1", "GHSA-1", "CVE-1"), finding("PYSEC-1", "GHSA-1", "CVE-1"), finding("CVE-2", "CVE-2"), other}
}

func openVEX(status, why, products string) string {
	return `{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "me", "timestamp": "2026-01-01T00:00:00Z", "version": 1,
 "statements": [{"vulnerability": {"name": "CVE-1"}, "products": [` + products + `], "status": "` + status + `", "impact_statement": "` + why + `"}]}`
}

func cycloneDX(state, ref string) string {
	return `{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"bom-ref": "c1", "purl": "pkg:deb/debian/libfoo"}],
 "vulnerabilities": [{"id": "CVE-1", "analysis": {"state": "` + state + `", "justification": "code_not_reachable"}, "affects": [{"ref": "` + ref + `"}]}]}`
}

func TestApply(t *testing.T) {
	const all = "GHSA-1 PYSEC-1 CVE-2 DSA-1"
	for name, c := range map[string]struct{ doc, kept, expired string }{
		"ignored by alias":                {"CVE-1 until=2026-05-01 # why", "CVE-2 DSA-1", ""},
		"ignored by one name of several":  {"GHSA-1 until=never # why", "CVE-2 DSA-1", ""},
		"expired":                         {"CVE-1 until=2026-04-30 # why", all, "CVE-1"},
		"expired, of what is not there":   {"CVE-7 until=2026-04-30 # why", all, ""},
		"one of several that it is about": {"CVE-8 until=never # why", all, ""},
		"the package":                     {"CVE-1 package=libfoo until=never # why", "CVE-2 DSA-1", ""},
		"the source package":              {"CVE-1 package=foo until=never # why", "CVE-2 DSA-1", ""},
		"another package":                 {"CVE-1 package=libbar until=never # why", all, ""},
		"a package URL":                   {"CVE-1 package=pkg:deb/debian/libfoo until=never # why", "CVE-2 DSA-1", ""},
		"another image":                   {"CVE-1 image=other until=never # why", all, ""},
		"this image":                      {"CVE-1 image=example.org/app:1 until=never # why", "CVE-2 DSA-1", ""},
		"OpenVEX":                         {openVEX("not_affected", "why", `{"@id": "pkg:deb/debian/libfoo"}`), "CVE-2 DSA-1", ""},
		"OpenVEX 0.0.1":                   {strings.Replace(openVEX("not_affected", "why", `"pkg:deb/debian/libfoo@1%3A2.0-1"`), `{"name": "CVE-1"}`, `"CVE-1"`, 1), "CVE-2 DSA-1", ""},
		"OpenVEX of a source package":     {openVEX("fixed", "", `{"@id": "pkg:deb/debian/foo@2.0-1?arch=source"}`), "CVE-2 DSA-1", ""},
		"OpenVEX of another version":      {openVEX("not_affected", "why", `{"@id": "pkg:deb/debian/libfoo@2"}`), all, ""},
		"OpenVEX of the image":            {openVEX("not_affected", "why", `{"@id": "pkg:oci/app@sha256%3Aabc", "subcomponents": [{"@id": "pkg:deb/debian/libfoo?arch=amd64"}]}`), "CVE-2 DSA-1", ""},
		"OpenVEX of the image's name":     {openVEX("not_affected", "why", `{"@id": "pkg:oci/app?repository_url=example.org/app"}`), "CVE-2 DSA-1", ""},
		"OpenVEX of another image":        {openVEX("not_affected", "why", `{"@id": "pkg:oci/app@sha256%3Adef"}`), all, ""},
		"OpenVEX of another part":         {openVEX("not_affected", "why", `{"@id": "pkg:oci/app", "subcomponents": [{"@id": "pkg:deb/debian/libbar"}]}`), all, ""},
		"OpenVEX, affected":               {openVEX("affected", "why", `{"@id": "pkg:deb/debian/libfoo"}`), all, ""},
		"OpenVEX, nobody knows":           {openVEX("under_investigation", "", `{"@id": "pkg:deb/debian/libfoo"}`), all, ""},
		"OpenVEX in a statement":          {`{"predicateType": "https://openvex.dev/ns/v0.2.0", "predicate": ` + openVEX("not_affected", "why", `{"@id": "pkg:deb/debian/libfoo"}`) + `}`, "CVE-2 DSA-1", ""},
		"CycloneDX":                       {cycloneDX("not_affected", "c1"), "CVE-2 DSA-1", ""},
		"CycloneDX by its URN":            {cycloneDX("false_positive", "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#pkg:deb/debian/libfoo@1:2.0-1"), "CVE-2 DSA-1", ""},
		"CycloneDX, exploitable":          {cycloneDX("exploitable", "c1"), all, ""},
		"CycloneDX, another component":    {cycloneDX("not_affected", "c2"), all, ""},
	} {
		t.Run(name, func(t *testing.T) {
			parse := vex.Parse
			if !strings.HasPrefix(c.doc, "{") {
				parse = vex.ParseIgnore
			}
			s, err := parse([]byte(c.doc))
			if err != nil {
				t.Fatal(err)
			}
			d := vex.Apply(found(), s, vex.Image{Name: "example.org/app:1", Digest: "sha256:abc"}, now)
			var kept, expired []string
			for _, f := range d.Kept {
				kept = append(kept, f.ID)
			}
			for _, s := range d.Expired {
				expired = append(expired, s.IDs[0])
			}
			if strings.Join(kept, " ") != c.kept || strings.Join(expired, " ") != c.expired || len(d.Kept)+len(d.Ignored) != 4 {
				t.Errorf("kept %v, want %s; expired %v, want %q", kept, c.kept, expired, c.expired)
			}
		})
	}
}

// TestLaterWins: a decision that was taken back is none.
func TestLaterWins(t *testing.T) {
	early, err1 := vex.Parse([]byte(openVEX("not_affected", "why", `{"@id": "pkg:deb/debian/libfoo"}`)))
	late, err2 := vex.Parse([]byte(strings.Replace(openVEX("affected", "why", `{"@id": "pkg:deb/debian/libfoo"}`), "2026-01-01", "2026-02-01", 1)))
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for _, s := range [][]vex.Statement{append(early, late...), append(late, early...)} {
		if d := vex.Apply(found(), s, vex.Image{}, now); len(d.Ignored) != 0 {
			t.Errorf("%d are ignored", len(d.Ignored))
		}
	}
}

func TestRefused(t *testing.T) {
	for doc, want := range map[string]string{
		"CVE-1 until=2026-01-01":                                                      "no reason",
		"\n# c\nCVE-1 # why":                                                          "line 3: CVE-1 has no day",
		"CVE-1 until=soon # why":                                                      "no day",
		"until=never # why":                                                           "begins with",
		"CVE-1 CVE-2 until=never # why":                                               "want until=DAY",
		openVEX("not_affected", "", `{"@id": "pkg:deb/x/y"}`):                         "neither justification nor impact_statement",
		openVEX("harmless", "why", `{"@id": "pkg:deb/x/y"}`):                          "status",
		openVEX("not_affected", "why", ""):                                            "no products",
		`{"bomFormat": "SPDX"}`:                                                       "neither OpenVEX nor CycloneDX",
		`{"bomFormat": "CycloneDX", "vulnerabilities": [{"id": 1`:                     "no VEX document",
		strings.Replace(cycloneDX("not_affected", "c1"), "code_not_reachable", "", 1): "neither justification nor detail",
	} {
		parse := vex.Parse
		if !strings.HasPrefix(doc, "{") {
			parse = vex.ParseIgnore
		}
		if _, err := parse([]byte(doc)); !errdefs.IsInvalid(err) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(openVEX("not_affected", "why", `{"@id": "pkg:deb/debian/libfoo"}, "x"`)))
	f.Add([]byte(cycloneDX("not_affected", "urn:cdx:x/1#pkg:deb/debian/libfoo%")))
	f.Add([]byte("CVE-1 until=2026-05-01 package=pkg:deb/x/y image=z # why\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := vex.Parse(data)
		if err != nil {
			s, _ = vex.ParseIgnore(data)
		}
		if d := vex.Apply(found(), s, vex.Image{Name: "a", Digest: "sha256:abc"}, now); len(d.Kept)+len(d.Ignored) != 4 {
			t.Errorf("%d findings of 4 are left", len(d.Kept)+len(d.Ignored))
		}
	})
}
