package pattern

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, name string
		want          bool
	}{
		{"app", "app", true}, {"app", "apps", false}, {"app", "ap", false},
		{"team/*", "team/app", true}, {"team/*", "team/a/b", false}, {"team/*", "team/", true}, {"team/*", "teams/app", false},
		{"team/**", "team/a/b", true}, {"team/**", "team", false}, {"**", "", true}, {"**", "a/b/c", true}, {"*", "a/b", false},
		{"**/base", "a/b/base", true}, {"**/base", "base", false}, {"**base", "base", true}, {"a/**/z", "a/b/c/z", true}, {"a/**/z", "a/z", false},
		{"*a*b", "xaxxab", true}, {"*a*b", "xaxxac", false}, {"**a*b", "x/y/a-b", true}, {"**a*b", "x/a/b", false}, {"*/**/x*z", "a/b/c/xyz", true},
		{"v[0-9]*", "v1.2", true}, {"v[0-9]*", "vx", false}, {"[abc]x", "bx", true}, {"[abc]x", "dx", false}, {"?x", "ax", true}, {"?x", "/x", false},
		{"a-[0-9a-f]", "a-e", true}, {"a-[0-9a-f]", "a-g", false},
	} {
		if got := Match(tc.pattern, tc.name); got != tc.want {
			t.Errorf("Match(%q, %q) = %v", tc.pattern, tc.name, got)
		}
	}
	for _, p := range []string{"", "a[", "a[]", strings.Repeat("a", 600), strings.Repeat("*", 20)} {
		if Check(p) == nil {
			t.Errorf("Check(%q) finds nothing", p)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("team/**/x*[a-c]?", "team/a/b/xyz")
	f.Add("**a**b**c", "aaabbbccc")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if Check(pattern) != nil || len(name) > 300 {
			return
		}
		Match(pattern, name)
		if !Match("**"+pattern, name) && Match(pattern, name) {
			t.Errorf("%q matches %q, and with two stars before it does not", pattern, name)
		}
	})
}
