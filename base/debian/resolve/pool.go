// Package resolve chooses the packages that are needed so that the named ones work.
//
//	pool := resolve.NewPool("amd64")
//	pool.Add(pkg) // each of the archives' packages
//	set, err := resolve.Resolve(pool, resolve.Request{Names: []string{"apt"}})
//	for _, p := range set.Order() { ... } // needs before what needs them
//
// The choice is deterministic: it depends on the packages alone, and on the
// order in which archives with the same version of one were added.
package resolve

import (
	"slices"
	"strings"

	"github.com/camada/camada/base/debian/dependency"
	"github.com/camada/camada/base/debian/index"
	"github.com/camada/camada/base/debian/version"
	"github.com/camada/camada/errdefs"
)

const maxPackages = 2_000_000

// Pool is all packages that can be chosen from.
type Pool struct {
	arch     string
	count    int
	byName   map[string][]*index.Package // best version first
	provides map[string][]provider
}

// provider is a package that stands in for a virtual one; version is that of
// the virtual package, "" when it has none.
type provider struct {
	pkg     *index.Package
	version string
}

// NewPool returns an empty Pool for one architecture.
func NewPool(arch string) *Pool {
	return &Pool{arch: arch, byName: map[string][]*index.Package{}, provides: map[string][]provider{}}
}

// Add adds a package. Packages for other architectures are left out. Errors
// are of class ErrCorrupt or ErrLimit.
func (p *Pool) Add(pkg index.Package) error {
	if pkg.Architecture != p.arch && pkg.Architecture != "all" {
		return nil
	}
	if p.count++; p.count > maxPackages {
		return errdefs.Limit("more than %d packages", maxPackages)
	}
	q := &pkg
	same := p.byName[q.Name]
	at := len(same)
	for at > 0 && version.Compare(same[at-1].Version, q.Version) < 0 {
		at--
	}
	p.byName[q.Name] = slices.Insert(same, at, q)
	if q.Provides == "" {
		return nil
	}
	groups, err := dependency.Parse(q.Provides)
	if err != nil {
		return errdefs.Corrupt("package %s: Provides: %w", q.Name, err)
	}
	for _, g := range groups {
		v := ""
		if g[0].Op == dependency.Exactly {
			v = g[0].Version
		}
		p.provides[g[0].Name] = append(p.provides[g[0].Name], provider{q, v})
	}
	return nil
}

// Len is the number of packages.
func (p *Pool) Len() int { return p.count }

// Best returns the package of that name with the highest version, nil when
// there is none.
func (p *Pool) Best(name string) *index.Package {
	if all := p.byName[name]; len(all) > 0 {
		return all[0]
	}
	return nil
}

// Select returns the sorted names of the packages whose best version passes.
func (p *Pool) Select(pass func(*index.Package) bool) []string {
	var names []string
	for name, all := range p.byName {
		if pass(all[0]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// options are the packages that would satisfy a relation: those of the name,
// then those that provide it, the more important ones first.
func (p *Pool) options(r dependency.Relation) []*index.Package {
	var out []*index.Package
	for _, q := range p.byName[r.Name] {
		if r.Accepts(q.Version) && p.archFits(r, q) {
			out = append(out, q)
		}
	}
	var virtual []*index.Package
	for _, v := range p.provides[r.Name] {
		if v.accepts(r) && p.archFits(r, v.pkg) && !slices.Contains(virtual, v.pkg) {
			virtual = append(virtual, v.pkg)
		}
	}
	slices.SortStableFunc(virtual, func(a, b *index.Package) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return version.Compare(b.Version, a.Version)
	})
	return append(out, virtual...)
}

func (v provider) accepts(r dependency.Relation) bool {
	return r.Op == dependency.None || v.version != "" && r.Accepts(v.version)
}

// archFits obeys a relation's architecture qualifier (Policy 7.1, multiarch):
// there is one architecture only, so "any" and "native" are met by it.
func (p *Pool) archFits(r dependency.Relation, q *index.Package) bool {
	switch r.Arch {
	case "", "native", p.arch:
		return true
	case "any":
		return q.MultiArch == "allowed" || q.MultiArch == "foreign" || q.Architecture == p.arch
	}
	return false
}

// rank orders priorities (Policy 2.5).
func rank(p *index.Package) int {
	switch {
	case p.Essential:
		return 0
	case p.Priority == "required":
		return 1
	case p.Priority == "important":
		return 2
	case p.Priority == "standard":
		return 3
	case p.Priority == "optional":
		return 4
	}
	return 5
}
