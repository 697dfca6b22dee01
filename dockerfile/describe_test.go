package dockerfile_test

import (
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/camada/camada/dockerfile"
	"github.com/google/go-cmp/cmp"
)

func TestDescribe(t *testing.T) {
	for name, c := range map[string]struct {
		src   string
		names []string
		want  map[string]string
	}{
		"one":                   {"# the address\n# to listen at\nENV A=1", []string{"A"}, map[string]string{"A": "the address to listen at"}},
		"named":                 {"# A the address\nENV A=1", []string{"A"}, map[string]string{"A": "the address"}},
		"each":                  {"# A  one\n# more\n# B: two\nENV A=1 B=2", []string{"A", "B"}, map[string]string{"A": "one more", "B": "two"}},
		"a list":                {"# - A: one\n# * B - two\nENV A=1 B=2", []string{"A", "B"}, map[string]string{"A": "one", "B": "two"}},
		"together":              {"# both\nENV A=1 B=2", []string{"A", "B"}, map[string]string{"A": "both", "B": "both"}},
		"one of two":            {"# A one\nENV A=1 B=2", []string{"A", "B"}, map[string]string{"A": "one"}},
		"a heading":             {"# of the cache\n# A one\nENV A=1 B=2", []string{"A", "B"}, map[string]string{"A": "one", "B": "of the cache"}},
		"a longer name":         {"# AB one\nENV A=1 AB=2", []string{"A", "AB"}, map[string]string{"AB": "one"}},
		"ports":                 {"# 80 web\n# 53/udp names\nEXPOSE 80 53/udp", []string{"80/tcp", "53/udp"}, map[string]string{"80/tcp": "web", "53/udp": "names"}},
		"no name":               {"# whoever serves\nUSER 1", []string{""}, map[string]string{"": "whoever serves"}},
		"none":                  {"ENV A=1", []string{"A"}, nil},
		"an empty line between": {"# a section\n\nENV A=1", []string{"A"}, nil},
		"an empty comment":      {"# a section\n#\n# it\nENV A=1", []string{"A"}, map[string]string{"A": "it"}},
		"for linters":           {"# it\n# hadolint ignore=DL3008\n# camada ignore=DL3008 why\n# renovate: datasource=x\nENV A=1", []string{"A"}, map[string]string{"A": "it"}},
		"for linters alone":     {"# hadolint ignore=DL3008\nENV A=1", []string{"A"}, nil},
		"indented":              {"  # it\nENV A=1", []string{"A"}, map[string]string{"A": "it"}},
		"another's":             {"# it\nENV Z=1\nENV A=1", []string{"A"}, nil},
		"control characters":    {"# a\x1b[31mb\nENV A=1", []string{"A"}, map[string]string{"A": "a\uFFFD[31mb"}},
	} {
		f, err := dockerfile.Parse("Dockerfile", []byte("FROM scratch\n"+c.src+"\n"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		commands := f.Stages[0].Commands
		got := f.Describe(commands[len(commands)-1], c.names...)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

// TestDescribeDirectives: what stands at the top for the parser is no description, and neither is a comment that belongs to FROM.
func TestDescribeDirectives(t *testing.T) {
	f, err := dockerfile.Parse("Dockerfile", []byte("# syntax=docker/dockerfile:1\nARG A=1\n# the last\nARG B\nFROM scratch\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Describe(&f.Args[0], "A"); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if got := f.Describe(&f.Args[1], "B"); !maps.Equal(got, map[string]string{"B": "the last"}) {
		t.Errorf("got %v", got)
	}
}

func TestDocKey(t *testing.T) {
	for _, c := range [][3]string{
		{"env", "A", "camada.doc.env.A"}, {"port", "80/tcp", "camada.doc.port.80"}, {"port", "53/udp", "camada.doc.port.53/udp"},
		{"volume", "/d.x", "camada.doc.volume./d.x"}, {"user", "", "camada.doc.user"},
	} {
		key := dockerfile.DocKey(c[0], c[1])
		kind, name, ok := dockerfile.SplitDocKey(key)
		if key != c[2] || kind != c[0] || name != c[1] || !ok {
			t.Errorf("%v: %s, and back %s %s %v", c, key, kind, name, ok)
		}
	}
	for _, key := range []string{"", "camada.doc", "camada.doc.", "camada.doc.env", "camada.doc.env.", "camada.doc.user.x", "camada.doc.other.x", "x.camada.doc.env.A"} {
		if kind, name, ok := dockerfile.SplitDocKey(key); ok {
			t.Errorf("%q is %s %s", key, kind, name)
		}
	}
}

func TestDocOf(t *testing.T) {
	labels := map[string]string{"camada.doc.env.A": "label", "camada.doc.port.81/tcp": "long"}
	notes := map[string]string{"camada.doc.env.A": "note", "camada.doc.env.B": "note\n two", "camada.doc.port.80": "short"}
	for _, c := range [][3]string{{"env", "A", "label"}, {"env", "B", "note two"}, {"port", "80/tcp", "short"}, {"port", "81/tcp", "long"}, {"env", "C", ""}, {"user", "", ""}} {
		if got := dockerfile.DocOf(c[0], c[1], labels, notes); got != c[2] {
			t.Errorf("%v: %q", c, got)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add("# A one\n# B: two\nENV A=1 B=2\n", "A", "B")
	f.Add("# é\n#\n# 80 x\nEXPOSE 80\n", "80/tcp", "")
	f.Add("#"+strings.Repeat("ä", 900)+"\nUSER 1\n", "", "")
	f.Fuzz(func(t *testing.T, src, a, b string) {
		file, err := dockerfile.Parse("Dockerfile", []byte("FROM scratch\n"+src))
		if err != nil {
			return
		}
		for _, c := range file.Stages[0].Commands {
			for name, text := range file.Describe(c, a, b) {
				if name != a && name != b || text == "" || len(text) > dockerfile.MaxDoc || !utf8.ValidString(text) || strings.ContainsAny(text, "\n\r\x1b") {
					t.Errorf("%q: %q", name, text)
				}
			}
		}
	})
}
