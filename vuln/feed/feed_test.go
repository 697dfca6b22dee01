package feed_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/vuln"
	"github.com/camada/camada/vuln/feed"
)

const osv = `{"id": "GHSA-1", "aliases": ["CVE-1"], "modified": "2026-01-02T03:04:05.678Z", "published": "2025-01-02T03:04:05Z", "details": "The first line.\nThe second.",
 "severity": [{"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:N/I:N/A:C"}, {"type": "CVSS_V4", "score": "CVSS:4.0/AV:N"}, {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
 "references": [{"type": "WEB", "url": "https://example.org/web"}, {"type": "ADVISORY", "url": "https://example.org/advisory"}],
 "affected": [{"package": {"ecosystem": "npm", "name": "@a/b"}, "ranges": [{"type": "GIT", "events": [{"introduced": "0"}]},
   {"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.2.0"}, {"introduced": "2.0.0"}, {"last_affected": "2.1.0"}, {"limit": "*"}]}], "database_specific": {"severity": "MODERATE", "x": [1]}},
  {"package": {"ecosystem": "Debian:12", "name": "b"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}], "ecosystem_specific": {"urgency": "unimportant"}},
  {"ranges": [{"type": "GIT", "repo": "https://example.org/b", "events": [{"introduced": "0"}]}]},
  {"package": {"ecosystem": "npm", "name": "empty"}}],
 "database_specific": {"severity": "CRITICAL"}}`

const tracker = `{"glibc": {
 "CVE-2": {"description": "bad", "scope": "local", "releases": {
   "bookworm": {"status": "resolved", "fixed_version": "2.36-9", "urgency": "high**"}, "bullseye": {"status": "open", "urgency": "low", "nodsa": "Minor issue", "nodsa_reason": "ignored"},
   "buster": {"status": "resolved", "fixed_version": "0", "urgency": "unimportant"}, "trixie": {"status": "open", "urgency": "unimportant"}, "sid": {"status": "open", "urgency": "low"}}},
 "CVE-3": {"releases": {"bullseye": {"status": "open", "urgency": "end-of-life"}, "bookworm": {"status": "undetermined", "urgency": "not yet assigned", "nodsa_reason": "postponed"}}}},
 "musl": {"CVE-2": {"releases": {"bookworm": {"status": "open", "urgency": "not yet assigned"}}}}}`

const secdb = `{"distroversion": "v3.22", "reponame": "main", "archs": ["x86_64"], "packages": [{"pkg": {"name": "openssl", "secfixes": {"3.5.1-r0": ["CVE-4 GHSA-4", "CVE-5"], "0": ["CVE-6"], "3.5.2-r0": ["CVE-4"]}}}]}`

const kev = `{"title": "CISA Catalog", "catalogVersion": "2026.01.02", "dateReleased": "2026-01-02T15:00:00.0000Z", "count": 1, "vulnerabilities": [{"cveID": "CVE-1", "dateAdded": "2025-12-31"}]}`

const epss = "#model_version:v2025.03.14,score_date:2026-01-02T00:00:00+0000\ncve,epss,percentile\nCVE-1,0.5,0.99\nCVE-2,0.00001,0.1\n"

// read feeds what lies at a path and tells what came out, a line for each advisory, entry and signal.
func read(t *testing.T, name string) (out []string, sources []string, err error) {
	t.Helper()
	f := feed.Feed{
		Advisory: func(a vuln.Advisory) error {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %v %v %s %s", a.ID, a.Aliases, a.Upstream, a.Rating.Severity(), a.Summary)))
			for _, x := range a.Affected {
				out = append(out, fmt.Sprintf(" %s %s %v %v %s %d", x.Ecosystem, x.Name, x.Ranges, x.Versions, x.Rating.Severity(), x.State))
			}
			return nil
		},
		Signals: func(id string, s vuln.Signals) error {
			out = append(out, fmt.Sprintf("%s %v %v %s", id, s.EPSS, s.Percentile, s.Exploited.Format(time.DateOnly)))
			return nil
		},
	}
	list, err := f.Read(t.Context(), name)
	for _, s := range list {
		sources = append(sources, fmt.Sprintf("%s %s %d %t %s", s.Name, s.Kind, s.Records, s.Digest != "", s.Newest.Format(time.DateOnly)))
	}
	return out, sources, err
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func archive(t *testing.T, files ...string) string {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i])
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func compressed(t *testing.T, s string) string {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write([]byte(s)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func TestEachKind(t *testing.T) {
	osvOut := "GHSA-1 [CVE-1] [] critical The first line.\n npm @a/b [[{0 0} {1 1.2.0} {0 2.0.0} {2 2.1.0}]] [] medium 0\n Debian:12 b [[{0 0}]] [] low 1"
	for _, c := range []struct{ name, doc, want, source string }{
		{"a.json", osv, osvOut, "a.json osv 1 false 2026-01-02"},
		{"all.zip", archive(t, "GHSA-1.json", osv, "README.md", "no"), osvOut, "all.zip osv 1 true 2026-01-02"},
		{"json", tracker, `DEBIAN-CVE-2 [] [CVE-2] unknown bad
 Debian:12 glibc [[{0 0} {1 2.36-9}]] [] high 0
 Debian:11 glibc [[{0 0}]] [] low 2
 Debian:13 glibc [[{0 0}]] [] low 1
 Debian:12 musl [[{0 0}]] [] unknown 0
DEBIAN-CVE-3 [] [CVE-3] unknown
 Debian:12 glibc [[{0 0}]] [] unknown 3
 Debian:11 glibc [[{0 0}]] [] unknown 4`, "json debian-tracker 2 true 0001-01-01"},
		{"main.json", secdb, `ALPINE-CVE-4 [] [CVE-4 GHSA-4] unknown
 Alpine:v3.22 openssl [[{0 0} {1 3.5.1-r0}]] [] unknown 0
 Alpine:v3.22 openssl [[{0 0} {1 3.5.2-r0}]] [] unknown 0
ALPINE-CVE-5 [] [CVE-5] unknown
 Alpine:v3.22 openssl [[{0 0} {1 3.5.1-r0}]] [] unknown 0`, "main.json alpine-secdb 2 true 0001-01-01"},
		{"kev.json", kev, "CVE-1 0 0 2025-12-31", "kev.json kev 1 true 2026-01-02"},
		{"epss.csv.gz", compressed(t, epss), "CVE-1 0.5 0.99 0001-01-01\nCVE-2 1e-05 0.1 0001-01-01", "epss.csv.gz epss 2 true 2026-01-02"},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), c.name)
			put(t, name, c.doc)
			out, sources, err := read(t, name)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(out, "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if len(sources) != 1 || sources[0] != c.source {
				t.Errorf("sources %q, want %q", sources, c.source)
			}
		})
	}
}

// TestDirectory: all that is known below a directory is read, the rest is left.
func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "npm", "all.zip"), archive(t, "GHSA-1.json", osv))
	put(t, filepath.Join(dir, "advisories", "2026", "GHSA-1.json"), osv)
	put(t, filepath.Join(dir, "advisories", "2026", "GHSA-2.json"), strings.ReplaceAll(osv, "GHSA-1", "GHSA-2"))
	put(t, filepath.Join(dir, "README.md"), "no advisory")
	put(t, filepath.Join(dir, "settings.json"), `{"a": 1}`)
	put(t, filepath.Join(dir, "table.csv"), "a,b\n1,2\n")
	put(t, filepath.Join(dir, ".git", "broken.json"), `{`)
	_, sources, err := read(t, dir)
	if got, want := fmt.Sprint(sources), "[npm/all.zip osv 1 true 2026-01-02 . osv 2 false 2026-01-02]"; err != nil || got != want {
		t.Errorf("sources %s, want %s (%v)", got, want, err)
	}
}

// TestRefused: what cannot be read is an error, never a gap.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		doc string
		is  func(error) bool
	}{
		"no JSON":          {`{"id": "x"`, errdefs.IsInvalid},
		"other types":      {`{"id": 7, "affected": []}`, errdefs.IsInvalid},
		"nothing known":    {`{"a": 1}`, errdefs.IsInvalid},
		"text":             {"hello\n", errdefs.IsInvalid},
		"empty":            {"", errdefs.IsInvalid},
		"half a zip":       {archive(t, "a.json", osv)[:200], errdefs.IsCorrupt},
		"broken entry":     {archive(t, "a.json", osv, "b.json", "{"), errdefs.IsInvalid},
		"entry without id": {archive(t, "a.json", "{}"), errdefs.IsInvalid},
		"withdrawn when":   {`{"id": "x", "withdrawn": "yes"}`, errdefs.IsInvalid},
		"half a gzip":      {compressed(t, epss)[:30], errdefs.IsCorrupt},
		"EPSS of a":        {strings.Replace(epss, "0.5", "a", 1), errdefs.IsInvalid},
		"EPSS of two":      {strings.Replace(epss, ",0.99", "", 1), errdefs.IsInvalid},
		"KEV of some day":  {strings.Replace(kev, "2025-12-31", "May", 1), errdefs.IsInvalid},
	} {
		file := filepath.Join(t.TempDir(), "f")
		put(t, file, c.doc)
		if out, _, err := read(t, file); !c.is(err) || err != nil && !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v (%d lines)", name, err, len(out))
		}
	}
	if _, _, err := read(t, filepath.Join(t.TempDir(), "none")); !errdefs.IsNotFound(err) {
		t.Errorf("a path that is not there: %v", err)
	}
	if _, _, err := read(t, t.TempDir()); !errdefs.IsNotFound(err) {
		t.Errorf("an empty directory: %v", err)
	}
}

func FuzzParseOSV(f *testing.F) {
	f.Add([]byte(osv))
	f.Add([]byte(`{"id":"x","affected":[{"ecosystem_specific":[],"ranges":[{"type":"SEMVER","events":[{}]}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := feed.ParseOSV(data)
		if err == nil && a.ID == "" || err != nil && !errdefs.IsInvalid(err) {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

func FuzzDocument(f *testing.F) {
	for _, s := range []string{tracker, secdb, kev, epss, osv} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, _ = read(t, name)
	})
}

// TestRating: the newest version of CVSS whose score is known counts; FIRST's examples of version 4.
func TestRating(t *testing.T) {
	for vector, want := range map[string]string{
		"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N":     "9.3 critical",
		"CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:P/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N":     "7.7 high",
		"CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N":     "7.3 high",
		"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:N/SC:N/SI:N/SA:N":     "0.0 none",
		"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/X:Y": "6.1 medium",
		"CVSS:4.0/AV:N": "6.1 medium",
	} {
		a, err := feed.ParseOSV([]byte(`{"id": "x", "severity": [{"type": "CVSS_V4", "score": "` + vector + `"}, {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		score, _ := a.Rating.Score()
		if got := fmt.Sprintf("%.1f %s", score, a.Rating.Severity()); got != want {
			t.Errorf("%s is %s, want %s", vector, got, want)
		}
	}
}

// TestImports: which packages and functions are vulnerable is known of modules of Go, and of nothing else.
func TestImports(t *testing.T) {
	const form = `{"id": "GO-1", "affected": [{"package": {"ecosystem": %q, "name": "a.org/m"}, "versions": ["1.0.0"], "ecosystem_specific": {"imports": %s}}]}`
	const list = `[{"path": "a.org/m/p", "goos": ["linux"], "goarch": ["amd64"], "symbols": ["F", "T.M"]}, {"path": "a.org/m/q"}]`
	for _, c := range []struct{ ecosystem, imports, want string }{
		{"Go", list, "[{a.org/m/p [F T.M] [linux] [amd64]} {a.org/m/q [] [] []}]"}, {"npm", list, "[]"}, {"Go", `[{"path": 1}]`, "[]"}, {"Go", `{}`, "[]"}, {"Go", `null`, "[]"},
	} {
		a, err := feed.ParseOSV(fmt.Appendf(nil, form, c.ecosystem, c.imports))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(a.Affected[0].Imports); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.ecosystem, c.imports, got, c.want)
		}
	}
}
