package sbom_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory/sbom"
)

func cycloneDX(components string) string {
	return `{"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": {"type": "container", "name": "app"}}, "components": [` + components + `]}`
}

func spdx(packages string) string {
	return `{"spdxVersion": "SPDX-2.3", "name": "app", "packages": [` + packages + `]}`
}

func TestRead(t *testing.T) {
	lib := func(purl string) string { return `{"type": "library", "name": "x", "purl": "` + purl + `"}` }
	pkg := func(purl string) string {
		return `{"name": "x", "externalRefs": [{"referenceType": "cpe23Type", "referenceLocator": "y"}, {"referenceType": "purl", "referenceLocator": "` + purl + `"}]}`
	}
	for name, c := range map[string]struct{ doc, want string }{
		"deb":                        {cycloneDX(lib("pkg:deb/debian/libc6@2.36-9%2Bb1?arch=amd64&distro=debian-12&upstream=glibc%402.36-9")), "debian 12: deb libc6 2.36-9+b1 glibc 2.36-9"},
		"a code name":                {cycloneDX(lib("pkg:deb/debian/a@1?distro=bookworm")), "debian bookworm: deb a 1 a 1"},
		"apk, and the system":        {cycloneDX(`{"type": "operating-system", "name": "alpine", "version": "3.22.1"}, ` + lib("pkg:apk/alpine/libssl3@3.5.1-r0?upstream=openssl")), "alpine 3.22.1: apk libssl3 3.5.1-r0 openssl 3.5.1-r0"},
		"rpm with an epoch":          {spdx(pkg("pkg:rpm/rocky/openssl-libs@3.0.7-1.el9?epoch=1&distro=rocky-9.3")), "rocky 9.3: rpm openssl-libs 1:3.0.7-1.el9 openssl-libs 1:3.0.7-1.el9"},
		"languages":                  {cycloneDX(strings.Join([]string{lib("pkg:golang/github.com/a/b@v1.0.0"), lib("pkg:npm/%40s/p@1.0.0"), lib("pkg:maven/org.x/y@1"), lib("pkg:pypi/django@1")}, ",")), " : golang github.com/a/b v1.0.0 github.com/a/b v1.0.0; maven org.x:y 1 org.x:y 1; npm @s/p 1.0.0 @s/p 1.0.0; pypi django 1 django 1"},
		"components in each other":   {cycloneDX(`{"type": "application", "purl": "pkg:npm/a@1", "components": [` + lib("pkg:npm/b@1") + `]}`), " : npm a 1 a 1; npm b 1 b 1"},
		"twice":                      {cycloneDX(lib("pkg:npm/a@1") + "," + lib("pkg:npm/a@1")), " : npm a 1 a 1"},
		"without a URL":              {cycloneDX(`{"type": "library", "name": "x"}, {"type": "file", "name": "y"}, ` + lib("pkg:npm")), " : 2 unnamed"},
		"the image and the system":   {spdx(`{"name": "app", "primaryPackagePurpose": "CONTAINER"}, {"name": "debian", "primaryPackagePurpose": "OPERATING-SYSTEM"}, {"name": "debian", "primaryPackagePurpose": "OPERATING_SYSTEM"}, ` + pkg("pkg:docker/app@1")), " : "},
		"what would write on a line": {cycloneDX(lib(`pkg:npm/a%1b[2J@1`) + "," + lib(`pkg:npm/a@1%0a`)), " : 2 unnamed"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := sbom.Read([]byte(c.doc))
			if err != nil || !sbom.Is([]byte(c.doc)) {
				t.Fatal(err)
			}
			var got []string
			for _, p := range r.Packages {
				got = append(got, strings.Join([]string{p.Type, p.Name, p.Version, p.Source, p.SourceVersion}, " "))
			}
			if r.Unnamed > 0 {
				got = append(got, fmt.Sprintf("%d unnamed", r.Unnamed))
			}
			if s := r.Distribution.ID + " " + r.Distribution.VersionID + ": " + strings.Join(got, "; "); s != c.want || r.Name != "app" {
				t.Errorf("got  %q\nwant %q", s, c.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	deep := strings.Repeat(`{"type": "library", "purl": "pkg:npm/a@1", "components": [`, 100) + strings.Repeat("]}", 100)
	for doc, is := range map[string]func(error) bool{
		"":                               errdefs.IsInvalid,
		"{}":                             errdefs.IsInvalid,
		`{"spdxVersion": "SPDX-3.0"}`:    errdefs.IsInvalid,
		`{"bomFormat": "CycloneDX", "co`: errdefs.IsInvalid,
		cycloneDX(`"x"`):                 errdefs.IsInvalid,
		cycloneDX(deep):                  errdefs.IsLimit,
	} {
		if _, err := sbom.Read([]byte(doc)); !is(err) {
			t.Errorf("%.60s: %v", doc, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(cycloneDX(`{"type": "library", "purl": "pkg:deb/debian/a@1?distro=debian-12&upstream=b@2"}`)))
	f.Add([]byte(spdx(`{"externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:rpm/a/b@1?epoch=1#x"}]}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := sbom.Read(data)
		for _, p := range r.Packages {
			if err == nil && (p.Name == "" || p.Type == "" || strings.ContainsAny(p.Name+p.Version+p.PURL, "\x00\n\x1b ")) {
				t.Errorf("%+v", p)
			}
		}
	})
}
