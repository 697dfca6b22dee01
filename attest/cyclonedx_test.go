package attest

import (
	"bytes"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/camada/camada/inventory"
	"github.com/opencontainers/go-digest"
)

// The golden file was checked against the schema of CycloneDX 1.6.
func TestCycloneDXGolden(t *testing.T) {
	inv := inventory.Inventory{
		Distribution: inventory.Distribution{ID: "debian", VersionID: "12"},
		Packages: []inventory.Package{
			{Type: "deb", Name: "libstdc++6", Version: "12.2.0-14", Arch: "amd64", Source: "gcc-12", SourceVersion: "12.2.0-14",
				License: "GPL-3+ AND (GPL-2+ with exception)", Supplier: "Debian GCC Maintainers <debian-gcc@lists.debian.org>",
				PURL: "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=debian-12&upstream=gcc-12", Found: "var/lib/dpkg/status"},
			{Type: "maven", Name: "org.a:b", Version: "1", Source: "org.a:b", SourceVersion: "1", PURL: "pkg:maven/org.a/b@1", Found: "app.jar"},
			{Type: "npm", Name: "@a/b", Version: "1", Source: "@a/b", SourceVersion: "1", License: "MIT OR Apache-2.0", PURL: "pkg:npm/%40a/b@1", Found: "node_modules/@a/b/package.json"},
		},
		Unread: []string{"app/yarn.lock"},
	}
	opts := SPDXOptions{Version: "1.0", Created: time.Unix(86400, 0), Origins: []inventory.Origin{
		{Layer: 1, Digest: "sha256:1", Instruction: "RUN apt-get install x"}, {}, {Layer: 2, Digest: "sha256:2", Instruction: "COPY . .", Dockerfile: "Dockerfile", Line: 7},
	}}
	img := Image{Name: "localhost:5000/app:1", Digest: digest.FromString("manifest"), Platform: "linux/amd64"}
	encoded := func(b *BOM) []byte {
		t.Helper()
		data, err := b.Encode()
		if err == nil {
			data, err = Indented(data)
		}
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	doc := CycloneDX(img, inv, opts)
	golden(t, "cyclonedx.json", encoded(doc))
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(doc.Serial) {
		t.Errorf("serial number %s", doc.Serial)
	}
	if again := encoded(CycloneDX(img, inv, opts)); !bytes.Equal(again, encoded(doc)) {
		t.Error("the same input, another document")
	}
	later := opts
	later.Created = time.Unix(0, 0)
	fewer := inv
	fewer.Packages = slices.Clone(inv.Packages[:2])
	if CycloneDX(img, inv, later).Serial != doc.Serial || CycloneDX(img, fewer, opts).Serial == doc.Serial {
		t.Error("the serial number is not that of what is listed")
	}

	// A directory is no container, and has no digest.
	dir := CycloneDX(Image{Name: "project"}, inventory.Inventory{}, SPDXOptions{})
	if c := dir.Metadata.Component; c.Type != "file" || c.PURL != "" || c.Version != "" || c.Hashes != nil || dir.Components == nil {
		t.Errorf("a directory is %+v", c)
	}
	spdx := SPDX(Image{Name: "project"}, inv, opts)
	if p := spdx.Packages[0]; p.Purpose != "FILE" || p.Checksums != nil || p.ExternalRefs != nil {
		t.Errorf("a directory is %+v", p)
	}
	for i, want := range []string{"from layer 1 (sha256:1): RUN apt-get install x", "", "from layer 2 (sha256:2), Dockerfile:7: COPY . ."} {
		if got := spdx.Packages[2+i].Comment; got != want {
			t.Errorf("package %d came %q, want %q", i, got, want)
		}
	}
	if got := spdx.Packages[3].SourceInfo; got != "found in /app.jar" {
		t.Errorf("a jar is %q", got)
	}
}
