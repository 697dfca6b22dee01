package debian_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/base/debian"
	"github.com/camada/camada/base/debian/aptconfig"
	"github.com/camada/camada/base/debian/debiantest"
	"github.com/camada/camada/errdefs"
)

type deb = debiantest.Deb

type files = []debiantest.File

// little is an archive with all that Minbase wants, and some more.
func little() []deb {
	return []deb{
		{Name: "base-files", Version: "12", Fields: "Essential: yes\nPriority: required\nPre-Depends: awk\n", Files: files{
			{Name: "./"}, {Name: "./etc/"}, {Name: "./etc/os-release", Type: tar.TypeSymlink, Link: "../usr/lib/os-release"},
			{Name: "./usr/"}, {Name: "./usr/lib/"}, {Name: "./usr/lib/os-release", Body: "ID=debian\n"}, {Name: "./tmp/", Mode: 0o1777},
			{Name: "./var/"}, {Name: "./bin/"}, {Name: "./root/", Mode: 0o700},
		}},
		{Name: "awk", Version: "1", Files: files{{Name: "./usr/bin/awk", Body: "awk", Mode: 0o755}}},
		{Name: "apt", Version: "2", Fields: "Priority: important\nDepends: libx (>= 1), sh | zsh\n", Compression: "zst",
			Info:  map[string]string{"conffiles": "/etc/apt.conf\nremove-on-upgrade /etc/old\n", "preinst": "#!/bin/sh\n", "triggers": "interest-noawait ldconfig\ninterest /usr/share/x # c\n"},
			Files: files{{Name: "./etc/"}, {Name: "./etc/apt.conf", Body: "x"}, {Name: "./usr/bin/apt", Body: "elf", Mode: 0o755, Time: debiantest.Built().Add(time.Hour)}}},
		{Name: "libx", Version: "1", Fields: "Multi-Arch: same\n", Compression: "gz", Info: map[string]string{"md5sums": "0  lib/x.so\n"},
			Files: files{{Name: "./lib/"}, {Name: "./lib/x.so", Body: "so"}, {Name: "./lib/a.so", Type: tar.TypeLink, Link: "./lib/x.so"}, {Name: "./lib64/ld.so", Type: tar.TypeSymlink, Link: "/lib/x.so"}}},
		{Name: "dash", Version: "1", Fields: "Essential: yes\nProvides: sh\nReplaces: libx\nDepends: dpkg\n", Files: files{{Name: "./bin/sh", Body: "dash", Mode: 0o4755, GID: 42}, {Name: "./lib/a.so", Body: "mine"}}},
		{Name: "dpkg", Version: "1", Fields: "Essential: yes\nDepends: dash\n", Files: files{{Name: "./usr/bin/dpkg", Body: "dpkg"}}},
		{Name: "web", Version: "1:3", Fields: "Depends: libweb, debconf | debconf-2.0\nPre-Depends: dpkg\n", Files: files{{Name: "./usr/bin/web", Body: "web", Mode: 0o755}}},
		{Name: "libweb", Version: "3", Fields: "Depends: web\n", Info: map[string]string{"preinst": "x"}, Files: files{{Name: "./usr/lib/web.so", Body: "so"}}},
		{Name: "debconf", Version: "1"},
		{Name: "broken", Version: "1", Fields: "Depends: nowhere (>= 2)\n"},
		{Name: "ca-certificates", Version: "1", Arch: "all", Fields: "Depends: openssl\n", Files: files{
			{Name: "./usr/share/ca-certificates/z.crt", Body: "Z"}, {Name: "./usr/share/ca-certificates/a.crt", Body: "A\n"}}},
	}
}

func options(t *testing.T, a *debiantest.Archive) debian.Options {
	return debian.Options{
		Suite: "bookworm", Mirror: a.URL, Keyrings: []string{a.Keyring}, Arch: "amd64", CacheDir: t.TempDir(), TempDir: t.TempDir(),
		Apt: &aptconfig.Config{}, Now: debiantest.Built().Add(48 * time.Hour),
	}
}

func resolved(t *testing.T, o debian.Options) *debian.Plan {
	t.Helper()
	plan, err := debian.Resolve(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plan.Close() })
	return plan
}

// read returns the entries of a tree: type, mode, owner, link and content.
func read(t *testing.T, tree *debian.Tree) map[string]string {
	t.Helper()
	var b bytes.Buffer
	if err := tree.WriteTar(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	last := ""
	r := tar.NewReader(&b)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.After(tree.Epoch) {
			t.Errorf("%s is of %v, after %v", h.Name, h.ModTime, tree.Epoch)
		}
		name := strings.TrimSuffix(h.Name, "/")
		if name <= last {
			t.Errorf("%s comes after %s", name, last)
		}
		last = name
		out[name] = fmt.Sprintf("%c %o %d:%d %s%s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Linkname, body)
	}
}

func want(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s = %q, want %q", name, got[name], w)
		}
	}
}

func TestMinbaseTree(t *testing.T) {
	a := debiantest.New(t, "bookworm", little())
	o := options(t, a)
	o.Include = []string{"web"}
	plan := resolved(t, o)
	tree := fetchTree(t, plan)
	var names []string
	for _, p := range tree.Packages() {
		if p.Auto {
			p.Name += "*"
		}
		names = append(names, p.Name)
	}
	if got, want := strings.Join(names, " "), "awk* base-files dpkg dash libx* apt debconf* web libweb*"; got != want {
		t.Errorf("packages = %s, want %s", got, want)
	}
	if !tree.Epoch.Equal(debiantest.Built()) {
		t.Errorf("epoch = %v", tree.Epoch)
	}
	got := read(t, tree)
	want(t, got, map[string]string{
		"bin":                                   "2 777 0:0 usr/bin",
		"lib64":                                 "2 777 0:0 usr/lib64",
		"usr/bin/sh":                            "0 4755 0:42 dash",
		"usr/lib/a.so":                          "0 644 0:0 mine",
		"usr/lib/x.so":                          "0 644 0:0 so",
		"usr/lib64/ld.so":                       "2 644 0:0 /lib/x.so",
		"tmp":                                   "5 1777 0:0 ",
		"var/lib/dpkg/arch":                     "0 644 0:0 amd64\n",
		"var/lib/dpkg/info/libx:amd64.list":     "0 644 0:0 /lib\n/lib/x.so\n/lib64/ld.so\n",
		"var/lib/dpkg/info/dash.list":           "0 644 0:0 /bin/sh\n/lib/a.so\n",
		"var/lib/dpkg/info/apt.preinst":         "0 755 0:0 #!/bin/sh\n",
		"var/lib/dpkg/triggers/ldconfig":        "0 644 0:0 apt/noawait\n",
		"var/lib/dpkg/triggers/File":            "0 644 0:0 /usr/share/x apt\n",
		"var/lib/apt/extended_states":           "0 644 0:0 Package: debconf\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: libweb\nArchitecture: amd64\nAuto-Installed: 1\n\n",
		"etc/apt/sources.list.d/debian.sources": "0 644 0:0 Types: deb\nURIs: " + a.URL + "\nSuites: bookworm\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n",
	})
	status := got["var/lib/dpkg/status"]
	if !strings.Contains(status, "Package: apt\nStatus: install ok unpacked\n") || !strings.Contains(status, "Conffiles:\n /etc/apt.conf 9dd4e461268c8034f5c8564e155c67a6\n") {
		t.Errorf("status = %s", status)
	}
	if strings.Contains(status, "Package: web\n") {
		t.Error("status has web, which dpkg is to unpack")
	}
	if body := got["var/cache/camada/web_1%3a3_amd64.deb"]; len(body) < 500 {
		t.Errorf("the file of web is %q", body)
	}
	steps := tree.Steps()
	if len(steps) != 4 || !strings.Contains(steps[0].Args[2], "preinst apt amd64 apt\n") || !strings.Contains(steps[2].Args[2], "/var/cache/camada/web_1%3a3_amd64.deb") {
		t.Errorf("steps = %q", steps)
	}
}

func TestDistrolessTree(t *testing.T) {
	a := debiantest.New(t, "bookworm", little())
	o := options(t, a)
	o.Variant, o.Include = debian.Distroless, []string{"web", "ca-certificates"}
	tree := fetchTree(t, resolved(t, o))
	got := read(t, tree)
	want(t, got, map[string]string{
		"etc/ssl/certs/ca-certificates.crt": "0 644 0:0 A\nZ\n",
		"etc/ca-certificates.conf":          "0 644 0:0 a.crt\nz.crt\n",
		"var/lib/dpkg/status.d/web":         "0 644 0:0 " + little()[6].Control(),
		"var/lib/dpkg/status.d/web.md5sums": "0 644 0:0 2567a5ec9705eb7ac2c984033e06189d  usr/bin/web\n",
		"usr/bin/web":                       "0 755 0:0 web",
		"usr/lib/web.so":                    "0 644 0:0 so",
		"home/nonroot":                      "5 700 65532:65532 ",
		"tmp":                               "5 1777 0:0 ",
	})
	for name := range got {
		if strings.HasSuffix(name, "/sh") || strings.HasSuffix(name, "dpkg/status") || strings.HasSuffix(name, "/awk") {
			t.Errorf("%s is there", name)
		}
	}
	if tree.Steps() != nil {
		t.Error("there are steps")
	}
	again := fetchTree(t, resolved(t, o))
	if a, b := digest(t, tree), digest(t, again); a != b {
		t.Errorf("two trees: %s and %s", a, b)
	}
	if n := a.Requests("web_1.3.deb"); n != 1 {
		t.Errorf("web was fetched %d times", n)
	}
}

func TestArchiveRefused(t *testing.T) {
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	for name, tc := range map[string]struct {
		debs   []deb
		opts   []debiantest.Option
		change func(t *testing.T, a *debiantest.Archive, o *debian.Options)
		is     func(error) bool
	}{
		"tampered InRelease": {is: errdefs.IsPermission, change: func(t *testing.T, a *debiantest.Archive, _ *debian.Options) {
			a.Change(t, "InRelease", func(b []byte) []byte { return bytes.Replace(b, []byte("Debian"), []byte("Dabian"), 1) })
		}},
		"text after the signature": {is: errdefs.IsCorrupt, change: func(t *testing.T, a *debiantest.Archive, _ *debian.Options) {
			a.Change(t, "InRelease", func(b []byte) []byte { return append(b, "Suite: x\n"...) })
		}},
		"text before the signed message": {is: errdefs.IsCorrupt, change: func(t *testing.T, a *debiantest.Archive, _ *debian.Options) {
			a.Change(t, "InRelease", func(b []byte) []byte { return append([]byte("Suite: x\n"), b...) })
		}},
		"not signed": {is: errdefs.IsCorrupt, change: func(t *testing.T, a *debiantest.Archive, _ *debian.Options) {
			a.Change(t, "InRelease", func([]byte) []byte { return []byte("Suite: bookworm\n") })
		}},
		"another key": {is: errdefs.IsPermission, change: func(t *testing.T, _ *debiantest.Archive, o *debian.Options) {
			o.Keyrings = []string{debiantest.WriteKey(t, debiantest.NewKey(t))}
		}},
		"run out":              {is: errdefs.IsUnavailable, opts: []debiantest.Option{debiantest.Field("Valid-Until", debiantest.Built().Add(25*time.Hour).Format(time.RFC1123))}},
		"in the future":        {is: errdefs.IsUnavailable, opts: []debiantest.Option{debiantest.Field("Date", debiantest.Built().Add(90*time.Hour).Format(time.RFC1123))}},
		"another suite":        {is: errdefs.IsCorrupt, opts: []debiantest.Option{debiantest.Field("Codename", "trixie")}},
		"no such suite":        {is: errdefs.IsNotFound, change: func(_ *testing.T, _ *debiantest.Archive, o *debian.Options) { o.Suite = "forky" }},
		"no such architecture": {is: errdefs.IsNotFound, change: func(_ *testing.T, _ *debiantest.Archive, o *debian.Options) { o.Arch = "riscv64" }},
		"no such package":      {is: errdefs.IsNotFound, change: func(_ *testing.T, _ *debiantest.Archive, o *debian.Options) { o.Include = []string{"nowhere"} }},
		"missing need":         {is: errdefs.IsNotFound, change: func(_ *testing.T, _ *debiantest.Archive, o *debian.Options) { o.Include = []string{"broken"} }},
		"later than the snapshot": {is: errdefs.IsCorrupt, change: func(_ *testing.T, _ *debiantest.Archive, o *debian.Options) {
			o.Snapshot = debiantest.Built()
			o.Mirror += "/{timestamp}/.."
		}},
		"wrong digest of Packages": {is: errdefs.IsCorrupt, change: func(t *testing.T, a *debiantest.Archive, _ *debian.Options) { a.Change(t, "Packages.gz", flip) }},
		"wrong size of Packages": {is: errdefs.IsCorrupt, change: func(t *testing.T, a *debiantest.Archive, _ *debian.Options) {
			a.Change(t, "Packages.gz", func(b []byte) []byte { return append(b, 0) })
		}},
		"wrong digest of a package": {is: errdefs.IsCorrupt, change: func(t *testing.T, a *debiantest.Archive, _ *debian.Options) { a.Change(t, "apt_2.deb", flip) }},
		"short package": {is: errdefs.IsCorrupt, change: func(t *testing.T, a *debiantest.Archive, _ *debian.Options) {
			a.Change(t, "apt_2.deb", func(b []byte) []byte { return b[:100] })
		}},
		"path out of the root": {is: errdefs.IsCorrupt, debs: []deb{{Name: "evil", Version: "1", Fields: "Essential: yes\n", Files: files{{Name: "./../x"}}}}},
		"absolute path":        {is: errdefs.IsCorrupt, debs: []deb{{Name: "evil", Version: "1", Fields: "Essential: yes\n", Files: files{{Name: "/etc/x"}}}}},
		"file below a file":    {is: errdefs.IsCorrupt, debs: []deb{{Name: "evil", Version: "1", Fields: "Essential: yes\n", Files: files{{Name: "./a"}, {Name: "./a/b"}}}}},
		"link in a circle":     {is: errdefs.IsCorrupt, debs: []deb{{Name: "evil", Version: "1", Fields: "Essential: yes\n", Files: files{{Name: "./a", Type: tar.TypeSymlink, Link: "a"}, {Name: "./a/b"}}}}},
		"hard link to nothing": {is: errdefs.IsCorrupt, debs: []deb{{Name: "evil", Version: "1", Fields: "Essential: yes\n", Files: files{{Name: "./a", Type: tar.TypeLink, Link: "./b"}}}}},
		"hard links in a circle": {is: errdefs.IsCorrupt, debs: []deb{{Name: "evil", Version: "1", Fields: "Essential: yes\n", Files: files{
			{Name: "./a", Type: tar.TypeLink, Link: "./b"}, {Name: "./b", Type: tar.TypeLink, Link: "./a"}}}}},
		"the same file twice":          {is: errdefs.IsConflict, debs: []deb{{Name: "evil", Version: "1", Fields: "Essential: yes\n", Files: files{{Name: "./bin/sh"}}}}},
		"trigger out of its directory": {is: errdefs.IsCorrupt, debs: []deb{{Name: "evil", Version: "1", Fields: "Essential: yes\n", Info: map[string]string{"triggers": "interest ../x\n"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			a := debiantest.New(t, "bookworm", append(little(), tc.debs...), tc.opts...)
			o := options(t, a)
			if tc.change != nil {
				tc.change(t, a, &o)
			}
			err := make1(t.Context(), o)
			if err == nil || !tc.is(err) {
				t.Errorf("error = %v, of another class", err)
			}
		})
	}
}

func make1(ctx context.Context, o debian.Options) error {
	plan, err := debian.Resolve(ctx, o)
	if err != nil {
		return err
	}
	defer plan.Close()
	tree, err := plan.Fetch(ctx)
	if err != nil {
		return err
	}
	defer tree.Close()
	return tree.WriteTar(ctx, io.Discard)
}

// A link of a package that leads out of the root stays inside: the name below it
// is resolved in the tree.
func TestLinkOutOfTheRoot(t *testing.T) {
	evil := deb{Name: "evil", Version: "1", Fields: "Essential: yes\n", Files: files{
		{Name: "./up", Type: tar.TypeSymlink, Link: "../../../etc"}, {Name: "./up/evil", Body: "x"}}}
	a := debiantest.New(t, "bookworm", append(little(), evil))
	got := read(t, fetchTree(t, resolved(t, options(t, a))))
	want(t, got, map[string]string{"up": "2 644 0:0 ../../../etc", "etc/evil": "0 644 0:0 x"})
}

// A file in the cache that was changed is fetched again.
func TestCacheIsVerified(t *testing.T) {
	a := debiantest.New(t, "bookworm", little())
	o := options(t, a)
	if err := make1(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	spoil(t, o.CacheDir)
	if err := make1(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if n := a.Requests("apt_2.deb"); n != 2 {
		t.Errorf("apt was fetched %d times, want 2", n)
	}
}

// A snapshot may have run out, and its address has the time.
func TestSnapshot(t *testing.T) {
	a := debiantest.New(t, "bookworm", little(), debiantest.Field("Valid-Until", debiantest.Built().Add(25*time.Hour).Format(time.RFC1123)))
	o := options(t, a)
	o.Snapshot = debiantest.Built().Add(30 * time.Hour)
	o.Mirror = a.URL + "/{timestamp}/.."
	plan := resolved(t, o)
	got := read(t, fetchTree(t, plan))["etc/apt/sources.list.d/debian.sources"]
	if !strings.Contains(got, "/20231116T041320Z/") || !strings.Contains(got, "Check-Valid-Until: no\n") {
		t.Errorf("sources = %s", got)
	}
}

// The bytes do not depend on the order in which the archive lists its packages.
func TestOrderOfArchive(t *testing.T) {
	var digests []string
	for _, debs := range [][]deb{little(), reversed(little())} {
		o := options(t, debiantest.New(t, "bookworm", debs))
		o.Variant, o.Include = debian.Distroless, []string{"apt", "dash", "web"}
		digests = append(digests, digest(t, fetchTree(t, resolved(t, o))))
	}
	if digests[0] != digests[1] {
		t.Errorf("digests = %v", digests)
	}
	if digests[0] == fmt.Sprintf("%x", sha256.Sum256(nil)) {
		t.Error("nothing was written")
	}
}
