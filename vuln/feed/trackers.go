package feed

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/vuln"
	"github.com/camada/camada/vuln/db"
)

// trackerEntry is what Debian's security tracker says of a vulnerability in one source package (https://security-tracker.debian.org/tracker/data/json).
type trackerEntry struct {
	Description string `json:"description"`
	Releases    map[string]struct {
		Status       string `json:"status"`
		FixedVersion string `json:"fixed_version"`
		Urgency      string `json:"urgency"`
		NoDSAReason  string `json:"nodsa_reason"`
		NoDSA        string `json:"nodsa"`
	} `json:"releases"`
}

// debian reads the tracker's JSON; the kind is empty when the document is something else. The advisories have the IDs that OSV gives
// them, DEBIAN-CVE-…, so that each is there once when both are given.
func (f *Feed) debian(doc []byte) (db.Source, error) {
	var all map[string]map[string]trackerEntry
	if !decodes(doc, &all) {
		return db.Source{}, nil
	}
	s := db.Source{Kind: KindDebian}
	byID := map[string]*vuln.Advisory{}
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		for id, e := range all[pkg] {
			if e.Releases == nil {
				continue
			}
			a := byID[id]
			if a == nil {
				a = &vuln.Advisory{ID: "DEBIAN-" + id, Upstream: []string{id}, Summary: summary("", e.Description), URL: "https://security-tracker.debian.org/tracker/" + id}
				byID[id] = a
			}
			for _, codename := range slices.Sorted(maps.Keys(e.Releases)) {
				release := vuln.DebianRelease(codename)
				r := e.Releases[codename]
				if release == "" || r.Status == "resolved" && (r.FixedVersion == "" || r.FixedVersion == "0") {
					continue // not affected
				}
				x := vuln.Affected{Ecosystem: "Debian:" + release, Name: pkg, Ranges: []vuln.Range{{{Kind: vuln.Introduced, Version: "0"}}}, State: state(r.Urgency)}
				x.Rating.Word, _ = vuln.ParseSeverity(strings.Trim(r.Urgency, "*"))
				switch {
				case r.Status == "resolved":
					x.Ranges[0] = append(x.Ranges[0], vuln.Event{Kind: vuln.Fixed, Version: r.FixedVersion})
				case x.State == vuln.Undecided && (r.NoDSAReason == "ignored" || strings.HasPrefix(r.NoDSA, "Ignored")):
					x.State = vuln.WontFix
				case x.State == vuln.Undecided && r.NoDSAReason == "postponed":
					x.State = vuln.Deferred
				}
				a.Affected = append(a.Affected, x)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		if err := f.counted(&s, *byID[id]); err != nil {
			return s, err
		}
	}
	if s.Records == 0 {
		return db.Source{}, nil
	}
	return s, nil
}

// decodes reports whether a document, which is JSON, has the form of v.
func decodes(doc []byte, v any) bool { return json.Unmarshal(doc, v) == nil }

// alpine reads a secdb (https://secdb.alpinelinux.org): versions, with what each repaired.
func (f *Feed) alpine(doc []byte) (db.Source, error) {
	s := db.Source{Kind: KindAlpine}
	var d struct {
		Release  string `json:"distroversion"`
		Packages []struct {
			Pkg struct {
				Name  string              `json:"name"`
				Fixes map[string][]string `json:"secfixes"`
			} `json:"pkg"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(doc, &d); err != nil {
		return s, errdefs.Invalid("no secdb: %w", err)
	}
	byID := map[string]*vuln.Advisory{}
	for _, p := range d.Packages {
		for _, v := range slices.Sorted(maps.Keys(p.Pkg.Fixes)) {
			if v == "0" {
				continue // never affected
			}
			for _, line := range p.Pkg.Fixes[v] {
				fields := strings.Fields(line)
				if len(fields) == 0 {
					continue
				}
				// The other fields are further names of the same.
				id := fields[0]
				a := byID[id]
				if a == nil {
					a = &vuln.Advisory{ID: "ALPINE-" + id, Upstream: fields, URL: "https://security.alpinelinux.org/vuln/" + id}
					byID[id] = a
				}
				a.Affected = append(a.Affected, vuln.Affected{Ecosystem: "Alpine:" + d.Release, Name: p.Pkg.Name,
					Ranges: []vuln.Range{{{Kind: vuln.Introduced, Version: "0"}, {Kind: vuln.Fixed, Version: v}}}})
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		if err := f.counted(&s, *byID[id]); err != nil {
			return s, err
		}
	}
	return s, nil
}

// kev reads CISA's catalog of known exploited vulnerabilities.
func (f *Feed) kev(doc []byte) (db.Source, error) {
	s := db.Source{Kind: KindKEV}
	var d struct {
		Released        string `json:"dateReleased"`
		Vulnerabilities []struct {
			ID    string `json:"cveID"`
			Added string `json:"dateAdded"`
		} `json:"vulnerabilities"`
	}
	if err := json.Unmarshal(doc, &d); err != nil {
		return s, errdefs.Invalid("no catalog of exploited vulnerabilities: %w", err)
	}
	s.Newest = clock(d.Released)
	for _, v := range d.Vulnerabilities {
		added, err := time.Parse(time.DateOnly, v.Added)
		if err != nil {
			return s, errdefs.Invalid("%s was added on %q, which is no day", v.ID, v.Added)
		}
		if err := f.Signals(v.ID, vuln.Signals{Exploited: added}); err != nil {
			return s, err
		}
		s.Records++
	}
	return s, nil
}

// epss reads the scores of EPSS (https://www.first.org/epss): a comment with the day, a header, and cve,epss,percentile. The kind is empty when the document is something else.
func (f *Feed) epss(doc []byte) (db.Source, error) {
	s := db.Source{Kind: KindEPSS}
	lines := bufio.NewScanner(bytes.NewReader(doc))
	header := false
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if day, ok := strings.CutPrefix(line, "#"); ok {
			if _, date, ok := strings.Cut(day, "score_date:"); ok {
				s.Newest = clock(strings.Replace(date, "+0000", "Z", 1))
			}
			continue
		}
		if !header {
			if line != "cve,epss,percentile" {
				return db.Source{}, nil
			}
			header = true
			continue
		}
		fields := strings.Split(line, ",")
		if len(fields) != 3 {
			return s, errdefs.Invalid("line %d of the EPSS scores has %d fields, not 3", s.Records+3, len(fields))
		}
		score, err1 := strconv.ParseFloat(fields[1], 64)
		percentile, err2 := strconv.ParseFloat(fields[2], 64)
		if err1 != nil || err2 != nil {
			return s, errdefs.Invalid("the EPSS score of %q is no number", fields[0])
		}
		if err := f.Signals(fields[0], vuln.Signals{EPSS: score, Percentile: percentile}); err != nil {
			return s, err
		}
		s.Records++
	}
	if !header {
		return db.Source{}, nil
	}
	if err := lines.Err(); err != nil {
		return s, errdefs.Invalid("the EPSS scores cannot be read: %w", err)
	}
	return s, nil
}
