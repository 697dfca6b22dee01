// Package vuln tells which of the packages that are installed have known vulnerabilities.
//
//	d, err := db.Open("advisories.db")
//	r, err := vuln.Match(ctx, d, inv, vuln.Options{})
//	for _, f := range r.Findings {
//		fmt.Println(f.Package.Name, f.Package.Version, f.ID, f.Fixed)
//	}
//	r.Uncovered // what the database knows nothing of, which is not the same as being safe
//
// Advisories have the form of OSV (https://ossf.github.io/osv-schema/), reduced to what a match needs. The children read them
// (vuln/feed), keep them in a file (vuln/db) and order versions (vuln/version).
package vuln

import (
	"strings"
	"time"
)

// Advisory is what is known of one vulnerability, or of what one update repaired.
type Advisory struct {
	// ID is that of the database which it comes from, e.g. GO-2024-3228 or DSA-5380-1.
	ID string
	// Aliases are IDs of the same vulnerability in other databases; Upstream those of the vulnerabilities that it is about.
	Aliases, Upstream []string
	// Summary is one line for people; it may be empty.
	Summary string
	// Rating is how bad it is; an Affected may have one of its own.
	Rating Rating
	// Published, Modified and Withdrawn are zero when they are not known. What was withdrawn is no finding.
	Published, Modified, Withdrawn time.Time
	// URL is where to read on; it may be empty.
	URL      string
	Affected []Affected
}

// Affected says which versions of one package are.
type Affected struct {
	// Ecosystem is OSV's name, with the release where a distribution has several: Debian:12.
	Ecosystem string
	// Name is the package's, as the ecosystem's advisories have it: a source package's in Debian.
	Name string
	// Ranges and Versions are alternatives: a version in any of them is affected.
	Ranges   []Range
	Versions []string
	Rating   Rating
	// State is what the distribution says of the vulnerability beyond versions; it may be empty.
	State State
	// Imports are the packages of a module of Go, and the functions in them, that are vulnerable; empty when all may be.
	Imports []Import
}

// Import is a package that is vulnerable, as Go's vulnerability database has it (go.dev/doc/security/vuln/database, "ecosystem_specific").
type Import struct {
	// Path is the package's, and Symbols the functions and methods ("Decoder.Decode") in it; without any it is the whole package.
	Path    string
	Symbols []string
	// GOOS and GOARCH are where it is so; empty is everywhere.
	GOOS, GOARCH []string
}

// Range is a list of events, in the order of versions once it is in a database.
type Range []Event

// Event is a version at which something changes.
type Event struct {
	Kind    EventKind
	Version string
}

// EventKind is what changes at a version.
type EventKind uint8

// The kinds of events of OSV. From Introduced on a version is affected ("0" is before all versions), up to Fixed, which is not, or to
// LastAffected, which is.
const (
	Introduced EventKind = iota
	Fixed
	LastAffected
	Limit
)

// State is what a distribution has decided about a vulnerability.
type State uint8

// The states.
const (
	// Undecided is all that is not said.
	Undecided State = iota
	// Unimportant does not matter in practice, says the distribution.
	Unimportant
	// WontFix will not be repaired in this release.
	WontFix
	// Deferred may be repaired later, with something else.
	Deferred
	// Unsupported packages are not looked after any more in this release.
	Unsupported
)

// Signals are what is known of the use of a vulnerability by attackers.
type Signals struct {
	// EPSS is the probability that it is used within 30 days, from 0 to 1, and Percentile its rank among all; both 0 when not known.
	EPSS, Percentile float64
	// Exploited is when it came into CISA's catalog of known exploited vulnerabilities; zero when it is not there.
	Exploited time.Time
}

// Entry is an Affected of a database, with its advisory.
type Entry struct {
	Affected
	// Advisory reads the rest, without Affected.
	Advisory func() (Advisory, error)
	// ReadImports reads the Imports; nil when they are there already.
	ReadImports func() ([]Import, error)
}

// Database finds advisories.
type Database interface {
	// Covers reports whether the database has anything of an ecosystem.
	Covers(ecosystem string) bool
	// Find calls fn with all that is known of a package, by the key that Key makes, and returns fn's error. The entry is valid until fn returns. One of class ErrCorrupt means that
	// the database is damaged.
	Find(ecosystem, key string, fn func(*Entry) error) error
	// Signals returns what is known of a CVE.
	Signals(id string) (Signals, error)
}

// Key turns the name of a package into that which a database is asked for, where an ecosystem takes several for the same.
func Key(ecosystem, name string) string {
	base, _, _ := strings.Cut(ecosystem, ":")
	switch base {
	case "PyPI": // PEP 503
		var b strings.Builder
		for part := range strings.FieldsFuncSeq(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
			if b.Len() > 0 {
				b.WriteByte('-')
			}
			b.WriteString(part)
		}
		return b.String()
	case "NuGet", "Packagist":
		return strings.ToLower(name)
	}
	return name
}
