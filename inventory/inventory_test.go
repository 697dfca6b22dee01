package inventory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/camada/camada/errdefs"
)

func file(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

const debian12 = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n"

func TestDpkg(t *testing.T) {
	root := fstest.MapFS{
		"usr/lib/os-release": file(debian12),
		"var/lib/dpkg/status": file(`Package: libc6
Status: install ok installed
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u4
Conffiles:
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7a7b88a71b5ffd9e2644e71a0cfab
Description: GNU C Library: Shared libraries
 Contains the standard libraries.

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: login
Status: install ok installed
Architecture: amd64
Source: shadow (1:4.13)
Version: 1:4.13+dfsg1-1
`),
		"var/lib/dpkg/status-old": file("Package: old\nVersion: 1\n"),
		"usr/share/doc/libc6/copyright": file("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n" +
			"Files: *\nLicense: LGPL-2.1+\n text\n\nFiles: a\nLicense: GPL-2+ with exception\n\nFiles: b\nLicense: LGPL-2.1+\n"),
		"usr/share/doc/login/copyright": file("This is free text.\nLicense: not this\n"),
	}
	inv, err := Read(context.Background(), root)
	if err != nil {
		t.Fatal(err)
	}
	want := Inventory{
		Distribution: Distribution{ID: "debian", VersionID: "12", Codename: "bookworm", PrettyName: "Debian GNU/Linux 12 (bookworm)"},
		Packages: []Package{
			{Type: "deb", Name: "libc6", Version: "2.36-9+deb12u4", Arch: "amd64", Source: "glibc", SourceVersion: "2.36-9+deb12u4",
				License: "(GPL-2+ with exception) AND LGPL-2.1+", Supplier: "GNU Libc Maintainers <debian-glibc@lists.debian.org>",
				PURL:  "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc",
				Found: "var/lib/dpkg/status"},
			{Type: "deb", Name: "login", Version: "1:4.13+dfsg1-1", Arch: "amd64", Source: "shadow", SourceVersion: "1:4.13",
				PURL:  "pkg:deb/debian/login@1:4.13%2Bdfsg1-1?arch=amd64&distro=debian-12&upstream=shadow%401:4.13",
				Found: "var/lib/dpkg/status"},
		},
	}
	if !reflect.DeepEqual(inv, want) {
		t.Errorf("got  %+v\nwant %+v", inv, want)
	}
}

func TestDistroless(t *testing.T) {
	root := fstest.MapFS{
		"etc/os-release":                           file(debian12),
		"var/lib/dpkg/status.d/libc6":              file("Package: libc6\nVersion: 2.36-9\nArchitecture: amd64\nSource: glibc\n"),
		"var/lib/dpkg/status.d/libc6.md5sums":      file("0123456789abcdef  usr/lib/libc.so\n"),
		"var/lib/dpkg/status.d/base-files":         file("Package: base-files\nVersion: 12.4\nArchitecture: amd64\n\n"),
		"var/lib/dpkg/status.d/base-files.md5sums": file(""),
	}
	inv, err := Read(context.Background(), root)
	if err != nil {
		t.Fatal(err)
	}
	if len(inv.Packages) != 2 || inv.Packages[0].Name != "base-files" || inv.Packages[1].Found != "var/lib/dpkg/status.d/libc6" {
		t.Errorf("got %+v", inv.Packages)
	}
}

func TestApk(t *testing.T) {
	root := fstest.MapFS{
		"etc/os-release": file("ID=alpine\nVERSION_ID=3.19.1\nPRETTY_NAME='Alpine Linux v3.19'\n"),
		"lib/apk/db/installed": file(`C:Q1x7E3jnr/Hs=
P:ssl_client
V:1.36.1-r15
A:x86_64
L:GPL-2.0-only
o:busybox
m:Sören Tempel <soeren+alpine@soeren-tempel.net>
F:usr
F:usr/bin
R:ssl_client
a:0:0:755

P:musl
V:1.2.4_git20230717-r4
A:x86_64
L:MIT
o:musl

`),
	}
	inv, err := Read(context.Background(), root)
	if err != nil {
		t.Fatal(err)
	}
	want := []Package{
		{Type: "apk", Name: "musl", Version: "1.2.4_git20230717-r4", Arch: "x86_64", Source: "musl", SourceVersion: "1.2.4_git20230717-r4",
			License: "MIT", PURL: "pkg:apk/alpine/musl@1.2.4_git20230717-r4?arch=x86_64&distro=alpine-3.19.1", Found: "lib/apk/db/installed"},
		{Type: "apk", Name: "ssl_client", Version: "1.36.1-r15", Arch: "x86_64", Source: "busybox", SourceVersion: "1.36.1-r15",
			License: "GPL-2.0-only", Supplier: "Sören Tempel <soeren+alpine@soeren-tempel.net>",
			PURL:  "pkg:apk/alpine/ssl_client@1.36.1-r15?arch=x86_64&distro=alpine-3.19.1&upstream=busybox",
			Found: "lib/apk/db/installed"},
	}
	if !reflect.DeepEqual(inv.Packages, want) {
		t.Errorf("got  %+v\nwant %+v", inv.Packages, want)
	}
}

func TestNothingAndUnread(t *testing.T) {
	inv, err := Read(context.Background(), fstest.MapFS{"bin/sh": file("x")})
	if err != nil || len(inv.Packages) != 0 || inv.Packages == nil || inv.Unread != nil {
		t.Errorf("an empty root: %+v, %v", inv, err)
	}
	inv, err = Read(context.Background(), fstest.MapFS{"var/lib/rpm/rpmdb.sqlite-wal": file("WAL"), "var/lib/pacman/local/ALPM_DB_VERSION": file("9")})
	if err != nil || !reflect.DeepEqual(inv.Unread, []string{"var/lib/rpm/rpmdb.sqlite-wal", "var/lib/pacman/local/ALPM_DB_VERSION"}) {
		t.Errorf("rpm: %+v, %v", inv, err)
	}
}

func TestHostile(t *testing.T) {
	for name, tc := range map[string]struct {
		root  fs.FS
		class error
	}{
		"no field":        {fstest.MapFS{"var/lib/dpkg/status": file("nonsense\n")}, errdefs.ErrInvalid},
		"no name":         {fstest.MapFS{"var/lib/dpkg/status": file("Version: 1\n")}, errdefs.ErrInvalid},
		"no version":      {fstest.MapFS{"lib/apk/db/installed": file("P:a\n")}, errdefs.ErrInvalid},
		"escape sequence": {fstest.MapFS{"lib/apk/db/installed": file("P:a\x1b[2J\nV:1\n")}, errdefs.ErrInvalid},
		"space in name":   {fstest.MapFS{"var/lib/dpkg/status": file("Package: a b\nVersion: 1\n")}, errdefs.ErrInvalid},
		"long line":       {fstest.MapFS{"var/lib/dpkg/status": file("Package: " + strings.Repeat("a", maxLine+1))}, errdefs.ErrLimit},
		"long name":       {fstest.MapFS{"var/lib/dpkg/status": file("Package: " + strings.Repeat("a", maxValue+1) + "\nVersion: 1")}, errdefs.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(context.Background(), tc.root)
			if err == nil || !errorIs(err, tc.class) {
				t.Fatalf("got %v, want %v", err, tc.class)
			}
			if !strings.Contains(err.Error(), "status") && !strings.Contains(err.Error(), "installed") {
				t.Errorf("%v does not name the file", err)
			}
		})
	}
}

func errorIs(err, class error) bool {
	return errors.Is(err, class)
}

// What a directory with the name of a database, and links out of the root, do.
func TestOddRoots(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"var/lib/dpkg/status", "lib/apk", "etc"} {
		if err := os.MkdirAll(dir+"/"+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"lib/apk/db": "/etc", "etc/os-release": "/etc/os-release"} {
		if err := os.Symlink(to, dir+"/"+link); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	inv, err := Read(context.Background(), root.FS())
	if err != nil || len(inv.Packages) != 0 || inv.Distribution != (Distribution{}) || !reflect.DeepEqual(inv.Unread, []string{"lib/apk/db"}) {
		t.Errorf("got %+v, %v", inv, err)
	}
}

// TestThisMachine compares with what dpkg says of its own database.
func TestThisMachine(t *testing.T) {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${db:Status-Abbrev}|${Package}|${Version}|${Architecture}|${source:Package}|${source:Version}\n").Output()
	if err != nil {
		t.Skip("no dpkg here: ", err)
	}
	want := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		status, rest, _ := strings.Cut(strings.TrimSpace(line), "|")
		if len(status) > 1 && status[1] != 'n' && status[1] != 'c' {
			want[rest] = true
		}
	}
	inv, err := Read(context.Background(), os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	licensed := 0
	for _, p := range inv.Packages {
		key := fmt.Sprintf("%s|%s|%s|%s|%s", p.Name, p.Version, p.Arch, p.Source, p.SourceVersion)
		if p.Type == "deb" && !want[key] {
			t.Errorf("dpkg does not know %s", key)
		}
		delete(want, key)
		if p.License != "" {
			licensed++
		}
	}
	for key := range want {
		t.Errorf("%s is missing", key)
	}
	t.Logf("%d packages, %d with a licence", len(inv.Packages), licensed)
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("Package: a\nStatus: install ok installed\nVersion: 1\nSource: b (2)\n\n"), []byte("P:a\nV:1\n\n"), []byte(debian12))
	f.Add([]byte("Package:\n x\n\n\n"), []byte("P:"), []byte("ID=\"a\\\"\nVERSION_ID='"))
	f.Add([]byte("#\nSource: ()\nPackage: a\nVersion: 1"), []byte("\r\n\r\nP:a\nV:\xff"), []byte("="))
	f.Fuzz(func(t *testing.T, dpkg, apk, release []byte) {
		inv, err := Read(context.Background(), fstest.MapFS{
			"var/lib/dpkg/status": {Data: dpkg}, "lib/apk/db/installed": {Data: apk}, "etc/os-release": {Data: release},
			"usr/share/doc/a/copyright": {Data: dpkg},
		})
		if err != nil {
			return
		}
		for _, p := range inv.Packages {
			if p.Source == "" || p.SourceVersion == "" || p.check() != nil || !strings.HasPrefix(p.PURL, "pkg:"+p.Type+"/") || strings.ContainsAny(p.PURL, " \n\"") {
				t.Errorf("a bad package: %+v", p)
			}
		}
	})
}
