package attest

import (
	"testing"
	"time"

	"github.com/camada/camada/inventory"
	"github.com/camada/camada/inventory/sbom"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

// packagesOfAllKinds is an inventory with all that documents tell of packages.
func packagesOfAllKinds(t testing.TB) (inventory.Inventory, []inventory.Origin) {
	t.Helper()
	inv := inventory.Inventory{
		Distribution: inventory.Distribution{ID: "debian", VersionID: "12"},
		Packages: []inventory.Package{
			{Type: "apk", Name: "ssl_client", Version: "1.36.1-r15", Arch: "x86_64", Source: "busybox", SourceVersion: "1.36.1-r15", License: "GPL-2.0-only",
				PURL: "pkg:apk/alpine/ssl_client@1.36.1-r15?arch=x86_64&distro=debian-12&upstream=busybox", Found: "lib/apk/db/installed"},
			{Type: "deb", Name: "libstdc++6", Version: "1:12.2.0-14", Arch: "amd64", Source: "gcc-12", SourceVersion: "12.2.0-13", License: "GPL-3+ AND (GPL-2+ with exception)",
				Supplier: "Debian GCC Maintainers <debian-gcc@lists.debian.org>",
				PURL:     "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14?arch=amd64&distro=debian-12&upstream=gcc-12%4012.2.0-13", Found: "var/lib/dpkg/status"},
		},
		Unread: []string{"app/yarn.lock", "app/pom.xml"},
	}
	for _, p := range []inventory.Package{
		{Type: "golang", Name: "github.com/Masterminds/Semver/v3", Version: "v3.2.0", Found: "usr/bin/app"},
		{Type: "golang", Name: "github.com/Masterminds/Semver/v3", Version: "v3.2.0", Found: "usr/bin/other"},
		{Type: "maven", Name: "org.a:b", Version: "1", Found: "app.jar"},
		{Type: "npm", Name: "@a/b", Version: "1", License: "MIT OR Apache-2.0", Found: "node_modules/@a/b/package.json"},
		{Type: "pypi", Name: "Zope.Interface_X", Version: "3.1+x", License: "Zope's own", Found: "usr/lib/python3/dist-packages/x.dist-info/METADATA"},
	} {
		p, err := inventory.Library(p)
		if err != nil {
			t.Fatal(err)
		}
		inv.Packages = append(inv.Packages, p)
	}
	inv.Packages = append(inv.Packages, inventory.Package{Type: "rpm", Name: "hello-libs", Version: "2:1.4-3", Arch: "noarch", Source: "hello-libs", SourceVersion: "1.4-3", License: "MIT", Supplier: "Example Project",
		PURL: "pkg:rpm/rocky/hello-libs@1.4-3?arch=noarch&distro=debian-12&epoch=2", Found: "var/lib/rpm/rpmdb.sqlite"})
	origins := make([]inventory.Origin, len(inv.Packages))
	origins[0] = inventory.Origin{Layer: 1, Digest: "sha256:1", Instruction: "ADD base.tar / # a: comment"}
	origins[1] = inventory.Origin{Layer: 2, Digest: "sha256:2", Instruction: "RUN <<E\napt-get install x\nE", Dockerfile: "dir/Docker:file", Line: 7}
	origins[4] = inventory.Origin{Layer: 3, Digest: "sha256:3", Dockerfile: "Dockerfile", Line: 12}
	origins[5] = inventory.Origin{Layer: 3, Digest: "sha256:3"}
	return inv, origins
}

// What a document of any form says of packages comes back.
func TestRoundTrip(t *testing.T) {
	inv, origins := packagesOfAllKinds(t)
	img := Image{Name: "localhost:5000/app:1", Digest: digest.FromString("manifest"), Platform: "linux/amd64"}
	opts := SPDXOptions{Version: "1.0", Created: time.Unix(86400, 0), Origins: origins}
	for name, doc := range map[string]interface{ Encode() ([]byte, error) }{"SPDX 2.3": SPDX(img, inv, opts), "SPDX 3": SPDX3(img, inv, opts), "CycloneDX": CycloneDX(img, inv, opts)} {
		data, err := doc.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := sbom.Read(data)
		if err != nil || got.Unnamed != 0 || got.Name != img.Name {
			t.Fatalf("%s: %q, %d are unnamed, %v", name, got.Name, got.Unnamed, err)
		}
		want := inv
		want.Packages = append([]inventory.Package{}, inv.Packages...)
		for i := range want.Packages { // licences become expressions where they can
			if expr, ok := expression(want.Packages[i].License); ok {
				want.Packages[i].License = expr
			}
		}
		if diff := cmp.Diff(want, got.Inventory); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(origins, got.Origins); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSPDX3Golden(t *testing.T) {
	inv, origins := packagesOfAllKinds(t)
	img := Image{Name: "localhost:5000/app:1", Digest: digest.FromString("manifest"), Platform: "linux/amd64"}
	opts := SPDXOptions{Version: "1.0", Created: time.Unix(86400, 0), Origins: origins}
	doc := SPDX3(img, inv, opts)
	data, err := doc.Encode()
	if err == nil {
		data, err = Indented(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "spdx3.json", data)

	ids := map[string]bool{creation: true}
	for _, e := range doc.Elements {
		if e.ID != "" && ids[e.ID] {
			t.Errorf("%s is there twice", e.ID)
		}
		ids[e.ID] = true
	}
	for _, e := range doc.Elements {
		for _, list := range [][]string{e.CreatedBy, e.CreatedUsing, e.Roots, e.Members, e.To} {
			for _, id := range list {
				if !ids[id] {
					t.Errorf("%s names %s, which is not there", e.ID, id)
				}
			}
		}
		for _, id := range []string{e.From, e.Subject, e.SuppliedBy, e.CreationInfo} {
			if id != "" && !ids[id] {
				t.Errorf("%s names %s, which is not there", e.ID, id)
			}
		}
	}
	document := func(inv inventory.Inventory, opts SPDXOptions) string { return SPDX3(img, inv, opts).Elements[3].ID }
	later := opts
	later.Created = time.Unix(0, 0)
	fewer := inv
	fewer.Packages = inv.Packages[:2]
	if document(inv, later) != document(inv, opts) || document(fewer, opts) == document(inv, opts) {
		t.Error("the name of a document is not that of what it lists")
	}
}
