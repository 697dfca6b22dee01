package aptconfig

import (
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
)

func TestParseList(t *testing.T) {
	const text = `# a comment
deb http://a.example/debian/ bookworm main contrib # more
deb-src http://a.example/debian bookworm main
deb [ arch=amd64,arm64 signed-by=/usr/k.gpg,ABCDEF0123456789ABCD! check-valid-until=no ]	http://b.example/x	sid/
`
	got, err := ParseList(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []Source{
		{URIs: []string{"http://a.example/debian/"}, Suites: []string{"bookworm"}, Components: []string{"main", "contrib"}},
		{URIs: []string{"http://b.example/x"}, Suites: []string{"sid/"}, Components: []string{}, Architectures: []string{"amd64", "arm64"},
			SignedBy: []string{"/usr/k.gpg"}, Fingerprints: []string{"ABCDEF0123456789ABCD"}, NoValidUntil: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for _, bad := range []string{"rpm http://x y z", "deb http://x", "deb [ a=b http://x y"} {
		if _, err := ParseList(strings.NewReader(bad)); !errdefs.IsInvalid(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseSources(t *testing.T) {
	const text = `Types: deb deb-src
URIs: http://a.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb-src
URIs: http://x
Suites: y

Types: deb
Enabled: no
URIs: http://x
Suites: y

Types: deb
URIs: http://b.example/x
Suites: y
Signed-By: /k1.gpg /k2.gpg
`
	got, err := ParseSources(strings.NewReader(text))
	if err != nil || len(got) != 2 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if want := "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n"; got[0].Key != want {
		t.Errorf("key = %q, want %q", got[0].Key, want)
	}
	if strings.Join(got[0].Suites, " ") != "bookworm bookworm-updates" || strings.Join(got[1].SignedBy, " ") != "/k1.gpg /k2.gpg" {
		t.Errorf("got %+v", got)
	}
	if _, err := ParseSources(strings.NewReader("Types: deb\nURIs: http://x\n")); !errdefs.IsInvalid(err) {
		t.Errorf("without Suites: %v", err)
	}
}

func TestRead(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/apt/sources.list":                 "deb http://one.example/ sid main\n",
		"etc/apt/sources.list.d/b.list":        "deb http://two.example/ sid main\n",
		"etc/apt/sources.list.d/a.sources":     "Types: deb\nURIs: http://three.example\nSuites: sid\n",
		"etc/apt/sources.list.d/c.list.save":   "nonsense\n",
		"etc/apt/sources.list.d/d.sources.off": "nonsense\n",
		"etc/apt/trusted.gpg.d/x.asc":          "",
		"etc/apt/trusted.gpg.d/readme":         "",
		"etc/apt/apt.conf.d/10a":               `Acquire::http::Proxy "http://first.example:1"; // old` + "\n",
		"etc/apt/apt.conf.d/20b":               "/* a */ acquire { HTTP { Proxy \"http://p.example:3128\"; proxy::direct.example DIRECT; }; https::Proxy \"http://s.example:1\"; };\n# c\nDPkg::Post-Invoke { \"x; y\"; };",
		"usr/lib/os-release":                   "ID=debian\nVERSION_CODENAME=\"sid\"\n",
		"etc/apt/apt.conf.d/30c.disabled":      "}",
	} {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	var uris []string
	for _, s := range c.Sources {
		uris = append(uris, s.URIs...)
	}
	if got := strings.Join(uris, " "); got != "http://one.example/ http://three.example http://two.example/" {
		t.Errorf("URIs = %s", got)
	}
	if len(c.Trusted) != 1 || c.ID != "debian" || c.Codename != "sid" {
		t.Errorf("config = %+v", c)
	}
	for address, want := range map[string]string{
		"http://a.example/":      "http://p.example:3128",
		"https://a.example/":     "http://s.example:1",
		"http://direct.example/": "",
	} {
		req, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := c.Proxy()(req)
		got := ""
		if u != nil {
			got = u.String()
		}
		if err != nil || got != want {
			t.Errorf("proxy of %s = %q, %v; want %q", address, got, err, want)
		}
	}
	if empty, err := Read(t.TempDir()); err != nil || len(empty.Sources) != 0 {
		t.Errorf("of an empty root: %+v, %v", empty, err)
	}
}

func TestOptionsRefused(t *testing.T) {
	if err := parseOptions(strings.NewReader("a { b 1; }; }"), map[string]string{}); !errdefs.IsInvalid(err) {
		t.Errorf("a brace too many: %v", err)
	}
	if err := parseOptions(strings.NewReader(strings.Repeat("a {", 100)), map[string]string{}); !errdefs.IsLimit(err) {
		t.Errorf("too deep: %v", err)
	}
}

func FuzzOptions(f *testing.F) {
	f.Add("A::B { C \"d\"; }; // x\n/* y */ # z\n")
	f.Fuzz(func(t *testing.T, text string) {
		_ = parseOptions(strings.NewReader(text), map[string]string{})
	})
}

func FuzzSources(f *testing.F) {
	f.Add("deb [ a=b ] http://x y z\n")
	f.Add("Types: deb\nURIs: http://x\nSuites: y\nSigned-By: /z\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) ([]Source, error){
			func(s string) ([]Source, error) { return ParseList(strings.NewReader(s)) },
			func(s string) ([]Source, error) { return ParseSources(strings.NewReader(s)) },
		} {
			all, _ := parse(text)
			for _, s := range all {
				if len(s.URIs) == 0 || len(s.Suites) == 0 {
					t.Fatalf("a source without address or suite: %+v", s)
				}
			}
		}
	})
}
