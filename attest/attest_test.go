package attest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/opencontainers/go-digest"
)

func TestSPDXGolden(t *testing.T) {
	inv := inventory.Inventory{
		Distribution: inventory.Distribution{ID: "debian", VersionID: "12"},
		Packages: []inventory.Package{
			{Type: "deb", Name: "libstdc++6", Version: "12.2.0-14", Arch: "amd64", Source: "gcc-12", SourceVersion: "12.2.0-14",
				License: "GPL-3+ AND (GPL-2+ with exception)", Supplier: "Debian GCC Maintainers <debian-gcc@lists.debian.org>",
				PURL: "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=debian-12&upstream=gcc-12", Found: "var/lib/dpkg/status"},
			{Type: "apk", Name: "musl", Version: "1.2.4-r0", Arch: "x86_64", Source: "musl", SourceVersion: "1.2.4-r0",
				License: "MIT", PURL: "pkg:apk/alpine/musl@1.2.4-r0?arch=x86_64", Found: "lib/apk/db/installed"},
		},
		Unread: []string{"var/lib/rpm/rpmdb.sqlite"},
	}
	d := digest.FromString("manifest")
	doc := SPDX(Image{Name: "localhost:5000/app:1", Digest: d, Platform: "linux/amd64"}, inv, SPDXOptions{Version: "1.0", Created: time.Unix(86400, 0)})
	s, err := NewStatement([]Subject{{"pkg:docker/app", Digests(d)}}, PredicateSPDX, doc)
	if err != nil {
		t.Fatal(err)
	}
	data, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Indented(data)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "spdx.json", got)

	ids := map[string]bool{documentID: true}
	for _, p := range doc.Packages {
		if ids[p.SPDXID] || !regexp.MustCompile(`^SPDXRef-[a-zA-Z0-9.-]+$`).MatchString(p.SPDXID) {
			t.Errorf("identifier %q is bad, or there twice", p.SPDXID)
		}
		ids[p.SPDXID] = true
	}
	for _, r := range doc.Relationships {
		if !ids[r.Element] || !ids[r.Related] {
			t.Errorf("%+v names what is not there", r)
		}
	}
	inv.Packages = inv.Packages[:1]
	if other := SPDX(Image{Digest: d}, inv, SPDXOptions{Created: time.Unix(86400, 0)}); other.Namespace == doc.Namespace {
		t.Error("two documents have one namespace")
	}
}

// golden compares with a file; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs:\n%s", path, got)
	}
}

func TestExpression(t *testing.T) {
	for in, want := range map[string]string{
		"MIT": "MIT", "GPL-2+": "GPL-2.0-or-later", "Expat AND LGPL-2.1+": "MIT AND LGPL-2.1-or-later",
		"(MIT or Apache-2.0) and ISC": "(MIT OR Apache-2.0) AND ISC",
		"custom":                      "", "MIT GPL-2": "", "MIT AND": "", "(MIT": "", "MIT)": "", "": "", "AND": "", "public-domain": "", "GPL-2 with exception": "",
	} {
		if got, ok := expression(in); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %t; want %q", in, got, ok, want)
		}
	}
}

func TestScrub(t *testing.T) {
	for in, want := range map[string]string{
		"https://user:token@example.com/r.git#main:sub":          "https://example.com/r.git#main:sub",
		"https://example.com/a.tar?X-Signature=secret":           "https://example.com/a.tar",
		"git@github.com:o/r.git":                                 "github.com:o/r.git",
		"ssh://git@example.com/r.git":                            "ssh://example.com/r.git",
		"./dir/a@b":                                              "./dir/a@b",
		"https://example.com/plain":                              "https://example.com/plain",
		"https://ghp_aaaa@example.com/r.git?access_token=b#frag": "https://example.com/r.git#frag",
	} {
		if got := Scrub(in); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

func TestGitURI(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"https://me:token@example.com/r.git", "refs/heads/main"}:            "git+https://example.com/r.git@refs/heads/main",
		{"https://token@example.com/r.git?access_token=x#y", "refs/tags/v1"}: "git+https://example.com/r.git@refs/tags/v1",
		{"git@github.com:o/r.git", ""}:                                       "git+ssh://github.com/o/r.git",
		{"ssh://git@example.com/r.git", ""}:                                  "git+ssh://example.com/r.git",
		{"git://example.com/r.git", ""}:                                      "git://example.com/r.git",
		{"file:///home/me/r", "x"}:                                           "",
		{"/home/me/r", ""}:                                                   "",
		{"../r:x", ""}:                                                       "",
		{"https://example.com/\x01", ""}:                                     "",
		{"host:\n", ""}:                                                      "",
		{"", ""}:                                                             "",
	} {
		if got := GitURI(in[0], in[1]); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestImagePURL(t *testing.T) {
	d := digest.FromString("x")
	for in, want := range map[string]string{
		"docker.io/library/debian:12":   "pkg:docker/debian@12?digest=" + strings.Replace(d.String(), ":", "%3A", 1) + "&platform=linux%2Famd64",
		"localhost:5000/app":            "pkg:docker/localhost:5000/app?digest=" + strings.Replace(d.String(), ":", "%3A", 1) + "&platform=linux%2Famd64",
		"ghcr.io/o/app:1@" + d.String(): "pkg:docker/ghcr.io/o/app@1?digest=" + strings.Replace(d.String(), ":", "%3A", 1) + "&platform=linux%2Famd64",
	} {
		if got := ImagePURL(in, d, "linux/amd64"); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"", "{", "{}", `{"_type":"x","predicateType":"p","predicate":{}}`, `{"_type":"https://in-toto.io/Statement/v1","predicateType":"p"}`} {
		if _, err := Parse([]byte(bad)); !errdefs.IsCorrupt(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	s, err := Parse([]byte(`{"_type":"https://in-toto.io/Statement/v0.1","subject":[],"predicateType":"p","predicate":{"a":1}}`))
	if err != nil || string(s.Predicate) != `{"a":1}` {
		t.Errorf("got %+v, %v", s, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"b"}}],"predicateType":"p","predicate":[]}`))
	f.Add([]byte(`{"_type":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err != nil {
			if !errdefs.IsCorrupt(err) {
				t.Errorf("an error without a class: %v", err)
			}
			return
		}
		if out, err := s.Encode(); err != nil || !json.Valid(out) {
			t.Errorf("what was parsed cannot be written: %v", err)
		}
	})
}
