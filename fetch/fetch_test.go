package fetch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

func show(g Git) string {
	s := g.Remote + " ref=" + g.Ref
	for _, f := range []struct{ k, v string }{{"checksum", g.Checksum}, {"subdir", g.Subdir}} {
		if f.v != "" {
			s += " " + f.k + "=" + f.v
		}
	}
	if g.KeepGitDir != nil {
		s += fmt.Sprintf(" keep=%t", *g.KeepGitDir)
	}
	for _, f := range []struct {
		k string
		v bool
	}{{"no-submodules", g.NoSubmodules}, {"by-commit", g.ByCommit}, {"looks-local", g.LooksLocal}} {
		if f.v {
			s += " " + f.k
		}
	}
	return s
}

func TestParseGit(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"https://example.com/a/b.git", "https://example.com/a/b.git ref="},
		{"http://example.com/b.git#main", "http://example.com/b.git ref=main"},
		{"https://example.com/b.git#v1.0:sub/dir", "https://example.com/b.git ref=v1.0 subdir=sub/dir"},
		{"https://example.com/b.git#:sub", "https://example.com/b.git ref= subdir=sub"},
		{"https://example.com/b.git#main:../../etc", "https://example.com/b.git ref=main subdir=etc"},
		{"https://example.com/b.git#feat/x:/", "https://example.com/b.git ref=feat/x"},
		{"https://example.com:8443/b.git?ref=main&subdir=x", "https://example.com:8443/b.git ref=main subdir=x"},
		{"https://example.com/b.git?tag=v1", "https://example.com/b.git ref=refs/tags/v1"},
		{"https://example.com/b.git?branch=main&commit=" + commit, "https://example.com/b.git ref=refs/heads/main checksum=" + commit},
		{"https://example.com/b.git?keep-git-dir=1&submodules=false", "https://example.com/b.git ref= keep=true no-submodules"},
		{"https://example.com/b.git?keep-git-dir&submodules", "https://example.com/b.git ref= keep=true"},
		{"https://example.com/b.git?fetch-by-commit=1&checksum=" + commit, "https://example.com/b.git ref= checksum=" + commit + " by-commit"},
		{"https://example.com/b.git?mtime=commit", "https://example.com/b.git ref="},
		{"https://example.com/b.git#" + commit, "https://example.com/b.git ref=" + commit},
		{"git://example.com/b", "git://example.com/b ref="},
		{"ssh://git@example.com:2222/b#x", "ssh://git@example.com:2222/b ref=x"},
		{"git@example.com:a/b.git#x:y", "git@example.com:a/b.git ref=x subdir=y"},
		{"me@example.com:b?ref=x", "me@example.com:b ref=x"},
		{"github.com/a/b", "https://github.com/a/b ref= looks-local"},
		{"github.com/a/b#main:x", "https://github.com/a/b ref=main subdir=x looks-local"},
		// Not git.
		{"https://example.com/b.tar.gz", ""},
		{"https://example.com/b.git/info", ""},
		{"https://example.com/b#x.git", ""},
		{"HTTPS://example.com/b.git", ""},
		{"file:///b.git", ""},
		{"ext::sh -c x", ""},
		{"ftp://example.com/b.git", ""},
		{"./git@example.com:b", ""},
		{"../b.git", ""},
		{"a/b.git", ""},
		{"a b@example.com:c", ""},
		{"", ""},
		{"ssh://git@example.com/a\nb", ""},
		// Mistakes.
		{"https://example.com/b.git#-x", "not a branch"},
		{"https://example.com/b.git#a..b", "not a branch"},
		{"https://example.com/b.git#a%20b", "not a branch"},
		{"https://example.com/b.git#refs/heads/a.lock", "not a branch"},
		{"https://example.com/b.git?ref=a:b", "not a branch"},
		{"https://example.com/b.git#%2bmain^", "not a branch"},
		{"https://example.com/b.git?ref=--upload-pack=x", "not a branch"},
		{"https://example.com/b.git?ref=", "no value"},
		{"https://example.com/b.git?ref=a&ref=b", "more than once"},
		{"https://example.com/b.git?ref=a#b", "both"},
		{"https://example.com/b.git?tag=a&branch=b", "both a tag and a branch"},
		{"https://example.com/b.git?depth=1", "none of ref"},
		{"https://example.com/b.git?submodules=maybe", "true or false"},
		{"https://example.com/b.git?mtime=now", "checkout or commit"},
		{"https://example.com/b.git?checksum=xyz", "not the name of a commit"},
		{"https://example.com/b.git?fetch-by-commit=1&ref=main", "whole commit"},
		{"https://example.com/b.git?checksum=ff#" + commit, "is not the checksum"},
		{"https://example.com/b.git?%zz", "cannot be read"},
		{"ssh://-oProxyCommand=x/b", "dash"},
		{"-ox@example.com:b", "dash"},
		{"git@-example.com:b", "dash"},
		{"git@example.com:-b", "dash"},
		{"ssh:///b", "no host"},
	} {
		g, isGit, err := ParseGit(c.in)
		switch {
		case err != nil:
			if !isGit || !errdefs.IsInvalid(err) || c.want == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: %v, want %q", c.in, err, c.want)
			}
		case !isGit:
			if c.want != "" {
				t.Errorf("%q is not git, want %q", c.in, c.want)
			}
		case show(g) != c.want:
			t.Errorf("%q is %q, want %q", c.in, show(g), c.want)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://me:secret@example.com/a?b#c": "https://example.com/a?b#c",
		"https://token@example.com/a.git":     "https://example.com/a.git",
		"https://example.com/a@b":             "https://example.com/a@b",
		"ssh://git@example.com/a":             "ssh://git@example.com/a",
		"ssh://git:secret@example.com/a":      "ssh://example.com/a",
		"git@example.com:a":                   "git@example.com:a",
		"https://a:b@c@example.com":           "https://example.com",
		"plain/path":                          "plain/path",
	} {
		if got := Redact(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"https://example.com/a/b.tgz?x=y#z": "b.tgz",
		"https://example.com/a/":            "a",
		"https://example.com":               Unnamed,
		"https://example.com/":              Unnamed,
		"https://example.com/a%2fb%20c":     "b c",
		"https://example.com/a/..":          Unnamed,
		"https://example.com/a%0ab":         Unnamed,
		"https://example.com/%zz":           Unnamed,
	} {
		if got := (URL{URL: in}).Name(); got != want {
			t.Errorf("%q is called %q, want %q", in, got, want)
		}
	}
}

func FuzzParseGit(f *testing.F) {
	for _, s := range []string{
		"https://u:p@example.com/b.git?ref=x&subdir=../y#main:sub", "git@host:a?tag=v1#x:y", "ssh://-x/y#--z", "github.com/a/b#:../..",
		"git://[::1]:99/x?keep-git-dir&submodules=0&mtime=commit", "https://example.com/%2e%2e.git?commit=abcd",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, isGit, err := ParseGit(s)
		if !isGit || err != nil {
			return
		}
		if strings.HasPrefix(g.Remote, "-") || strings.HasPrefix(g.Ref, "-") || strings.ContainsAny(g.Ref, ": \x00\n") {
			t.Errorf("%q: %+v could be an option or a refspec", s, g)
		}
		if strings.HasPrefix(g.Subdir, "/") || g.Subdir == ".." || strings.HasPrefix(g.Subdir, "../") {
			t.Errorf("%q: subdirectory %q", s, g.Subdir)
		}
		again, isGit, err := ParseGit(g.Remote)
		if !isGit && !g.LooksLocal && strings.Contains(g.Remote, "://") || err != nil || isGit && again.Remote != g.Remote {
			t.Errorf("%q: the remote %q is read as %+v, %v, %v", s, g.Remote, again, isGit, err)
		}
	})
}
