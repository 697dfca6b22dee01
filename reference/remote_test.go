package reference_test

import (
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
)

func TestParseRemote(t *testing.T) {
	for _, tc := range []struct{ in, host, full, here string }{
		{"app", "docker.io", "docker.io/library/app:latest", "app:latest"},
		{"localhost:5000/app:1", "localhost:5000", "localhost:5000/app:1", "localhost:5000/app:1"},
		{"ssh://host/app", "ssh://host", "ssh://host/app:latest", "app:latest"},
		{"ssh://me@host.example:2222/team/app:1", "ssh://me@host.example:2222", "ssh://me@host.example:2222/team/app:1", "team/app:1"},
		{"ssh://my_host/ghcr.io/o/app:1", "ssh://my_host", "ssh://my_host/ghcr.io/o/app:1", "ghcr.io/o/app:1"},
		{"ssh://a.b+c@[::1]:22/localhost/app:1", "ssh://a.b+c@[::1]:22", "ssh://a.b+c@[::1]:22/localhost/app:1", "localhost/app:1"},
		{"ssh://host/app@sha256:" + hex64, "ssh://host", "ssh://host/app@sha256:" + hex64, "app@sha256:" + hex64},
	} {
		r, err := reference.ParseRemote(tc.in)
		if err != nil {
			t.Errorf("ParseRemote(%q): %v", tc.in, err)
			continue
		}
		if r.Host != tc.host || r.String() != tc.full || r.OverSSH() != strings.HasPrefix(tc.in, "ssh:") {
			t.Errorf("ParseRemote(%q) = %q at %q; want %q at %q", tc.in, r.String(), r.Host, tc.full, tc.host)
		}
		if again, err := reference.ParseRemote(r.String()); err != nil || again != r {
			t.Errorf("ParseRemote(%q) = %v, %v; not what it was printed from", r.String(), again, err)
		}
		if here, err := r.Here(); err != nil || here.Familiar() != tc.here {
			t.Errorf("%q is %q in the store, %v; want %q", tc.in, here.Familiar(), err, tc.here)
		}
	}
}

func TestParseRemoteRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"ssh://":                     "want ssh://",
		"ssh://host":                 "want ssh://",
		"ssh://host/":                "want ssh://",
		"ssh:///app":                 "empty",
		"ssh://-oProxyCommand=x/app": "begins or ends",
		"ssh://-l@host/app":          "begins with '-'",
		"ssh://@host/app":            "empty",
		"ssh://a b@host/app":         "not allowed",
		"ssh://a:secret@host/app":    "not allowed",
		"ssh://ho$t/app":             "not allowed",
		"ssh://host:99x/app":         "not a port",
		"ssh://host/App":             "lower case",
		"ssh://host/../app":          "begin",
		"ssh://host//app":            "empty",
		"ssh://host/app:-x":          "not a tag",
		"ssh://host/app@sha256:1":    "digest",
	} {
		if _, err := reference.ParseRemote(in); !errdefs.IsInvalid(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseRemote(%q): %v; want a text with %q", in, err, want)
		}
		if _, err := reference.Parse(in); err == nil {
			t.Errorf("Parse(%q) makes a name of the store of it", in)
		}
	}
	if _, err := reference.Parse("ssh://host/app"); err == nil {
		t.Error("the store would have names of registries behind ssh")
	}
}

func FuzzParseRemote(f *testing.F) {
	for _, s := range []string{"app", "ssh://h/app", "ssh://u@h:1/a/b:c", "ssh://h/a@sha256:" + hex64, "ssh://u@[::1]:1/x", "ssh://-o/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := reference.ParseRemote(s)
		if err != nil {
			return
		}
		if again, err := reference.ParseRemote(r.String()); err != nil || again != r {
			t.Fatalf("%q parses to %+v, and that to %+v, %v", s, r, again, err)
		}
		for _, word := range strings.Split(strings.TrimPrefix(r.Host, reference.SSH), "@") {
			if strings.HasPrefix(word, "-") || strings.ContainsAny(word, " \n'\"\\;`") {
				t.Fatalf("%q leads to %q, which ssh may misunderstand", s, word)
			}
		}
		if here, err := r.Here(); err == nil && here.OverSSH() {
			t.Fatalf("%q is %q in the store", s, here)
		}
	})
}
