package dependency_test

import (
	"strings"
	"testing"

	"github.com/camada/camada/base/debian/dependency"
	"github.com/camada/camada/errdefs"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"libc6 (>= 2.36), debconf (>= 0.5)| debconf-2.0": "libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0",
		"python3:any (>=3.9~),perl":                      "python3:any (>= 3.9~), perl",
		"a1 ,\n b2(<<1:2-3) ,":                           "a1, b2 (<< 1:2-3)",
		"old (< 1), older (> 2)":                         "old (<= 1), older (>= 2)",
	} {
		groups, err := dependency.Parse(in)
		if err != nil {
			t.Errorf("Parse(%q): %v", in, err)
			continue
		}
		var parts []string
		for _, g := range groups {
			parts = append(parts, g.String())
		}
		if got := strings.Join(parts, ", "); got != want {
			t.Errorf("Parse(%q) = %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{"a b", "A1", "../x", "aa (1)", "aa (== 1)", "aa (>= )", "aa (>= 1", "aa |", "aa (>= 1) x", "aa:B", "aa [amd64]"} {
		if g, err := dependency.Parse(in); !errdefs.IsInvalid(err) {
			t.Errorf("Parse(%q) = %v, %v; want an invalid argument", in, g, err)
		}
	}
	if _, err := dependency.Parse(strings.Repeat("aa,", 20000)); !errdefs.IsLimit(err) {
		t.Errorf("20000 relations: %v", err)
	}
}

func TestAccepts(t *testing.T) {
	for rel, versions := range map[string][2]string{
		"aa (<< 2)": {"1", "2"},
		"aa (<= 2)": {"2", "3"},
		"aa (= 2)":  {"2", "2-1"},
		"aa (>= 2)": {"2", "2~"},
		"aa (>> 2)": {"2-1", "2"},
	} {
		g, err := dependency.Parse(rel)
		if err != nil {
			t.Fatal(err)
		}
		if !g[0][0].Accepts(versions[0]) || g[0][0].Accepts(versions[1]) {
			t.Errorf("%s: want %s accepted and %s refused", rel, versions[0], versions[1])
		}
	}
}

// What is parsed prints to a form that parses to the same.
func FuzzParse(f *testing.F) {
	f.Add("libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0, p:any")
	f.Fuzz(func(t *testing.T, in string) {
		groups, err := dependency.Parse(in)
		if err != nil {
			return
		}
		for _, g := range groups {
			again, err := dependency.Parse(g.String())
			if err != nil || len(again) != 1 || again[0].String() != g.String() {
				t.Fatalf("%q became %v, %v", g.String(), again, err)
			}
		}
	})
}
