package harmless_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/camada/camada/internal/harmless"
)

func TestEscapes(t *testing.T) {
	for _, c := range []struct{ in, line, text string }{
		{"", "", ""},
		{"/srv/ä€ x", "/srv/ä€ x", "/srv/ä€ x"},
		{"a\x1b[2Jb", `a\x1b[2Jb`, `a\x1b[2Jb`},
		{"a\nb\tc\rd", `a\nb\tc\rd`, "a\nb\tc" + `\rd`},
		{"gpj.\u202eexe", `gpj.\u202eexe`, `gpj.\u202eexe`},
		{"\u2066x\u2069\u200f", `\u2066x\u2069\u200f`, `\u2066x\u2069\u200f`},
		{"a\u2028b\u0085c\x7f", `a\u2028b\u0085c\x7f`, `a\u2028b\u0085c\x7f`},
		{"a\xffb\u009b", `a\xffb\u009b`, `a\xffb\u009b`},
		{"\uFFFD", "\uFFFD", "\uFFFD"},
	} {
		if got := harmless.Line(c.in); got != c.line {
			t.Errorf("line of %q: %q, want %q", c.in, got, c.line)
		}
		if got := harmless.Text(c.in); got != c.text {
			t.Errorf("text of %q: %q, want %q", c.in, got, c.text)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x1b\n\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := harmless.Line(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, harmless.Hidden) {
			t.Errorf("%q of %q", got, s)
		}
		if harmless.Line(got) != got {
			t.Errorf("%q is escaped again", got)
		}
	})
}
