package dockerfile

import (
	"slices"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestExpandWord(t *testing.T) {
	f := &File{Escape: '\\'}
	s := &Scope{}
	s.Set("a", "one")
	s.Set("empty", "")
	s.Set("path", "/usr/lib/x.tar.gz")
	for in, want := range map[string]string{
		"$a":             "one",
		"${a}b":          "oneb",
		`\$a`:            "$a",
		`'$a'`:           "$a",
		`"$a b"`:         "one b",
		"${no:-x}":       "x",
		"${empty:-x}":    "x",
		"${empty-x}":     "",
		"${a:+x}":        "x",
		"${empty:+x}":    "",
		"${empty+x}":     "x",
		"${no}":          "",
		"${path#*/}":     "usr/lib/x.tar.gz",
		"${path##*/}":    "x.tar.gz",
		"${path%.*}":     "/usr/lib/x.tar",
		"${path%%.*}":    "/usr/lib/x",
		"${path/lib/s}":  "/usr/s/x.tar.gz",
		"${path//r/R}":   "/usR/lib/x.taR.gz",
		"${no:-${a}}two": "onetwo",
	} {
		if got, err := f.ExpandWord(in, s); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", in, got, err, want)
		}
	}
	if _, err := f.ExpandWord("${no:?must be set}", s); err == nil {
		t.Error("${no:?...}: no error")
	}
	if _, err := f.ExpandWord("${a", s); err == nil {
		t.Error("${a: no error")
	}
}

func TestGlobalScope(t *testing.T) {
	f, err := Parse("Dockerfile", []byte("ARG a=1\nARG b=${a}2 c\nARG d=x\nFROM scratch\n"))
	if err != nil {
		t.Fatal(err)
	}
	host, target := ocispec.Platform{OS: "linux", Architecture: "amd64"}, ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	s, err := f.GlobalScope(host, target, "", map[string]string{"d": "given", "TARGETARCH": "mine", "unused": "u"})
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]string{
		"a": "1", "b": "12", "d": "given", "BUILDPLATFORM": "linux/amd64", "TARGETPLATFORM": "linux/arm/v7",
		"TARGETARCH": "mine", "TARGETVARIANT": "v7", "BUILDVARIANT": "", "TARGETSTAGE": "default",
	} {
		if got, ok := s.Get(k); !ok || got != want {
			t.Errorf("%s=%q, %v, want %q", k, got, ok, want)
		}
	}
	for _, k := range []string{"c", "unused"} {
		if _, ok := s.Get(k); ok {
			t.Errorf("%s is set", k)
		}
	}
}

func TestScopeKeepsOrder(t *testing.T) {
	s := &Scope{}
	s.Set("b", "1")
	s.Set("a", "2")
	c := s.Clone()
	c.Set("b", "3")
	c.Set("c", "4")
	if got := s.Environ(); !slices.Equal(got, []string{"b=1", "a=2"}) {
		t.Errorf("got %q", got)
	}
	if got := c.Environ(); !slices.Equal(got, []string{"b=3", "a=2", "c=4"}) {
		t.Errorf("got %q", got)
	}
}

func TestExpandHeredoc(t *testing.T) {
	f, err := Parse("Dockerfile", []byte("FROM scratch\nCOPY <<EOF <<'RAW' /x/\n$a \"$a\" \\$a\nEOF\n$a\nRAW\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Scope{}
	s.Set("a", "one")
	c := f.Stages[0].Commands[0].(*instructions.CopyCommand)
	if err := f.Expand(c, s); err != nil {
		t.Fatal(err)
	}
	if got, want := c.SourceContents[0].Data, "one \"one\" $a\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := c.SourceContents[1].Data, "$a\n"; got != want {
		t.Errorf("quoted: got %q, want %q", got, want)
	}
}

func TestTarget(t *testing.T) {
	f, err := Parse("Dockerfile", []byte("FROM scratch AS base\nFROM scratch\nFROM scratch AS final\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"": 2, "base": 0, "BASE": 0, "1": 1, "final": 2} {
		if got, err := f.Target(name); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", name, got, err, want)
		}
	}
	_, err = f.Target("finall")
	if want := `Dockerfile: there is no stage "finall" to build (did you mean final?)`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
