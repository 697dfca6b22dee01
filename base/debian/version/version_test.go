package version_test

import (
	"testing"

	"github.com/camada/camada/base/debian/version"
)

func TestCompare(t *testing.T) {
	// Each row is in rising order; the versions within one are compared pairwise.
	for _, row := range [][]string{
		{"1.0~~", "1.0~~a", "1.0~", "1.0", "1.0a", "1.0+b"},
		{"1.0~rc1-1", "1.0-1", "1.0-1+b1", "1.0-1.1", "1.0-2", "1.0-10"},
		{"9", "10", "1:1", "1:2", "2:0"},
		{"1.2.3", "1.2.03a", "1.2.10"},
		{"2.36-9+deb12u4", "2.36-9+deb12u10", "2.36-10"},
		{"0", "0.0", "0.0.0"},
		{"1.a", "1.+"},
		{"20230311", "20230311+deb12u1", "20240203"},
	} {
		for i, a := range row {
			for j, b := range row {
				want := 0
				if i < j {
					want = -1
				} else if i > j {
					want = 1
				}
				if got := version.Compare(a, b); got != want {
					t.Errorf("Compare(%q, %q) = %d, want %d", a, b, got, want)
				}
			}
		}
	}
	for _, same := range [][2]string{{"1.0", "0:1.0"}, {"1.0", "1.0-"}, {"1.0-0", "1.0"}, {"1.01", "1.1"}, {"00:1", "1"}} {
		if got := version.Compare(same[0], same[1]); got != 0 {
			t.Errorf("Compare(%q, %q) = %d, want 0", same[0], same[1], got)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, good := range []string{"1", "1:2.3-4+b1", "0~a", "1.0-1~bpo12+1", "2:1:3-4"} {
		if err := version.Check(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "a", ":1", "x:1", "1 2", "1/2", "1:", "1\n"} {
		if version.Check(bad) == nil {
			t.Errorf("Check(%q) passed", bad)
		}
	}
}

// The order is total: antisymmetric, and transitive over three.
func FuzzCompare(f *testing.F) {
	f.Add("1.0~rc1-1", "1.0-1", "1:0")
	f.Add("1.a", "1.+", "1.~")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		ab, bc, ac := version.Compare(a, b), version.Compare(b, c), version.Compare(a, c)
		if ab != -version.Compare(b, a) {
			t.Fatalf("Compare(%q, %q) is not antisymmetric", a, b)
		}
		if ab <= 0 && bc <= 0 && ac > 0 {
			t.Fatalf("%q <= %q <= %q, but not %q <= %q", a, b, c, a, c)
		}
		if version.Compare(a, a) != 0 {
			t.Fatalf("%q differs from itself", a)
		}
	})
}
