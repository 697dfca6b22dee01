package debian

import (
	"archive/tar"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/base/debian/index"
)

// debDir is where the extra packages' files wait for dpkg; it is removed by the
// last step.
const debDir = "var/cache/camada/"

func (t *Tree) addVariant(ctx context.Context, lost map[*unpacked]map[string]bool) error {
	if t.plan.Variant == Distroless {
		return t.addDistroless(ctx)
	}
	if err := t.addDatabase(lost); err != nil {
		return err
	}
	if err := t.addSources(); err != nil {
		return err
	}
	return t.addExtra()
}

// addExtra puts the files of the extra packages into the tree.
func (t *Tree) addExtra() error {
	var states strings.Builder
	for i, q := range t.plan.extra {
		name := debDir + debName(q)
		if err := t.file(name, 0o644, nil); err != nil {
			return err
		}
		e := t.entries[name]
		e.header.Size, e.deb = q.Size, i+1
		if !t.plan.set.Named(q.Name) {
			arch := q.Architecture
			if arch == "all" {
				arch = t.plan.Arch
			}
			fmt.Fprintf(&states, "Package: %s\nArchitecture: %s\nAuto-Installed: 1\n\n", q.Name, arch)
		}
	}
	if states.Len() == 0 {
		return nil
	}
	return t.file("var/lib/apt/extended_states", 0o644, []byte(states.String()))
}

// debName is the package file's name as dpkg knows it, with an epoch's colon written so
// that no program takes it for something else.
func debName(q *index.Package) string {
	return q.Name + "_" + strings.ReplaceAll(q.Version, ":", "%3a") + "_" + q.Architecture + ".deb"
}

// addSources tells apt where the tree came from.
func (t *Tree) addSources() error {
	var text strings.Builder
	for _, s := range t.plan.Sources {
		fmt.Fprintf(&text, "Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n", s.URI, s.Suite, strings.Join(s.Components, " "), debianKeyring)
		if !s.ValidUntil {
			text.WriteString("Check-Valid-Until: no\n")
		}
		text.WriteByte('\n')
	}
	return t.file("etc/apt/sources.list.d/debian.sources", 0o644, []byte(text.String()))
}

const (
	passwd = "root:x:0:0:root:/root:/sbin/nologin\n" +
		"nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n" +
		"nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	group = "root:x:0:\n" + "tty:x:5:\n" + "staff:x:50:\n" + "nogroup:x:65534:\n" + "nonroot:x:65532:\n"
	// nsswitch asks files before the network, as glibc does not by itself.
	nsswitch = "passwd:         files\ngroup:          files\nshadow:         files\n" +
		"hosts:          files dns\nnetworks:       files\nprotocols:      files\nservices:       files\n"
)

// addDistroless makes what scripts would have made, as far as programs need it.
func (t *Tree) addDistroless(ctx context.Context) error {
	for _, u := range t.core {
		name := dpkgDir + "status.d/" + u.pkg.Name
		if err := t.file(name, 0o644, []byte(u.control.Control.String())); err != nil {
			return err
		}
		if err := t.file(name+".md5sums", 0o644, []byte(md5sums(u))); err != nil {
			return err
		}
	}
	t.dir("tmp", 0o1777)
	t.dir("var/tmp", 0o1777)
	t.dir("run/lock", 0o1777)
	t.dir("root", 0o700)
	t.dir("home/nonroot", 0o700)
	home := t.entries["home/nonroot"]
	home.header.Uid, home.header.Gid = 65532, 65532
	for _, d := range []string{"run", "home", "var", "dev", "proc", "sys", "etc"} {
		t.dir(d, 0o755)
	}
	for name, target := range map[string]string{"var/run": "/run", "var/lock": "/run/lock"} {
		if err := t.link(name, target); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"passwd": passwd, "group": group, "nsswitch.conf": nsswitch} {
		if at := "etc/" + name; t.entries[at] == nil {
			if err := t.file(at, 0o644, []byte(text)); err != nil {
				return err
			}
		}
	}
	return t.addCertificates(ctx)
}

// addCertificates does the work of update-ca-certificates: one file with all
// certificates, in the order of their names.
func (t *Tree) addCertificates(ctx context.Context) error {
	if !t.plan.set.Has("ca-certificates") {
		return nil
	}
	const dir = "usr/share/ca-certificates/"
	var bundle, conf strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		e := t.entries[name]
		if !strings.HasPrefix(name, dir) || path.Ext(name) != ".crt" || e.header.Typeflag != tar.TypeReg {
			continue
		}
		pem, err := t.content(ctx, e)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		bundle.WriteString(strings.TrimRight(string(pem), "\n") + "\n")
		conf.WriteString(strings.TrimPrefix(name, dir) + "\n")
	}
	if err := t.file("etc/ca-certificates.conf", 0o644, []byte(conf.String())); err != nil {
		return err
	}
	return t.file("etc/ssl/certs/ca-certificates.crt", 0o644, []byte(bundle.String()))
}
