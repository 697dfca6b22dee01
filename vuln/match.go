package vuln

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/vuln/version"
)

// maxFindings is how many findings one inventory may have.
const maxFindings = 500_000

// The words of Finding.Status.
const (
	// StatusFixed: a newer version repairs it.
	StatusFixed = "fixed"
	// StatusUnfixed: no version repairs it, as far as is known.
	StatusUnfixed = "unfixed"
	// StatusAffected: the versions that are affected are known, and not which one repairs it.
	StatusAffected = "affected"
	// StatusEndOfLife: nobody is going to repair it, because the package or its distribution is not supported any more.
	StatusEndOfLife = "end-of-life"
	// StatusWontFix and StatusDeferred: the distribution has decided not to repair it, or not now.
	StatusWontFix  = "wont-fix"
	StatusDeferred = "deferred"
)

// Finding is an advisory that a package is affected by.
type Finding struct {
	Package inventory.Package `json:"package"`
	// Ecosystem is where the advisory says so.
	Ecosystem string `json:"ecosystem"`
	// ID is the advisory's; Aliases are its other names, and Upstream what it is about.
	ID       string   `json:"id"`
	Aliases  []string `json:"aliases,omitempty"`
	Upstream []string `json:"upstream,omitempty"`
	// Group is the ID of the first of all findings of the package that are about the same vulnerability under other names.
	Group    string   `json:"group"`
	Summary  string   `json:"summary,omitempty"`
	Severity Severity `json:"severity"`
	// Score is CVSS's base score of Vector, 0 when there is none.
	Score  float64 `json:"score,omitempty"`
	Vector string  `json:"vector,omitempty"`
	// Fixed is the oldest version that repairs it, of the package or, where a distribution counts so, of its source package. It may be empty.
	Fixed string `json:"fixed,omitempty"`
	// Status is one of the words above.
	Status string `json:"status"`
	// Unimportant is what the distribution says of it.
	Unimportant bool      `json:"unimportant,omitempty"`
	URL         string    `json:"url,omitempty"`
	Published   time.Time `json:"published,omitzero"`
	Modified    time.Time `json:"modified,omitzero"`
	// EPSS and Percentile are from 0 to 1, Exploited is when it came into the catalog of exploited vulnerabilities.
	EPSS       float64   `json:"epss,omitempty"`
	Percentile float64   `json:"epssPercentile,omitempty"`
	Exploited  time.Time `json:"exploited,omitzero"`
	// Reachable tells whether the vulnerable code is in the program.
	Reachable Reach `json:"reachable"`
}

// Uncovered is a kind of packages that the database has nothing of.
type Uncovered struct {
	// Type is purl's, Ecosystem OSV's name of what lacks; empty when OSV has no name for it.
	Type      string `json:"type"`
	Ecosystem string `json:"ecosystem,omitempty"`
	// Packages is how many were not looked at.
	Packages int `json:"packages"`
}

// Result is what a match found.
type Result struct {
	// Findings are sorted by package, and for each package the worst first.
	Findings []Finding `json:"findings"`
	// Checked is how many packages were looked up.
	Checked int `json:"checked"`
	// Uncovered are those that could not be; whoever reads the findings must hear of them.
	Uncovered []Uncovered `json:"uncovered,omitempty"`
	// EndOfLife is when the distribution's support ended; zero when it did not, or when that is not known.
	EndOfLife time.Time `json:"endOfLife,omitzero"`
}

// Options are what a match needs besides.
type Options struct {
	// Now is what the end of a distribution's life is compared with.
	Now time.Time
	// Linked, when not nil, tells what is linked into the program that a package was found in; nil when that is not known.
	Linked func(p *inventory.Package) Linked
}

// matcher is one run.
type matcher struct {
	db        Database
	o         Options
	res       *Result
	ended     bool
	covers    map[string]bool
	uncovered map[Uncovered]int
}

// Match looks all packages of an inventory up. An error of class ErrCorrupt is of a damaged database, ErrLimit of more findings than anyone reads.
func Match(ctx context.Context, db Database, inv inventory.Inventory, o Options) (Result, error) {
	res := Result{Findings: []Finding{}}
	m := &matcher{db: db, o: o, res: &res, covers: map[string]bool{}, uncovered: map[Uncovered]int{}}
	if end := EndOfLife(inv.Distribution); !end.IsZero() && o.Now.After(end) {
		res.EndOfLife, m.ended = end, true
	}
	for i := range inv.Packages {
		if err := ctx.Err(); err != nil {
			return res, err
		}
		if err := m.look(ctx, inv.Distribution, inv.Packages[i]); err != nil {
			return res, err
		}
		if len(res.Findings) > maxFindings {
			return res, errdefs.Limit("more than %d findings", maxFindings)
		}
	}
	for u, n := range m.uncovered {
		u.Packages = n
		res.Uncovered = append(res.Uncovered, u)
	}
	slices.SortFunc(res.Uncovered, func(a, b Uncovered) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Ecosystem, b.Ecosystem))
	})
	return res, nil
}

// look looks one package up.
func (m *matcher) look(ctx context.Context, d inventory.Distribution, p inventory.Package) error {
	pl, known := placeOf(d, p)
	if !known {
		m.uncovered[Uncovered{Type: p.Type}]++
		return nil
	}
	covered := slices.DeleteFunc(slices.Clone(pl.ecosystems), func(eco string) bool { return !m.covered(eco) })
	if len(covered) == 0 {
		m.uncovered[Uncovered{Type: p.Type, Ecosystem: pl.ecosystems[0]}]++
		return nil
	}
	m.res.Checked++
	first := len(m.res.Findings)
	for _, eco := range covered {
		compare, ok := version.For(eco)
		if !ok {
			m.uncovered[Uncovered{Type: p.Type, Ecosystem: eco}]++
			continue
		}
		for _, n := range pl.names {
			err := m.db.Find(eco, Key(eco, n.name), func(e *Entry) error {
				return cmp.Or(ctx.Err(), m.try(p, n.version, e, compare))
			})
			if err != nil {
				return fmt.Errorf("look up %s in %s: %w", n.name, eco, err)
			}
		}
	}
	m.finish(first)
	return nil
}

func (m *matcher) covered(eco string) bool {
	have, ok := m.covers[eco]
	if !ok {
		have = m.db.Covers(eco)
		m.covers[eco] = have
	}
	return have
}

// try adds a finding when the version is affected. A package without a version is: to warn for nothing is better than to miss.
func (m *matcher) try(p inventory.Package, v string, e *Entry, compare version.Compare) error {
	affected, fixed := e.contains(v, compare)
	if !affected && v != "" {
		return nil
	}
	a, err := e.Advisory()
	if err != nil {
		return err
	}
	if !a.Withdrawn.IsZero() {
		return nil
	}
	f := Finding{Package: p, Ecosystem: e.Ecosystem, ID: a.ID, Aliases: a.Aliases, Upstream: a.Upstream, Summary: a.Summary, Fixed: fixed, URL: a.URL, Published: a.Published, Modified: a.Modified,
		Unimportant: e.State == Unimportant}
	rating := a.Rating
	if e.Rating != (Rating{}) {
		rating = e.Rating
	}
	f.Vector, f.Severity = rating.Vector, rating.Severity()
	f.Score, _ = rating.Score()
	f.Status = m.status(e, fixed)
	var linked Linked
	if m.o.Linked != nil && e.Ecosystem == "Go" {
		linked = m.o.Linked(&f.Package)
	}
	if f.Reachable, err = e.reach(f.ID, linked); err != nil {
		return err
	}
	for _, id := range slices.Concat([]string{a.ID}, a.Aliases, a.Upstream) {
		s, err := m.db.Signals(id)
		if err != nil {
			return err
		}
		f.EPSS, f.Percentile = max(f.EPSS, s.EPSS), max(f.Percentile, s.Percentile)
		if f.Exploited.IsZero() {
			f.Exploited = s.Exploited
		}
	}
	m.res.Findings = append(m.res.Findings, f)
	return nil
}

func (m *matcher) status(e *Entry, fixed string) string {
	switch {
	case fixed != "":
		return StatusFixed
	case m.ended || e.State == Unsupported:
		return StatusEndOfLife
	case e.State == WontFix:
		return StatusWontFix
	case e.State == Deferred:
		return StatusDeferred
	case e.open():
		return StatusUnfixed
	}
	return StatusAffected
}

// finish takes out what was found twice, by way of two names, sorts the findings of one package and groups those that are the same vulnerability.
func (m *matcher) finish(first int) {
	found := m.res.Findings[first:]
	slices.SortStableFunc(found, func(a, b Finding) int { return strings.Compare(a.ID, b.ID) })
	for i := len(found) - 1; i > 0; i-- { // the first of several stays
		if found[i-1].ID == found[i].ID {
			found[i-1].Reachable = found[i-1].Reachable.or(found[i].Reachable)
		}
	}
	found = slices.CompactFunc(found, func(a, b Finding) bool { return a.ID == b.ID })
	group(found)
	agree(found)
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(b.Score, a.Score))
	})
	m.res.Findings = m.res.Findings[:first+len(found)]
}

// group gives those findings the same Group whose IDs and aliases meet.
func group(found []Finding) {
	of := map[string]int{}
	parent := make([]int, len(found))
	root := func(i int) int {
		for parent[i] != i {
			i = parent[i]
		}
		return i
	}
	for i := range found {
		parent[i] = i
		for _, id := range append([]string{found[i].ID}, found[i].Aliases...) {
			j, ok := of[id]
			if !ok {
				of[id] = i
				continue
			}
			a, b := root(i), root(j)
			parent[max(a, b)] = min(a, b)
		}
	}
	for i := range found {
		found[i].Group = found[root(i)].ID
	}
}
