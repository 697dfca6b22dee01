package engine

import "testing"

func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		f    ScanFinding
		want string
	}{
		{ScanFinding{Type: "deb", Package: "libfoo1", Fixed: "2.0-2", Status: "fixed"}, "apt-get update && apt-get install -y --only-upgrade libfoo1"},
		{ScanFinding{Type: "apk", Package: "libssl3", Fixed: "3-r1", ScanPlace: ScanPlace{From: "base"}}, "build on a newer base image, or update it above: apk upgrade --no-cache libssl3"},
		{ScanFinding{Type: "deb", Package: "libfoo1", Status: "unfixed"}, ""},
		{ScanFinding{Type: "deb", Package: "libfoo1", Status: "end-of-life"}, "move to a release of the distribution that is supported"},
		{ScanFinding{Type: "golang", Package: "example.org/m", Fixed: "1.2.3"}, "go get example.org/m@v1.2.3"},
		{ScanFinding{Type: "golang", Package: "stdlib", Fixed: "1.22.1"}, "build with Go 1.22.1 or later"},
		{ScanFinding{Type: "pypi", Package: "django", Fixed: "4.2"}, "pip install 'django>=4.2'"},
		{ScanFinding{Type: "npm", Package: "@s/p", Fixed: "1.0.1"}, "npm install @s/p@1.0.1"},
		{ScanFinding{Type: "npm", Package: "a;rm'x", Fixed: "1"}, `npm install 'a;rm'\''x@1'`},
		{ScanFinding{Type: "maven", Package: "a:b", Fixed: "2"}, "update a:b to 2 or later"},
	} {
		if got := advice(&c.f); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.f.Type, c.f.Package, got, c.want)
		}
	}
}

func TestRepairs(t *testing.T) {
	one := ScanFinding{Type: "deb", Package: "a", Source: "s", Group: "1", Fixed: "2", ScanPlace: ScanPlace{From: "base"}}
	same, own, never := one, one, one
	same.Package = "b"
	own.Group, own.From = "2", "own"
	never.Group, never.Fixed = "3", ""
	r := &ScanReport{Findings: []ScanFinding{one, same, own, never}}
	if base, own, none := r.Repairs(); base != 1 || own != 1 || none != 1 {
		t.Errorf("%d %d %d", base, own, none)
	}
}
