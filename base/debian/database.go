package debian

import (
	"archive/tar"
	"bytes"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/camada/camada/base/debian/control"
	"github.com/camada/camada/base/debian/deb"
	"github.com/camada/camada/errdefs"
)

const dpkgDir = "var/lib/dpkg/"

// addDatabase makes dpkg's database with the core's packages unpacked, but not
// configured: as if dpkg --unpack had just been run.
func (t *Tree) addDatabase(lost map[*unpacked]map[string]bool) error {
	byName := slices.Clone(t.core)
	sort.Slice(byName, func(i, j int) bool { return byName[i].pkg.Name < byName[j].pkg.Name })
	var status bytes.Buffer
	for _, u := range byName {
		status.WriteString(statusOf(u) + "\n")
		if err := t.addInfo(u, lost[u]); err != nil {
			return err
		}
	}
	for _, d := range []string{"alternatives", "info", "parts", "triggers", "updates"} {
		t.dir(dpkgDir+d, 0o755)
	}
	files := map[string]string{
		"status": status.String(), "available": "", "diversions": "", "statoverride": "",
		"arch": t.plan.Arch + "\n", "info/format": "1\n", "triggers/Unincorp": "",
	}
	triggers, err := interests(byName)
	if err != nil {
		return err
	}
	for name, text := range triggers {
		files["triggers/"+name] = text
	}
	return t.addFiles(dpkgDir, files)
}

// addFiles makes files of mode 644.
func (t *Tree) addFiles(prefix string, files map[string]string) error {
	for name, text := range files {
		if err := t.file(prefix+name, 0o644, []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// statusOf is the package's paragraph of the status file.
func statusOf(u *unpacked) string {
	p := control.Paragraph{}
	for i, f := range u.control.Control {
		p = append(p, f)
		if i == 0 {
			p = append(p, control.Field{Name: "Status", Value: "install ok unpacked"})
		}
	}
	var conffiles strings.Builder
	names := conffileNames(u.control)
	for _, it := range u.items {
		if names[it.header.Name] && it.md5 != "" {
			fmt.Fprintf(&conffiles, "\n /%s %s", it.header.Name, it.md5)
		}
	}
	if conffiles.Len() > 0 {
		p.Set("Conffiles", conffiles.String())
	}
	return p.String()
}

// conffileNames are the package's configuration files, without the slash in front.
// Those that are only to be removed by an upgrade are left out.
func conffileNames(d *deb.Package) map[string]bool {
	names := map[string]bool{}
	for line := range strings.SplitSeq(string(d.InfoData("conffiles")), "\n") {
		if name := strings.TrimSpace(line); strings.HasPrefix(name, "/") {
			names[strings.TrimPrefix(path.Clean(name), "/")] = true
		}
	}
	return names
}

// infoBase is the beginning of the names of the package's files in info/.
func infoBase(u *unpacked) string {
	if u.control.Control.Get("Multi-Arch") == "same" {
		return u.pkg.Name + ":" + u.pkg.Architecture
	}
	return u.pkg.Name
}

// addInfo makes the package's files in info/.
func (t *Tree) addInfo(u *unpacked, lost map[string]bool) error {
	prefix := dpkgDir + "info/" + infoBase(u) + "."
	var list strings.Builder
	for _, it := range u.items {
		switch {
		case it.header.Name == ".":
			list.WriteString("/.\n")
		case !lost[it.header.Name]:
			list.WriteString("/" + it.header.Name + "\n")
		}
	}
	if err := t.file(prefix+"list", 0o644, []byte(list.String())); err != nil {
		return err
	}
	if u.control.InfoData("md5sums") == nil {
		if err := t.file(prefix+"md5sums", 0o644, []byte(md5sums(u))); err != nil {
			return err
		}
	}
	for _, i := range u.control.Info {
		mode := int64(0o644)
		if i.Executable {
			mode = 0o755
		}
		if err := t.file(prefix+i.Name, mode, i.Data); err != nil {
			return err
		}
	}
	return nil
}

// md5sums are the sums of the package's files, in the form of md5sum(1).
func md5sums(u *unpacked) string {
	var sums strings.Builder
	if given := u.control.InfoData("md5sums"); given != nil {
		return string(given)
	}
	for _, it := range u.items {
		if it.header.Typeflag == tar.TypeReg && it.md5 != "" {
			fmt.Fprintf(&sums, "%s  %s\n", it.md5, it.header.Name)
		}
	}
	return sums.String()
}

// interests are the files in triggers/: one for each trigger that has a name, with the packages
// that wait for it, and File for those that are paths (deb-triggers(5)).
func interests(all []*unpacked) (map[string]string, error) {
	out := map[string]string{"File": ""}
	for _, u := range all {
		for line := range strings.SplitSeq(string(u.control.InfoData("triggers")), "\n") {
			line, _, _ = strings.Cut(line, "#")
			words := strings.Fields(line)
			if len(words) != 2 || !strings.HasPrefix(words[0], "interest") {
				continue
			}
			who := u.pkg.Name
			if words[0] == "interest-noawait" {
				who += "/noawait"
			}
			name := words[1]
			switch {
			case strings.HasPrefix(name, "/"):
				out["File"] += name + " " + who + "\n"
			case strings.ContainsAny(name, "/\x00") || name == "File" || name == "Unincorp" || name == "Lock" || name == ".." || name == ".":
				return nil, errdefs.Corrupt("package %s: trigger %q", u.pkg.Name, name)
			default:
				out[name] += who + "\n"
			}
		}
	}
	return out, nil
}
