package vuln_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/inventory"
	"github.com/camada/camada/vuln"
)

// memory is a database of a few advisories.
type memory []vuln.Advisory

func (m memory) Covers(eco string) bool {
	for _, a := range m {
		for _, x := range a.Affected {
			if x.Ecosystem == eco {
				return true
			}
		}
	}
	return false
}

func (m memory) Find(eco, key string, fn func(*vuln.Entry) error) error {
	for _, a := range m {
		for _, x := range a.Affected {
			if x.Ecosystem != eco || x.Name != key {
				continue
			}
			if err := fn(&vuln.Entry{Affected: x, Advisory: func() (vuln.Advisory, error) { return a, nil }}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m memory) Signals(id string) (vuln.Signals, error) {
	if id == "CVE-1" {
		return vuln.Signals{EPSS: 0.5}, nil
	}
	return vuln.Signals{}, nil
}

// events reads "0 !1.2 3 =4": introduced at 0, fixed in 1.2, introduced again at 3, and 4 is the last that is affected.
func events(s string) (r vuln.Range) {
	for w := range strings.FieldsSeq(s) {
		switch w[0] {
		case '!':
			r = append(r, vuln.Event{Kind: vuln.Fixed, Version: w[1:]})
		case '=':
			r = append(r, vuln.Event{Kind: vuln.LastAffected, Version: w[1:]})
		default:
			r = append(r, vuln.Event{Kind: vuln.Introduced, Version: w})
		}
	}
	return r
}

func advisory(id, eco, name, ranges string) vuln.Advisory {
	return vuln.Advisory{ID: id, Affected: []vuln.Affected{{Ecosystem: eco, Name: name, Ranges: []vuln.Range{events(ranges)}}}}
}

func TestMatch(t *testing.T) {
	bookworm := inventory.Distribution{ID: "debian", VersionID: "12"}
	libc := inventory.Package{Type: "deb", Name: "libc6", Version: "2.36-9+b1", Source: "glibc", SourceVersion: "2.36-9"}
	withdrawn := advisory("GONE", "Debian:12", "glibc", "0")
	withdrawn.Withdrawn = time.Unix(1, 0)
	listed := vuln.Advisory{ID: "LISTED", Affected: []vuln.Affected{{Ecosystem: "PyPI", Name: "a-b", Versions: []string{"1.0"}}}}
	for _, c := range []struct {
		name string
		d    inventory.Distribution
		p    inventory.Package
		db   memory
		want string
	}{
		{"source package, by its own version", bookworm, libc, memory{advisory("A", "Debian:12", "glibc", "0 !2.36-9+deb12u1")}, "A fixed 2.36-9+deb12u1"},
		{"repaired", bookworm, libc, memory{advisory("A", "Debian:12", "glibc", "0 !2.36-9")}, ""},
		{"the binary's name is not asked for", bookworm, libc, memory{advisory("A", "Debian:12", "libc6", "0")}, ""},
		{"never repaired", bookworm, libc, memory{advisory("A", "Debian:12", "glibc", "0")}, "A unfixed"},
		{"withdrawn", bookworm, libc, memory{withdrawn}, ""},
		{"point release", inventory.Distribution{ID: "debian", VersionID: "12.4"}, libc, memory{advisory("A", "Debian:12", "glibc", "0")}, "A unfixed"},
		{"testing", inventory.Distribution{ID: "debian", Codename: "trixie"}, libc, memory{advisory("A", "Debian:13", "glibc", "0")}, "A unfixed"},
		{"a code name", inventory.Distribution{ID: "debian", VersionID: "bookworm"}, libc, memory{advisory("A", "Debian:12", "glibc", "0")}, "A unfixed"},
		{"end of life", inventory.Distribution{ID: "debian", VersionID: "8"}, libc, memory{advisory("A", "Debian:8", "glibc", "0")}, "A end-of-life"},
		{"Ubuntu's long names", inventory.Distribution{ID: "ubuntu", VersionID: "24.04"}, libc, memory{advisory("A", "Ubuntu:24.04:LTS", "glibc", "0")}, "A unfixed"},
		{"Alpine", inventory.Distribution{ID: "alpine", VersionID: "3.22.1"}, inventory.Package{Type: "apk", Name: "libssl3", Version: "3.5.1-r0", Source: "openssl"},
			memory{advisory("A", "Alpine:v3.22", "openssl", "0 !3.5.2-r0"), advisory("B", "Alpine:v3.22", "openssl", "0 !3.5.1-r0")}, "A fixed 3.5.2-r0"},
		{"the branch's own fix", bookworm, inventory.Package{Type: "golang", Name: "example.org/m", Version: "v1.4.2"},
			memory{advisory("A", "Go", "example.org/m", "0 !1.3.5 1.4.0 !1.4.3 1.5.0 !1.5.1")}, "A fixed 1.4.3"},
		{"between the branches", bookworm, inventory.Package{Type: "golang", Name: "example.org/m", Version: "v1.3.9"}, memory{advisory("A", "Go", "example.org/m", "0 !1.3.5 1.4.0 !1.4.3")}, ""},
		{"last affected", bookworm, inventory.Package{Type: "npm", Name: "m", Version: "1.4.3"}, memory{advisory("A", "npm", "m", "0 =1.4.3")}, "A affected"},
		{"after the last affected", bookworm, inventory.Package{Type: "npm", Name: "m", Version: "1.4.4"}, memory{advisory("A", "npm", "m", "0 =1.4.3")}, ""},
		{"listed, by another spelling of the name", bookworm, inventory.Package{Type: "pypi", Name: "A_b", Version: "1.0"}, memory{listed}, "LISTED affected"},
		{"not listed", bookworm, inventory.Package{Type: "pypi", Name: "A_b", Version: "1.1"}, memory{listed}, ""},
		{"no version is warned of", bookworm, inventory.Package{Type: "npm", Name: "m"}, memory{advisory("A", "npm", "m", "1.0.0 !2.0.0")}, "A affected"},
		{"the toolchain", bookworm, inventory.Package{Type: "golang", Name: "stdlib", Version: "1.21rc1"}, memory{advisory("A", "Go", "stdlib", "0 !1.21.0-rc.2")}, "A fixed 1.21.0-rc.2"},
		{"rpm, by both names", inventory.Distribution{ID: "rocky", VersionID: "9.3"}, inventory.Package{Type: "rpm", Name: "openssl-libs", Version: "1:3.0.7-1.el9", Source: "openssl"},
			memory{advisory("A", "Rocky Linux:9", "openssl", "0 !1:3.0.7-2.el9"), advisory("A", "Rocky Linux:9", "openssl-libs", "0 !1:3.0.7-2.el9")}, "A fixed 1:3.0.7-2.el9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := vuln.Match(t.Context(), c.db, inventory.Inventory{Distribution: c.d, Packages: []inventory.Package{c.p}}, vuln.Options{Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range r.Findings {
				got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", f.ID, f.Status, f.Fixed)))
			}
			if strings.Join(got, ", ") != c.want || len(r.Uncovered) != 0 || r.Checked != 1 {
				t.Errorf("found %q, want %q; checked %d, uncovered %v", got, c.want, r.Checked, r.Uncovered)
			}
		})
	}
}

// TestUncovered: what the database does not know is said, for each kind of package.
func TestUncovered(t *testing.T) {
	inv := inventory.Inventory{Distribution: inventory.Distribution{ID: "debian", VersionID: "13"}, Packages: []inventory.Package{
		{Type: "deb", Name: "a", Version: "1"}, {Type: "deb", Name: "b", Version: "1"}, {Type: "npm", Name: "a", Version: "1"}, {Type: "what", Name: "a"}}}
	r, err := vuln.Match(t.Context(), memory{advisory("A", "Debian:12", "a", "0"), advisory("B", "npm", "b", "0")}, inv, vuln.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(r.Uncovered), "[{deb Debian:13 2} {what  1}]"; got != want || r.Checked != 1 || len(r.Findings) != 0 {
		t.Errorf("uncovered %s, want %s; checked %d", got, want, r.Checked)
	}
}

// TestGroups: names of the same vulnerability are grouped, the worst comes first, and what attackers use is said.
func TestGroups(t *testing.T) {
	a, b, c := advisory("PYSEC-1", "PyPI", "m", "0"), advisory("GHSA-1", "PyPI", "m", "0"), advisory("GHSA-2", "PyPI", "m", "0")
	a.Aliases, b.Aliases = []string{"CVE-1"}, []string{"CVE-1"}
	c.Rating.Vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
	b.Affected[0].Rating.Word = vuln.Medium
	inv := inventory.Inventory{Packages: []inventory.Package{{Type: "pypi", Name: "m", Version: "1"}}}
	r, err := vuln.Match(t.Context(), memory{a, b, c}, inv, vuln.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.Findings {
		got = append(got, fmt.Sprintf("%s %s %s %.1f %.1f", f.ID, f.Group, f.Severity, f.Score, f.EPSS))
	}
	want := "GHSA-2 GHSA-2 critical 9.8 0.0, GHSA-1 GHSA-1 medium 0.0 0.5, PYSEC-1 GHSA-1 unknown 0.0 0.5"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

// TestScore has the examples of the specifications.
func TestScore(t *testing.T) {
	for vector, want := range map[string]float64{
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H":                         9.8,
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N":                         6.1,
		"CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N":                         6.4,
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H":                         10,
		"CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N":                         3.1,
		"CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:N":                         0,
		"CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:N/I:H/A:N/E:P/RL:O":                4.6,
		"AV:N/AC:L/Au:N/C:N/I:N/A:C":                                           7.8,
		"AV:N/AC:L/Au:N/C:C/I:C/A:C":                                           10,
		"AV:L/AC:H/Au:N/C:C/I:C/A:C":                                           6.2,
		"CVSS:3.1/AV:N":                                                        -1,
		"":                                                                     -1,
		"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N":      -1,
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:" + strings.Repeat("H", 9): -1,
	} {
		got, ok := vuln.Score(vector)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%s is %v, want %v", vector, got, want)
		}
	}
}

func TestSeverity(t *testing.T) {
	for word, want := range map[string]vuln.Severity{"CRITICAL": vuln.Critical, "moderate": vuln.Medium, "Important": vuln.High, "unimportant": vuln.Low, "none": vuln.None} {
		if got, ok := vuln.ParseSeverity(word); !ok || got != want {
			t.Errorf("%s is %v", word, got)
		}
	}
	if _, ok := vuln.ParseSeverity("bad"); ok {
		t.Error("bad is a severity")
	}
	if got := (vuln.Rating{Vector: "CVSS:4.0/x", Word: vuln.High}).Severity(); got != vuln.High {
		t.Errorf("a vector that is not understood makes it %v", got)
	}
}
