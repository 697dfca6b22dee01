package resolve

import (
	"maps"
	"slices"
	"strings"

	"github.com/camada/camada/base/debian/dependency"
	"github.com/camada/camada/base/debian/index"
	"github.com/camada/camada/errdefs"
)

const (
	maxTries = 500_000
	maxDepth = 5_000
)

// Request says what is wanted.
type Request struct {
	// Names are the packages that must be there: "name" or "name=version".
	Names []string
	// Exclude are packages that must not be chosen.
	Exclude []string
	// Ignore, when set, tells which needs are to be taken as met.
	Ignore func(p *index.Package, need dependency.Group) bool
}

// Set is a choice of packages.
type Set struct {
	pool   *Pool
	chosen map[string]*index.Package
	named  map[string]bool
	needs  map[*index.Package]*needs
	ignore func(p *index.Package, need dependency.Group) bool
}

// needs are the relations of one package, parsed.
type needs struct {
	pre, depends, against []dependency.Group
}

// Resolve chooses the named packages and what they need. An error of class
// ErrNotFound says which package is not in the pool and what needs it, one of class
// ErrConflict which packages cannot be together.
func Resolve(pool *Pool, req Request) (*Set, error) {
	s := &solver{
		Set: &Set{
			pool: pool, chosen: map[string]*index.Package{}, named: map[string]bool{},
			needs: map[*index.Package]*needs{}, ignore: req.Ignore,
		},
		exclude: map[string]bool{},
	}
	for _, n := range req.Exclude {
		s.exclude[n] = true
	}
	// All the named ones first, so that they decide between alternatives.
	var roots []*index.Package
	for _, n := range req.Names {
		p, err := s.root(n)
		if err != nil {
			return nil, err
		}
		if s.named[p.Name] {
			continue
		}
		if err := s.choose(p); err != nil {
			return nil, err
		}
		s.named[p.Name] = true
		roots = append(roots, p)
	}
	for _, p := range roots {
		if err := s.meet(p, 0); err != nil {
			return nil, err
		}
	}
	return s.Set, nil
}

type solver struct {
	*Set
	exclude map[string]bool
	trail   []string
	tries   int
}

func (s *solver) root(name string) (*index.Package, error) {
	name, want, exact := strings.Cut(name, "=")
	for _, p := range s.pool.byName[name] {
		if !exact || p.Version == want {
			return p, nil
		}
	}
	if exact && s.pool.Best(name) != nil {
		return nil, errdefs.NotFound("package %s: the archive has version %s, not %s", name, s.pool.Best(name).Version, want)
	}
	options := s.pool.options(dependency.Relation{Name: name})
	switch len(options) {
	case 0:
		return nil, errdefs.NotFound("package %s: the archive has none for %s", name, s.pool.arch)
	case 1:
		return options[0], nil
	}
	var names []string
	for _, o := range options {
		names = append(names, o.Name)
	}
	return nil, errdefs.NotFound("package %s is virtual: name one of %s", name, strings.Join(slices.Compact(names), ", "))
}

// choose adds p to the set, unless it cannot be there.
func (s *solver) choose(p *index.Package) error {
	if q := s.chosen[p.Name]; q != nil && q != p {
		return errdefs.Conflict("package %s: both version %s and %s are needed", p.Name, q.Version, p.Version)
	}
	if s.exclude[p.Name] {
		return errdefs.Conflict("package %s is excluded", p.Name)
	}
	n, err := s.parse(p)
	if err != nil {
		return err
	}
	for _, q := range s.chosen {
		if hit(n.against, q, p) || hit(s.needs[q].against, p, q) {
			return errdefs.Conflict("package %s cannot be installed together with %s", p.Name, q.Name)
		}
	}
	s.chosen[p.Name] = p
	s.trail = append(s.trail, p.Name)
	return nil
}

// hit reports whether the relations against, which are by's, mean q.
func hit(against []dependency.Group, q, by *index.Package) bool {
	if q.Name == by.Name {
		return false
	}
	for _, g := range against {
		for _, r := range g {
			if r.Name == q.Name && r.Accepts(q.Version) || q.Provides != "" && providesAny(q, r) {
				return true
			}
		}
	}
	return false
}

func providesAny(q *index.Package, r dependency.Relation) bool {
	if !strings.Contains(q.Provides, r.Name) {
		return false
	}
	groups, err := dependency.Parse(q.Provides)
	if err != nil {
		return false
	}
	for _, g := range groups {
		v := provider{q, g[0].Version}
		if g[0].Name == r.Name && v.accepts(r) {
			return true
		}
	}
	return false
}

// meet chooses what p needs, and what that needs, and so on.
func (s *solver) meet(p *index.Package, depth int) error {
	if depth > maxDepth {
		return errdefs.Limit("package %s: needed over more than %d others", p.Name, maxDepth)
	}
	n := s.needs[p]
	for _, groups := range [][]dependency.Group{n.pre, n.depends} {
		for _, g := range groups {
			if err := s.meetOne(p, g, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *solver) meetOne(p *index.Package, g dependency.Group, depth int) error {
	if s.ignored(p, g) || len(s.satisfying(g)) > 0 {
		return nil
	}
	var first error
	for _, r := range g {
		for _, o := range s.pool.options(r) {
			if s.tries++; s.tries > maxTries {
				return errdefs.Limit("package %s: no choice of packages found in %d tries", p.Name, maxTries)
			}
			mark := len(s.trail)
			err := s.choose(o)
			if err == nil {
				err = s.meet(o, depth+1)
			}
			if err == nil || errdefs.IsLimit(err) {
				return err
			}
			for _, name := range s.trail[mark:] {
				delete(s.chosen, name)
			}
			s.trail = s.trail[:mark]
			if first == nil {
				first = err
			}
		}
	}
	if first != nil {
		return errdefs.Conflict("package %s needs %s: %w", p.Name, g, first)
	}
	return errdefs.NotFound("package %s needs %s, which the archive does not have", p.Name, g)
}

func (s *Set) ignored(p *index.Package, g dependency.Group) bool {
	return s.ignore != nil && s.ignore(p, g)
}

// satisfying returns the chosen packages that meet a need, in a fixed order.
func (s *Set) satisfying(g dependency.Group) []*index.Package {
	var out []*index.Package
	for _, r := range g {
		if q := s.chosen[r.Name]; q != nil && r.Accepts(q.Version) && s.pool.archFits(r, q) {
			out = append(out, q)
		}
		for _, v := range s.pool.provides[r.Name] {
			if s.chosen[v.pkg.Name] == v.pkg && v.accepts(r) && s.pool.archFits(r, v.pkg) {
				out = append(out, v.pkg)
			}
		}
	}
	return out
}

func (s *Set) parse(p *index.Package) (*needs, error) {
	if n := s.needs[p]; n != nil {
		return n, nil
	}
	n := &needs{}
	for _, f := range []struct {
		field, text string
		into        *[]dependency.Group
	}{
		{"Pre-Depends", p.PreDepends, &n.pre},
		{"Depends", p.Depends, &n.depends},
		{"Conflicts", p.Conflicts, &n.against},
		{"Breaks", p.Breaks, &n.against},
	} {
		groups, err := dependency.Parse(f.text)
		if err != nil {
			return nil, errdefs.Corrupt("package %s: %s: %w", p.Name, f.field, err)
		}
		*f.into = append(*f.into, groups...)
	}
	s.needs[p] = n
	return n, nil
}

// Has reports whether the package of that name is in the set.
func (s *Set) Has(name string) bool { return s.chosen[name] != nil }

// Named reports whether the package was asked for by its name.
func (s *Set) Named(name string) bool { return s.named[name] }

// Order returns the packages so that each one's needs come before it. Where
// needs go round in a circle, Pre-Depends go before Depends, and then the names decide.
func (s *Set) Order() []*index.Package {
	return s.walk(slices.Sorted(maps.Keys(s.chosen)))
}

// Closure returns the named packages of the set and what they need, as the set
// meets it, ordered as Order does. Names that are not in the set are left out.
func (s *Set) Closure(names []string) []*index.Package { return s.walk(names) }

// walk is a depth first search with its own stack: a chain of needs may be long.
func (s *Set) walk(names []string) []*index.Package {
	var out []*index.Package
	seen := map[*index.Package]bool{}
	type frame struct {
		pkg  *index.Package
		next []*index.Package
	}
	var stack []frame
	push := func(p *index.Package) {
		if p != nil && !seen[p] {
			seen[p] = true
			stack = append(stack, frame{p, s.direct(p)})
		}
	}
	for _, n := range names {
		push(s.chosen[n])
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.next) == 0 {
				out = append(out, top.pkg)
				stack = stack[:len(stack)-1]
				continue
			}
			next := top.next[0]
			top.next = top.next[1:]
			push(next)
		}
	}
	return out
}

// PreDepends returns the packages of the set that must be configured before
// p may be unpacked.
func (s *Set) PreDepends(p *index.Package) []*index.Package {
	var out []*index.Package
	for _, g := range s.needs[p].pre {
		if !s.ignored(p, g) {
			out = append(out, s.satisfying(g)...)
		}
	}
	return out
}

// direct returns the packages of the set that p needs.
func (s *Set) direct(p *index.Package) []*index.Package {
	out := s.PreDepends(p)
	for _, g := range s.needs[p].depends {
		if !s.ignored(p, g) {
			out = append(out, s.satisfying(g)...)
		}
	}
	return out
}
