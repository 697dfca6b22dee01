package vuln_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/inventory"
	"github.com/camada/camada/vuln"
)

// program is what is linked into one: "a.org/m/p.F".
type program struct {
	names []string
	whole bool
}

func (p program) Has(pkg, function string) bool {
	return slices.ContainsFunc(p.names, func(n string) bool { return n == pkg+"."+function || function == "" && strings.HasPrefix(n, pkg+".") })
}

func (p program) HasModule(path string) bool {
	return slices.ContainsFunc(p.names, func(n string) bool { return strings.HasPrefix(n, path) })
}

func (p program) Complete() bool             { return p.whole }
func (p program) Platform() (string, string) { return "linux", "arm64" }

// TestReach: what is known of a program's functions decides, and advisories about one vulnerability agree.
func TestReach(t *testing.T) {
	const module = "a.org/m"
	about := func(id string, aliases []string, lists ...[]vuln.Import) vuln.Advisory {
		a := advisory(id, "Go", module, "0 !2.0.0")
		a.Aliases = aliases
		for i, list := range lists {
			if i > 0 {
				a.Affected = append(a.Affected, a.Affected[0])
			}
			a.Affected[i].Imports = list
		}
		return a
	}
	imports := func(symbols ...string) []vuln.Import { return []vuln.Import{{Path: module + "/p", Symbols: symbols}} }
	whole := program{[]string{"a.org/m/p.F", "a.org/m/p.T.M"}, true}
	for _, c := range []struct {
		name string
		p    vuln.Linked
		db   memory
		want string
	}{
		{"a function", whole, memory{about("GO-1", nil, imports("G", "F"))}, "GO-1 yes"},
		{"a method", whole, memory{about("GO-1", nil, imports("T.M"))}, "GO-1 yes"},
		{"none", whole, memory{about("GO-1", nil, imports("G", "M", "T"))}, "GO-1 no"},
		{"none that is told", program{whole.names, false}, memory{about("GO-1", nil, imports("G"))}, "GO-1 unknown"},
		{"one that is told", program{whole.names, false}, memory{about("GO-1", nil, imports("F"))}, "GO-1 yes"},
		{"no program", nil, memory{about("GO-1", nil, imports("F"))}, "GO-1 unknown"},
		{"a package", whole, memory{about("GO-1", nil, imports())}, "GO-1 yes"},
		{"another package", whole, memory{about("GO-1", nil, []vuln.Import{{Path: module + "/q"}})}, "GO-1 no"},
		{"another system", whole, memory{about("GO-1", nil, []vuln.Import{{Path: module + "/p", GOOS: []string{"windows"}}})}, "GO-1 no"},
		{"another processor", whole, memory{about("GO-1", nil, []vuln.Import{{Path: module + "/p", GOOS: []string{"linux"}, GOARCH: []string{"amd64", "386"}}})}, "GO-1 no"},
		{"the same", whole, memory{about("GO-1", nil, []vuln.Import{{Path: module + "/p", GOOS: []string{"linux"}, GOARCH: []string{"amd64", "arm64"}}})}, "GO-1 yes"},
		{"a module", whole, memory{about("GO-1", nil, nil)}, "GO-1 yes"},
		{"a module of which nothing is linked in", program{nil, true}, memory{about("GO-1", nil, nil)}, "GO-1 no"},
		{"others name no functions", whole, memory{about("GHSA-1", nil, nil)}, "GHSA-1 unknown"},
		{"two lists", whole, memory{about("GO-1", nil, imports("G"), imports("F"))}, "GO-1 yes"},
		{"the same vulnerability", whole, memory{about("GHSA-1", []string{"GO-1"}, nil), about("GO-1", nil, imports("G")), about("GHSA-2", nil, nil)}, "GHSA-1 no GHSA-2 unknown GO-1 no"},
		{"the same twice", whole, memory{about("GHSA-1", []string{"GO-1", "GO-2"}, nil), about("GO-1", nil, imports("G")), about("GO-2", nil, imports("F"))}, "GHSA-1 yes GO-1 no GO-2 yes"},
	} {
		inv := inventory.Inventory{Packages: []inventory.Package{{Type: "golang", Name: module, Version: "v1.0.0", Found: "bin/app"}}}
		res, err := vuln.Match(t.Context(), c.db, inv, vuln.Options{Linked: func(p *inventory.Package) vuln.Linked {
			if p.Found != "bin/app" {
				t.Errorf("asked for %s", p.Found)
			}
			return c.p
		}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range res.Findings {
			got = append(got, f.ID+" "+string(f.Reachable))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: got %q, want %q", c.name, s, c.want)
		}
	}
}
