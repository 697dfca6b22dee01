package semver_test

import (
	"slices"
	"testing"

	"github.com/camada/camada/internal/semver"
)

func TestOrder(t *testing.T) {
	// The standard's own example, and tags as they are.
	want := []string{"0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "v1.2", "1.10.0", "2"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, func(a, b string) int {
		v, ok := semver.Parse(a)
		w, ok2 := semver.Parse(b)
		if !ok || !ok2 {
			t.Fatalf("%s, %s: no versions", a, b)
		}
		return v.Compare(w)
	})
	if !slices.Equal(got, want) {
		t.Errorf("order: %v", got)
	}
	for _, s := range []string{"", "v", "latest", "1.2.3.4", "1..2", "1.2-rc1", "1.2.3-", "1.2.3+", "-1", "1.x.2", "99999999999999999999", "x"} {
		if _, ok := semver.Parse(s); ok {
			t.Errorf("%q is taken for a version", s)
		}
	}
}

func TestRange(t *testing.T) {
	for _, tc := range []struct {
		text    string
		in, out []string
	}{
		{">=1.2 <2", []string{"1.2.0", "1.99"}, []string{"1.1.9", "2", "1.3.0-rc1"}},
		{">= 1.2, < 2 || 3.1", []string{"1.2", "3.1.7"}, []string{"2.5", "3.2"}},
		{"~1.2.3", []string{"1.2.3", "1.2.9"}, []string{"1.3", "1.2.2"}},
		{"~1", []string{"1.9"}, []string{"2", "0.9"}},
		{"^1.2.3", []string{"1.2.3", "1.9"}, []string{"2", "1.2.2"}},
		{"^0.2.3", []string{"0.2.9"}, []string{"0.3", "0.2.2"}},
		{"^0.0.3", []string{"0.0.3"}, []string{"0.0.4"}},
		{"1.x", []string{"1.0", "1.5.3"}, []string{"2"}},
		{"*", []string{"0", "9.9"}, []string{"1.0.0-rc1"}},
		{">1.2", []string{"1.3"}, []string{"1.2.9", "1.2"}},
		{">1.2.3", []string{"1.2.4"}, []string{"1.2.3"}},
		{"<=1.2", []string{"1.2.9", "0.1"}, []string{"1.3"}},
		{"<=1.2.3", []string{"1.2.3"}, []string{"1.2.4"}},
		{"!=1.2.3", []string{"1.2.4", "1"}, []string{"1.2.3"}},
		{"1.2.3", []string{"1.2.3", "v1.2.3+build"}, []string{"1.2.4", "1.2.3-rc1"}},
		{">=1.2.3-rc1", []string{"1.2.3-rc1", "1.2.3", "2.0.0-alpha"}, []string{"1.2.3-beta"}},
	} {
		r, err := semver.ParseRange(tc.text)
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		for want, all := range map[bool][]string{true: tc.in, false: tc.out} {
			for _, s := range all {
				v, ok := semver.Parse(s)
				if got := r.Contains(v); !ok || got != want {
					t.Errorf("%s in %s: %t", s, tc.text, got)
				}
			}
		}
	}
	for _, s := range []string{"", "||", "1 ||", "=>>1", "latest", ">=", "!=*", "1.2.3.4"} {
		if r, err := semver.ParseRange(s); err == nil {
			t.Errorf("%q is taken for the range %v", s, r)
		}
	}
}

// FuzzRange: whatever a range is, it does not depend on how a version is written.
func FuzzRange(f *testing.F) {
	for _, s := range []string{">=1.2 <2 || ~3.1", "^0.0.3", "!=1.x", "1.2.3-rc.1+b"} {
		f.Add(s, "1.2.3")
	}
	f.Fuzz(func(t *testing.T, text, version string) {
		v, ok := semver.Parse(version)
		if ok && v.Compare(v) != 0 {
			t.Errorf("%q differs from itself", version)
		}
		r, err := semver.ParseRange(text)
		if err != nil || !ok {
			return
		}
		if w, ok := semver.Parse("v" + version); ok && r.Contains(v) != r.Contains(w) {
			t.Errorf("%q with and without v", version)
		}
	})
}
