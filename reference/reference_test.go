package reference_test

import (
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
)

const hex64 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParse(t *testing.T) {
	for _, tc := range []struct{ in, full, familiar string }{
		{"app", "docker.io/library/app:latest", "app:latest"},
		{"app:1.2", "docker.io/library/app:1.2", "app:1.2"},
		{"me/app", "docker.io/me/app:latest", "me/app:latest"},
		{"docker.io/app", "docker.io/library/app:latest", "app:latest"},
		{"index.docker.io/library/app:x", "docker.io/library/app:x", "app:x"},
		{"library/app", "docker.io/library/app:latest", "app:latest"},
		{"localhost/app", "localhost/app:latest", "localhost/app:latest"},
		{"localhost:5000/a/b/c:T_1", "localhost:5000/a/b/c:T_1", "localhost:5000/a/b/c:T_1"},
		{"ghcr.io/a/b__c--d.e", "ghcr.io/a/b__c--d.e:latest", "ghcr.io/a/b__c--d.e:latest"},
		{"app@sha256:" + hex64, "docker.io/library/app@sha256:" + hex64, "app@sha256:" + hex64},
		{"app:1@sha256:" + hex64, "docker.io/library/app:1@sha256:" + hex64, "app:1@sha256:" + hex64},
		{"[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"},
		{"Host/app", "Host/app:latest", "Host/app:latest"},
		// Without its host it would be an image of another registry.
		{"docker.io/registry.example.com/team/app", "docker.io/registry.example.com/team/app:latest", "docker.io/registry.example.com/team/app:latest"},
		{"docker.io/localhost/app:1", "docker.io/localhost/app:1", "docker.io/localhost/app:1"},
	} {
		r, err := reference.Parse(tc.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", tc.in, err)
			continue
		}
		if r.String() != tc.full || r.Familiar() != tc.familiar {
			t.Errorf("Parse(%q) = %q, %q; want %q, %q", tc.in, r.String(), r.Familiar(), tc.full, tc.familiar)
		}
		if again, err := reference.Parse(r.String()); err != nil || again != r {
			t.Errorf("Parse(%q) = %v, %v; not what it was printed from", r.String(), again, err)
		}
		if again, err := reference.Parse(r.Familiar()); err != nil || again != r {
			t.Errorf("Parse(%q) = %v, %v; not what it was printed from", r.Familiar(), again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "empty",
		"App":                           "lower case",
		"a/B":                           "lower case",
		"app:":                          "not a tag",
		"app:-x":                        "not a tag",
		"app:a b":                       "not a tag",
		"app@sha256:12":                 "digest",
		"app@md5:12":                    "digest",
		"/app":                          "empty",
		"a//b":                          "empty",
		"a/../b":                        "begin",
		"../b":                          "begin",
		"a..b":                          "not allowed",
		"a___b":                         "not allowed",
		"localhost:x/app":               "not a port",
		"-a.b/app":                      "begins or ends",
		"[::1/app":                      "without",
		strings.Repeat("a", 300):        "longer",
		"a:" + strings.Repeat("a", 129): "not a tag",
		"a\x00b":                        "not allowed",
	} {
		_, err := reference.Parse(in)
		if err == nil {
			t.Errorf("Parse(%q) succeeded", in)
			continue
		}
		if !errdefs.IsInvalid(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v; want a text with %q", in, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"app", "localhost:5000/a/b:c", "a@sha256:" + hex64, "[::1]:1/x", "A/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := reference.Parse(s)
		if err != nil {
			return
		}
		if again, err := reference.Parse(r.String()); err != nil || again != r {
			t.Fatalf("%q parses to %+v, and that to %+v, %v", s, r, again, err)
		}
		for part := range strings.SplitSeq(r.Name()+"/"+r.Tag, "/") { // each becomes the name of a file
			if part == "." || part == ".." || part == "" && r.Tag != "" {
				t.Fatalf("%q gives the unsafe path %q", s, r.String())
			}
		}
	})
}

func TestValidRepository(t *testing.T) {
	for in, want := range map[string]bool{
		"a": true, "team/app": true, "a__b/c--d.e": true, "a/b/c": true,
		"": false, "A": false, "/a": false, "a/": false, "a//b": false, "../a": false, "a/..": false, "a___b": false, "_a": false, "a b": false,
		strings.Repeat("a", 255): true, strings.Repeat("a", 256): false,
	} {
		if got := reference.ValidRepository(in); got != want {
			t.Errorf("ValidRepository(%q) = %v", in, got)
		}
	}
}
