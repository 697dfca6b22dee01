package sbom_test

import (
	"fmt"
	"runtime"
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

func spdx3(elements string) string {
	return `{"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [` + elements + `, {"type": "SpdxDocument", "name": "app"}]}`
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
		"rpm with an epoch":          {spdx(pkg("pkg:rpm/rocky/openssl-libs@3.0.7-1.el9?epoch=1&distro=rocky-9.3")), "rocky 9.3: rpm openssl-libs 1:3.0.7-1.el9 openssl-libs 3.0.7-1.el9"},
		"rpm with its source's file": {cycloneDX(lib("pkg:rpm/rocky/openssl-libs@3.0.7-1.el9?upstream=openssl-3.0.7-2.el9.src.rpm&distro=rocky-9.3")), "rocky 9.3: rpm openssl-libs 3.0.7-1.el9 openssl 3.0.7-2.el9"},
		"SPDX 3":                     {spdx3(`{"type": "software_Package", "spdxId": "a", "name": "x", "software_packageUrl": "pkg:npm/a@1"}, {"type": "software_Package", "externalIdentifier": [{"externalIdentifierType": "cpe23", "identifier": "y"}, {"externalIdentifierType": "packageUrl", "identifier": "pkg:npm/b@1"}]}, {"type": "software_Package", "name": "x"}, {"type": "software_Package", "software_primaryPurpose": "container"}, {"type": "software_File", "name": "f"}`), " : npm a 1 a 1; npm b 1 b 1; 1 unnamed"},
		"names as people write them": {cycloneDX(`{"type": "library", "name": "github.com/A/B", "purl": "pkg:golang/github.com/a/b@v1"}, {"type": "library", "name": "Other", "purl": "pkg:pypi/a-b@1"}, {"type": "library", "group": "@S", "name": "p", "purl": "pkg:npm/%40S/p@1"}`), " : golang github.com/A/B v1 github.com/A/B v1; npm @S/p 1 @S/p 1; pypi a-b 1 a-b 1"},
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
	deepest := cycloneDX(strings.Repeat("[", 20000) + strings.Repeat("]", 20000))
	deep := strings.Repeat(`{"type": "library", "purl": "pkg:npm/a@1", "components": [`, 100) + strings.Repeat("]}", 100)
	for doc, is := range map[string]func(error) bool{
		"":                               errdefs.IsInvalid,
		"{}":                             errdefs.IsInvalid,
		`{"spdxVersion": "SPDX-3.0"}`:    errdefs.IsInvalid,
		`{"@context": "x/rdf/3.0.1"}`:    errdefs.IsInvalid,
		`{"bomFormat": "CycloneDX", "co`: errdefs.IsInvalid,
		cycloneDX(deep):                  errdefs.IsLimit,
		deepest:                          errdefs.IsInvalid,
	} {
		if _, err := sbom.Read([]byte(doc)); !is(err) {
			t.Errorf("%.60s: %v", doc, err)
		}
	}
}

// A document of millions of things that say nothing takes little more than its bytes, and all are counted.
func TestManyEmpty(t *testing.T) {
	const n = 500_000
	empty := strings.Repeat("{},", n-1) + "{}"
	for _, doc := range []string{cycloneDX(empty), spdx(empty), spdx3(strings.ReplaceAll(empty, "{}", `{"type":"software_Package"}`))} {
		var before, after runtime.MemStats
		data := []byte(doc)
		runtime.ReadMemStats(&before)
		r, err := sbom.Read(data)
		runtime.ReadMemStats(&after)
		if !errdefs.IsLimit(err) && (err != nil || r.Unnamed < n/2) || len(r.Packages) > 0 {
			t.Errorf("%.40s: %d are unnamed, %v", doc, r.Unnamed, err)
		}
		if used := after.HeapSys - before.HeapSys; used > 1<<30 && after.HeapSys > before.HeapSys {
			t.Errorf("%.40s: %d MB of memory for a document of %d", doc, used>>20, len(doc)>>20)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(cycloneDX(`{"type": "library", "purl": "pkg:deb/debian/a@1?distro=debian-12&upstream=b@2"}`)))
	f.Add([]byte(spdx(`{"externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:rpm/a/b@1?epoch=1#x"}]}`)))
	f.Add([]byte(cycloneDX(`{"type": "library", "name": "x", "purl": "pkg:npm/a@1", "licenses": [{"expression": "MIT"}, {"license": {"id": "ISC"}}], "evidence": {"occurrences": [{"location": "/a"}]}, "properties": [{"name": "camada:layer", "value": "1"}, {"name": "camada:source", "value": "s"}]}`)))
	f.Add([]byte(spdx3(`{"type": "software_Package", "spdxId": "a", "software_packageUrl": "pkg:deb/debian/a@1", "software_sourceInfo": "listed in /x; built from s 1", "comment": "from layer 1 (sha256:1), D:1: RUN x"}, {"type": "Relationship", "from": "a", "to": ["l"], "relationshipType": "hasDeclaredLicense"}, {"type": "simplelicensing_LicenseExpression", "spdxId": "l", "simplelicensing_licenseExpression": "MIT"}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := sbom.Read(data)
		if err == nil && len(r.Origins) != len(r.Packages) {
			t.Errorf("%d origins of %d packages", len(r.Origins), len(r.Packages))
		}
		for _, p := range r.Packages {
			if err == nil && (p.Name == "" || p.Type == "" || strings.ContainsAny(p.Name+p.Version+p.PURL, "\x00\n\x1b ")) {
				t.Errorf("%+v", p)
			}
		}
	})
}
