package db_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/vuln"
	"github.com/camada/camada/vuln/db"
)

var created = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func fixedAt(eco, name, v string) vuln.Affected {
	return vuln.Affected{Ecosystem: eco, Name: name, Ranges: []vuln.Range{{{Kind: vuln.Fixed, Version: v}, {Kind: vuln.Introduced, Version: "0"}}}}
}

// sample are advisories that use all that there is.
func sample() []vuln.Advisory {
	return []vuln.Advisory{
		{ID: "GHSA-1", Aliases: []string{"CVE-1", "PYSEC-1"}, Summary: "one", URL: "https://example.org/1", Modified: created.AddDate(0, 0, -1), Published: created.AddDate(-1, 0, 0),
			Rating:   vuln.Rating{Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Tenths: 99, Word: vuln.High},
			Affected: []vuln.Affected{{Ecosystem: "PyPI", Name: "Django_Rest", Versions: []string{"1.0", "1.1"}, Rating: vuln.Rating{Word: vuln.Low}}, fixedAt("npm", "django", "2.0.0")}},
		{ID: "DEBIAN-CVE-2", Upstream: []string{"CVE-2"}, Affected: []vuln.Affected{fixedAt("Debian:12", "glibc", "2.36-9"), {Ecosystem: "Debian:11", Name: "glibc", State: vuln.WontFix,
			Ranges: []vuln.Range{{{Version: "0"}}}}}},
		{ID: "GONE", Withdrawn: created, Affected: []vuln.Affected{fixedAt("npm", "django", "3.0.0")}},
		{ID: "DSA-3", Affected: []vuln.Affected{fixedAt("Debian:12", "glibc", "2.36-9+deb12u1")}},
		{ID: "GO-4", Affected: []vuln.Affected{{Ecosystem: "Go", Name: "a.org/m", Versions: []string{"1.0.0"}, Imports: []vuln.Import{{Path: "a.org/m/p", Symbols: []string{"F", "T.M"}},
			{Path: "a.org/m/q", GOOS: []string{"linux"}, GOARCH: []string{"amd64", "arm64"}}}}}},
	}
}

func write(t *testing.T, name string, advisories ...vuln.Advisory) {
	t.Helper()
	b := db.NewBuilder()
	for _, a := range advisories {
		if err := b.Add(a); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(b.AddSignals("CVE-2", vuln.Signals{EPSS: 0.25}), b.AddSignals("CVE-2", vuln.Signals{Exploited: created.Truncate(24 * time.Hour)}),
		b.AddSignals("CVE-1", vuln.Signals{EPSS: 0.123456, Percentile: 1})); err != nil {
		t.Fatal(err)
	}
	if err := b.Write(name, db.Meta{Created: created, Sources: []db.Source{{Name: "here", Kind: "osv", Records: 4}}}); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, name string) *db.DB {
	t.Helper()
	d, err := db.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// found lists the IDs of what is known of a package.
func found(t *testing.T, d vuln.Database, eco, key string) (list []string) {
	t.Helper()
	err := d.Find(eco, key, func(e *vuln.Entry) error {
		a, err := e.Advisory()
		list = append(list, a.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRoundTrip(t *testing.T) {
	name := filepath.Join(t.TempDir(), "sub", "a.db")
	write(t, name, sample()...)
	d := open(t, name)
	if err := d.Verify(); err != nil {
		t.Fatal(err)
	}
	i := d.Info()
	if i.Advisories != 4 || i.Packages != 5 || i.Ecosystems != 5 || i.Signals != 2 || !i.Created.Equal(created) || !i.Newest.Equal(created.AddDate(0, 0, -1)) {
		t.Errorf("info is %+v", i)
	}
	if s, err := d.Sources(); err != nil || len(s) != 1 || s[0].Name != "here" {
		t.Errorf("sources are %v, %v", s, err)
	}
	if e, err := d.Ecosystems(); err != nil || len(e) != 5 || e[1] != (db.Ecosystem{Name: "Debian:12", Packages: 1, Entries: 2}) {
		t.Errorf("ecosystems are %v, %v", e, err)
	}
	for _, c := range []struct{ eco, name, want string }{
		{"PyPI", "django-rest", "GHSA-1"}, {"PyPI", "Django_Rest", ""}, {"npm", "django", "GHSA-1"}, {"Debian:12", "glibc", "DEBIAN-CVE-2 DSA-3"}, {"Debian:11", "glibc", "DEBIAN-CVE-2"},
		{"Debian:12", "glibd", ""}, {"Debian:12", "", ""}, {"Debian:13", "glibc", ""}, {"Debian", "glibc", ""}, {"", "", ""},
	} {
		if got := strings.Join(found(t, d, c.eco, c.name), " "); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.eco, c.name, got, c.want)
		}
	}
	if !d.Covers("npm") || d.Covers("np") || d.Covers("npn") {
		t.Error("it covers the wrong ecosystems")
	}
	err := d.Find("Go", "a.org/m", func(e *vuln.Entry) error {
		for range 2 {
			if got, err := e.ReadImports(); err != nil || !reflect.DeepEqual(got, sample()[4].Affected[0].Imports) {
				t.Errorf("imports are %+v, %v", got, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	err = d.Find("PyPI", "django-rest", func(e *vuln.Entry) error {
		a, err := e.Advisory()
		want := sample()[0]
		wantEntry := want.Affected[0]
		wantEntry.Name, want.Affected = "django-rest", nil
		got := e.Affected
		got.Ranges = nil
		if !reflect.DeepEqual(a, want) || !reflect.DeepEqual(got, wantEntry) {
			t.Errorf("got %+v\nand %+v", a, e.Affected)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if s, err := d.Signals("CVE-2"); err != nil || s.EPSS != 0.25 || !s.Exploited.Equal(created.Truncate(24*time.Hour)) {
		t.Errorf("signals of CVE-2 are %+v, %v", s, err)
	}
	if s, err := d.Signals("CVE-3"); err != nil || s != (vuln.Signals{}) {
		t.Errorf("signals of CVE-3 are %+v, %v", s, err)
	}
	if a, err := d.Lookup("DSA-3"); err != nil || a.ID != "DSA-3" {
		t.Errorf("DSA-3 is %v, %v", a, err)
	}
	if _, err := d.Lookup("GONE"); !errdefs.IsNotFound(err) {
		t.Errorf("what was withdrawn is there: %v", err)
	}
}

// TestSameBytes: the order in which advisories come does not matter, nor what was there before.
func TestSameBytes(t *testing.T) {
	dir := t.TempDir()
	s := sample()
	write(t, filepath.Join(dir, "a"), s...)
	write(t, filepath.Join(dir, "b"), sample()[3], sample()[1], sample()[4], sample()[0], sample()[2], sample()[1])
	write(t, filepath.Join(dir, "b"), sample()[3], sample()[1], sample()[4], sample()[0], sample()[2], sample()[1])
	a, err1 := os.ReadFile(filepath.Join(dir, "a"))
	b, err2 := os.ReadFile(filepath.Join(dir, "b"))
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("two databases of the same advisories differ (%v, %v)", err1, err2)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// TestSameID: the newer one stays, and what has no time adds.
func TestSameID(t *testing.T) {
	old := vuln.Advisory{ID: "X", Summary: "old", Modified: created, Affected: []vuln.Affected{fixedAt("npm", "a", "1.0.0"), fixedAt("npm", "b", "1.0.0")}}
	newer := vuln.Advisory{ID: "X", Summary: "new", Modified: created.Add(time.Hour), Affected: []vuln.Affected{fixedAt("npm", "a", "2.0.0")}}
	timeless := vuln.Advisory{ID: "X", Summary: "tracker", Affected: []vuln.Affected{{Ecosystem: "npm", Name: "a", State: vuln.WontFix, Versions: []string{"9"}}, fixedAt("npm", "c", "1.0.0")}}
	for _, order := range [][]vuln.Advisory{{old, newer, timeless}, {timeless, newer, old}, {newer, timeless, old}, {newer, old, timeless}} {
		name := filepath.Join(t.TempDir(), "a.db")
		write(t, name, order...)
		d := open(t, name)
		if a, err := d.Lookup("X"); err != nil || a.Summary != "new" {
			t.Errorf("X is %+v, %v", a, err)
		}
		if len(found(t, d, "npm", "b")) != 0 || len(found(t, d, "npm", "c")) != 1 {
			t.Error("b is still there, or c is not")
		}
		err := d.Find("npm", "a", func(e *vuln.Entry) error {
			if e.State != vuln.WontFix || len(e.Versions) != 0 || e.Ranges[0][1].Version != "2.0.0" {
				t.Errorf("a is %+v", e.Affected)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestRefused(t *testing.T) {
	b := db.NewBuilder()
	if err := b.Add(vuln.Advisory{}); !errdefs.IsInvalid(err) {
		t.Errorf("an advisory without an ID: %v", err)
	}
	if err := b.Add(vuln.Advisory{ID: strings.Repeat("x", 70_000)}); !errdefs.IsLimit(err) {
		t.Errorf("a long ID: %v", err)
	}
	if err := b.AddSignals("CVE-1", vuln.Signals{EPSS: 2}); !errdefs.IsInvalid(err) {
		t.Errorf("an EPSS of 2: %v", err)
	}
}

func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.db")
	if _, err := db.Open(name); !errdefs.IsNotFound(err) {
		t.Errorf("none: %v", err)
	}
	write(t, name, sample()...)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	change := func(what string, doc []byte, is func(error) bool) {
		t.Helper()
		if err := os.WriteFile(name, doc, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := db.Open(name)
		if !is(err) {
			t.Errorf("%s: %v", what, err)
		}
		if err == nil {
			d.Close()
		}
	}
	for _, n := range []int{0, 8, 255, 256, len(whole) / 2, len(whole) - 1} {
		change("cut", whole[:n], errdefs.IsCorrupt)
	}
	change("longer", append(bytes.Clone(whole), 0), errdefs.IsCorrupt)
	flip := func(i int) []byte {
		doc := bytes.Clone(whole)
		doc[i] ^= 1
		return doc
	}
	change("other magic", flip(0), errdefs.IsCorrupt)
	change("other format", flip(8), errdefs.IsUnsupported)
	change("other table", flip(70), errdefs.IsCorrupt)
	// A change behind the header is found by Verify.
	if err := os.WriteFile(name, flip(300), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, name).Verify(); !errdefs.IsCorrupt(err) {
		t.Errorf("a change of the body: %v", err)
	}
}

// TestCutWhileOpen: a file that someone cuts short while it is mapped is an error, not the end of the program.
func TestCutWhileOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.db")
	var many []vuln.Advisory
	for i := range 2000 {
		id := strings.Repeat("x", i%50) + time.Duration(i).String()
		many = append(many, vuln.Advisory{ID: id, Affected: []vuln.Affected{fixedAt("npm", id, "1.0.0")}})
	}
	write(t, name, many...)
	d := open(t, name)
	if err := os.Truncate(name, 4096); err != nil {
		t.Fatal(err)
	}
	err := d.Find("npm", "x3", func(*vuln.Entry) error { return nil })
	if !errdefs.IsCorrupt(err) {
		t.Errorf("a file that was cut while it was open: %v", err)
	}
	if err := d.Verify(); !errdefs.IsCorrupt(err) {
		t.Errorf("verify: %v", err)
	}
}
