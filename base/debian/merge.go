package debian

import (
	"archive/tar"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/camada/camada/base/debian/dependency"
	"github.com/camada/camada/errdefs"
)

// merge puts the core's packages on top of each other in their order, as dpkg
// does, and adds what no package has.
func (t *Tree) merge(ctx context.Context) error {
	t.entries = map[string]*entry{}
	t.alias = map[string]string{}
	t.dir(".", 0o755)
	if err := t.mergeUsr(); err != nil {
		return err
	}
	lost := map[*unpacked]map[string]bool{}
	for _, u := range t.core {
		for i := range u.items {
			if err := t.add(u, &u.items[i], lost); err != nil {
				return fmt.Errorf("package %s: %w", u.pkg.Name, err)
			}
		}
	}
	if err := t.addVariant(ctx, lost); err != nil {
		return err
	}
	return t.settleLinks()
}

// mergeUsr makes the links of a merged /usr before anything else, as debootstrap
// does. Since Debian 13 the package base-files has them; they are the same then.
func (t *Tree) mergeUsr() error {
	tops := []string{"bin", "lib", "sbin"}
	if t.plan.Variant == Minbase {
		tops = append(tops, libDirs(t.plan.Arch)...)
	}
	for _, u := range t.core {
		for _, it := range u.items {
			top, _, below := strings.Cut(it.header.Name, "/")
			if below && (strings.HasPrefix(top, "lib") || top == "bin" || top == "sbin") && !slices.Contains(tops, top) {
				tops = append(tops, top)
			}
			if u.pkg.Name == "base-files" && it.header.Name == "bin" && it.header.Typeflag == tar.TypeSymlink {
				return nil
			}
		}
	}
	t.dir("usr", 0o755)
	t.entries["usr"].implied = true
	for _, top := range tops {
		t.alias[top] = "usr/" + top
		t.dir("usr/"+top, 0o755)
		t.entries["usr/"+top].implied = true
		if err := t.link(top, "usr/"+top); err != nil {
			return err
		}
	}
	return nil
}

// add puts one entry of a package into the tree.
func (t *Tree) add(u *unpacked, it *item, lost map[*unpacked]map[string]bool) error {
	h := it.header
	name, err := t.place(h.Name)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeLink {
		if h.Linkname, err = t.place(h.Linkname); err != nil {
			return err
		}
	}
	h.Name = name
	was := t.entries[name]
	isDir := h.Typeflag == tar.TypeDir
	switch {
	case was == nil || was.implied && isDir:
	case isDir && (was.header.Typeflag == tar.TypeDir || was.header.Typeflag == tar.TypeSymlink):
		return nil // dpkg keeps the directory, or the link to one, that is there
	case was.header.Typeflag == tar.TypeDir:
		if h.Typeflag == tar.TypeSymlink {
			return nil // as dpkg does
		}
		return errdefs.Conflict("%s is a directory of another package", name)
	case was.owner == nil, was.owner == u:
	case h.Typeflag == tar.TypeSymlink && was.header.Typeflag == tar.TypeSymlink && h.Linkname == was.header.Linkname:
		return nil
	case replaces(u, was.owner):
		lose(lost, was.owner, it.header.Name)
	case replaces(was.owner, u):
		lose(lost, u, it.header.Name)
		return nil
	default:
		return errdefs.Conflict("%s is a file of package %s as well", name, was.owner.pkg.Name)
	}
	t.entries[name] = &entry{header: h, item: it, owner: u}
	return nil
}

func lose(lost map[*unpacked]map[string]bool, u *unpacked, name string) {
	if lost[u] == nil {
		lost[u] = map[string]bool{}
	}
	lost[u][name] = true
}

// replaces reports whether a's files may take the place of b's (Policy 7.6.1).
func replaces(a, b *unpacked) bool {
	groups, err := dependency.Parse(a.control.Control.Get("Replaces"))
	if err != nil {
		return false
	}
	for _, g := range groups {
		for _, r := range g {
			if r.Name == b.pkg.Name && r.Accepts(b.pkg.Version) {
				return true
			}
		}
	}
	return false
}

// settleLinks makes the first name of each set of hard links the file, and the
// other ones links to it, so that a reader meets the file first.
func (t *Tree) settleLinks() error {
	groups := map[string][]string{} // the file's name, then its links
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		e := t.entries[name]
		if e.header.Typeflag != tar.TypeLink {
			continue
		}
		target := e
		for range maxLinks {
			if target == nil || target.header.Typeflag != tar.TypeLink {
				break
			}
			target = t.entries[target.header.Linkname]
		}
		if target == nil || target.header.Typeflag == tar.TypeLink || target.header.Typeflag == tar.TypeDir {
			return errdefs.Corrupt("%s: hard link to %s, which is no file", name, e.header.Linkname)
		}
		groups[target.header.Name] = append(groups[target.header.Name], name)
	}
	for file, links := range groups {
		first := min(file, links[0])
		e := t.entries[file]
		for _, l := range append(links, file) {
			h := e.header
			h.Name = l
			if l == first {
				t.entries[l] = &entry{header: h, item: e.item, data: e.data, owner: e.owner}
				continue
			}
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			t.entries[l] = &entry{header: h, owner: e.owner}
		}
	}
	return nil
}
