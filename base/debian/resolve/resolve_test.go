package resolve_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/base/debian/dependency"
	"github.com/camada/camada/base/debian/index"
	"github.com/camada/camada/base/debian/resolve"
	"github.com/camada/camada/errdefs"
)

// pool makes packages from lines "name version; Depends: x; Provides: y".
func pool(t *testing.T, lines ...string) *resolve.Pool {
	t.Helper()
	p := resolve.NewPool("amd64")
	for _, line := range lines {
		parts := strings.Split(line, "; ")
		name, v, _ := strings.Cut(parts[0], " ")
		pkg := index.Package{Name: name, Version: v, Architecture: "amd64", Priority: "optional"}
		for _, part := range parts[1:] {
			k, v, _ := strings.Cut(part, ": ")
			switch k {
			case "Depends":
				pkg.Depends = v
			case "Pre-Depends":
				pkg.PreDepends = v
			case "Provides":
				pkg.Provides = v
			case "Conflicts":
				pkg.Conflicts = v
			case "Breaks":
				pkg.Breaks = v
			case "Arch":
				pkg.Architecture = v
			case "Multi-Arch":
				pkg.MultiArch = v
			case "Priority":
				pkg.Priority = v
			default:
				t.Fatalf("field %q", k)
			}
		}
		if err := p.Add(pkg); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestResolve(t *testing.T) {
	for name, tc := range map[string]struct {
		lines []string
		names string
		want  string // in order
	}{
		"needs come first":           {[]string{"aa 1; Depends: cc", "cc 1; Depends: bb", "bb 1"}, "aa", "bb cc aa"},
		"first alternative":          {[]string{"aa 1; Depends: cc | bb", "bb 1", "cc 1"}, "aa", "cc aa"},
		"named alternative":          {[]string{"aa 1; Depends: cc | bb", "bb 1", "cc 1"}, "aa bb", "bb aa"},
		"alternative that is there":  {[]string{"aa 1; Depends: nn | bb", "bb 1"}, "aa", "bb aa"},
		"version":                    {[]string{"aa 1; Depends: bb (<< 2)", "bb 2", "bb 1"}, "aa", "bb=1 aa"},
		"highest version":            {[]string{"aa 1; Depends: bb", "bb 9", "bb 10", "bb 10~"}, "aa", "bb=10 aa"},
		"exact version by name":      {[]string{"bb 2", "bb 1"}, "bb=1", "bb=1"},
		"virtual":                    {[]string{"aa 1; Depends: vv", "cc 1; Provides: vv", "bb 1; Provides: vv"}, "aa", "bb aa"},
		"virtual, more important":    {[]string{"aa 1; Depends: vv", "cc 1; Provides: vv; Priority: required", "bb 1; Provides: vv"}, "aa", "cc aa"},
		"virtual with a version":     {[]string{"aa 1; Depends: vv (>= 2)", "bb 9; Provides: vv, vv (= 1)", "cc 1; Provides: vv (= 2)"}, "aa", "cc aa"},
		"virtual by name":            {[]string{"bb 1; Provides: vv"}, "vv", "bb"},
		"loop":                       {[]string{"aa 1; Depends: bb", "bb 1; Depends: cc", "cc 1; Depends: aa"}, "aa", "bb cc aa"}, // order checked below
		"conflict leads elsewhere":   {[]string{"aa 1; Depends: bb | cc", "bb 1; Conflicts: dd", "cc 1", "dd 1"}, "aa dd", "cc aa dd"},
		"breaks the other way":       {[]string{"aa 1; Depends: bb | cc", "bb 1", "cc 1", "dd 1; Breaks: bb (<= 1)"}, "aa dd", "cc aa dd"},
		"conflict deep down":         {[]string{"aa 1; Depends: bb | cc", "bb 1; Depends: xx", "xx 1; Depends: yy", "yy 1; Conflicts: aa", "cc 1"}, "aa", "cc aa"},
		"own virtual name":           {[]string{"aa 1; Provides: vv; Conflicts: vv"}, "aa", "aa"},
		"conflict with virtual":      {[]string{"aa 1; Depends: bb | cc", "bb 1; Conflicts: vv", "cc 1", "dd 1; Provides: vv"}, "aa dd", "cc aa dd"},
		"other architectures":        {[]string{"aa 1; Depends: bb:any", "bb 2; Arch: arm64", "bb 1; Multi-Arch: allowed"}, "aa", "bb=1 aa"},
		"for all architectures":      {[]string{"aa 1; Depends: bb", "bb 2; Arch: all"}, "aa", "bb aa"},
		"pre-depends before depends": {[]string{"aa 1; Depends: bb; Pre-Depends: cc", "bb 1", "cc 1"}, "aa", "cc bb aa"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 { // the order of maps must not show
				set, err := resolve.Resolve(pool(t, tc.lines...), resolve.Request{Names: strings.Fields(tc.names)})
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for i, p := range set.Order() {
					s := p.Name
					if w := strings.Fields(tc.want); i < len(w) && strings.Contains(w[i], "=") {
						s += "=" + p.Version
					}
					got = append(got, s)
				}
				want := strings.Fields(tc.want)
				if name == "loop" {
					slices.Sort(got)
					slices.Sort(want)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("chosen %v, want %v", got, want)
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		lines   []string
		names   string
		is      func(error) bool
		mention string
	}{
		"no such package":   {[]string{"aa 1"}, "bb", errdefs.IsNotFound, "bb"},
		"no such version":   {[]string{"aa 1"}, "aa=2", errdefs.IsNotFound, "version 1, not 2"},
		"missing need":      {[]string{"aa 1; Depends: bb", "bb 1; Depends: cc (>= 1)"}, "aa", errdefs.IsNotFound, "bb needs cc (>= 1)"},
		"version too low":   {[]string{"aa 1; Depends: bb (>= 2)", "bb 1"}, "aa", errdefs.IsNotFound, "bb (>= 2)"},
		"conflict":          {[]string{"aa 1; Depends: bb", "bb 1; Conflicts: aa"}, "aa", errdefs.IsConflict, "together with aa"},
		"two versions":      {[]string{"aa 1; Depends: bb (= 1), cc", "cc 1; Depends: bb (= 2)", "bb 1", "bb 2"}, "aa", errdefs.IsConflict, "version 1 and 2"},
		"unclear virtual":   {[]string{"aa 1; Provides: vv", "bb 1; Provides: vv"}, "vv", errdefs.IsNotFound, "aa, bb"},
		"excluded":          {[]string{"aa 1; Depends: no1", "no1 1"}, "aa", errdefs.IsConflict, "no1 is excluded"},
		"malformed":         {[]string{"aa 1; Depends: ((("}, "aa", errdefs.IsCorrupt, "Depends"},
		"foreign need":      {[]string{"aa 1; Depends: bb:i386", "bb 1"}, "aa", errdefs.IsNotFound, "bb:i386"},
		"not of foreign":    {[]string{"aa 1; Depends: bb:any", "bb 1; Arch: all"}, "aa", errdefs.IsNotFound, "bb:any"},
		"a very long chain": {chain(20000), "p1", errdefs.IsLimit, "needed over more"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := resolve.Resolve(pool(t, tc.lines...), resolve.Request{Names: strings.Fields(tc.names), Exclude: []string{"no1"}})
			if err == nil || !tc.is(err) || !strings.Contains(err.Error(), tc.mention) {
				t.Errorf("error = %v, want another class or %q in it", err, tc.mention)
			}
		})
	}
}

func chain(n int) []string {
	var out []string
	for i := 1; i < n; i++ {
		out = append(out, fmt.Sprintf("p%d 1; Depends: p%d", i, i+1))
	}
	return out
}

func TestIgnoreAndClosure(t *testing.T) {
	p := pool(t, "aa 1; Depends: tool, bb", "bb 1; Pre-Depends: cc", "cc 1", "dd 1; Depends: bb", "tool 1")
	set, err := resolve.Resolve(p, resolve.Request{Names: []string{"aa", "dd"}, Ignore: func(_ *index.Package, g dependency.Group) bool { return g[0].Name == "tool" }})
	if err != nil {
		t.Fatal(err)
	}
	names := func(all []*index.Package) string {
		var s []string
		for _, p := range all {
			s = append(s, p.Name)
		}
		return strings.Join(s, " ")
	}
	if got := names(set.Order()); got != "cc bb aa dd" {
		t.Errorf("Order = %s", got)
	}
	if got := names(set.Closure([]string{"dd", "none"})); got != "cc bb dd" {
		t.Errorf("Closure = %s", got)
	}
	if !set.Named("aa") || set.Named("bb") || set.Has("tool") {
		t.Error("Named or Has is wrong")
	}
	if got := names(set.PreDepends(p.Best("bb"))); got != "cc" {
		t.Errorf("PreDepends = %s", got)
	}
	if got := p.Select(func(p *index.Package) bool { return p.Depends != "" }); strings.Join(got, " ") != "aa dd" {
		t.Errorf("Select = %v", got)
	}
}
