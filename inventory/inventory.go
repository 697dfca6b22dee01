// Package inventory lists the packages of a root file system from the databases that package
// managers leave in it. It runs nothing and asks nobody.
//
//	inv, err := inventory.Read(ctx, os.DirFS(root))
//	for _, p := range inv.Packages {
//		fmt.Println(p.Name, p.Version, p.PURL)
//	}
//
// It knows dpkg (with the files that distroless images have), apk, rpm in its three databases, and os-release; package language knows what
// belongs to programming languages. A database that it cannot read is named in Inventory.Unread, so that an empty list is
// never mistaken for an image without packages.
//
// The file system is hostile: sizes, counts and lengths are bounded, and no name that it
// has leads the reader anywhere but to fixed paths. Links are the file system's own to follow;
// a caller with a directory gives os.Root's FS.
package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// The bounds of what is read.
const (
	// MaxPackages is how many packages one file system may have.
	MaxPackages = 200_000
	// maxFile is the size of one database in bytes.
	maxFile = 128 << 20
	// maxEntries is how many files of one directory are looked at.
	maxEntries = 100_000
)

// Package is one installed package.
type Package struct {
	// Type is the kind of package as purl has it: "deb", "apk", "rpm", or of a language.
	Type string `json:"type"`
	// Name and Version are the package manager's; of rpm the version is [EPOCH:]VERSION-RELEASE.
	Name    string `json:"name"`
	Version string `json:"version"`
	// Arch is the architecture by the package manager's name; it may be empty.
	Arch string `json:"arch,omitempty"`
	// Source and SourceVersion are the package that this one was built from, which is what security
	// trackers speak of. They are never empty.
	Source        string `json:"source"`
	SourceVersion string `json:"sourceVersion"`
	// License is what the package says of itself, in its distribution's own words; "" is unknown.
	License string `json:"license,omitempty"`
	// Supplier is who maintains the package; it may be empty.
	Supplier string `json:"supplier,omitempty"`
	// PURL is the package URL (purl-spec), e.g. pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12.
	PURL string `json:"purl"`
	// Found is the path of the database that lists it, or of the file that is or tells of it, without a leading slash.
	Found string `json:"found"`
}

// OfSystem reports whether the package is the system's, and not one of a programming language.
func (p *Package) OfSystem() bool { return p.Type == "deb" || p.Type == "apk" || p.Type == "rpm" }

// Distribution is what os-release (os-release(5)) says; all may be empty.
type Distribution struct {
	ID         string `json:"id,omitempty"`
	VersionID  string `json:"versionID,omitempty"`
	Codename   string `json:"codename,omitempty"`
	PrettyName string `json:"prettyName,omitempty"`
}

// Inventory is what is installed.
type Inventory struct {
	Distribution Distribution `json:"distribution"`
	// Packages are sorted by type, name, version, architecture and file. None is there twice, but those of languages are there once for each file.
	Packages []Package `json:"packages"`
	// Unread are databases and files that are there and that cannot be read: of a kind that is not known here, such as pacman's, behind a link that leads out
	// of the root, or a file of a language that is damaged.
	Unread []string `json:"unread,omitempty"`
}

// extractor reads one kind of database.
type extractor struct {
	// dir is the directory that its files lie in.
	dir string
	// match tells by the name whether a file of dir is one.
	match func(name string) bool
	// read is a pure function from a file's bytes to packages; nil when nobody can read it.
	read func(d Distribution, r io.Reader) ([]Package, error)
}

// extractors is the table of all kinds.
func extractors() []extractor {
	is := func(want string) func(string) bool { return func(name string) bool { return name == want } }
	return []extractor{
		{"var/lib/dpkg", is("status"), whole(readDpkg)},
		{"var/lib/dpkg/updates", isNumber, nil}, // what dpkg had not written into the status yet
		{"var/lib/dpkg/status.d", func(name string) bool { return !strings.HasSuffix(name, ".md5sums") }, readDpkg},
		{"lib/apk/db", is("installed"), whole(readApk)},
		{"usr/lib/apk/db", is("installed"), whole(readApk)},
		{"var/lib/rpm", is("rpmdb.sqlite"), rpmReader(rpmSQLite)},
		{"var/lib/rpm", is("rpmdb.sqlite-wal"), readRest},
		{"var/lib/rpm", is("rpmdb.sqlite-journal"), readRest},
		{"var/lib/rpm", is("Packages.db"), rpmReader(rpmNDB)},
		{"var/lib/rpm", is("Packages"), rpmReader(rpmBDB)},
		{"usr/lib/sysimage/rpm", is("rpmdb.sqlite"), rpmReader(rpmSQLite)},
		{"usr/lib/sysimage/rpm", is("rpmdb.sqlite-wal"), readRest},
		{"usr/lib/sysimage/rpm", is("rpmdb.sqlite-journal"), readRest},
		{"usr/lib/sysimage/rpm", is("Packages.db"), rpmReader(rpmNDB)},
		{"usr/lib/sysimage/rpm", is("Packages"), rpmReader(rpmBDB)},
		{"var/lib/pacman/local", is("ALPM_DB_VERSION"), nil},
	}
}

// isNumber reports whether a name has digits alone.
func isNumber(name string) bool { return name != "" && strings.Trim(name, "0123456789") == "" }

// Dirs are the directories whose files Read looks at; what is below them is not among them.
func Dirs() []string {
	out := []string{"etc", "usr/lib"}
	for _, x := range extractors() {
		if !slices.Contains(out, x.dir) {
			out = append(out, x.dir)
		}
	}
	return out
}

// Wanted reports whether Read looks at a file of one of the Dirs.
func Wanted(dir, name string) bool {
	if dir == "etc" || dir == "usr/lib" {
		return name == "os-release"
	}
	for _, x := range extractors() {
		if x.dir == dir && x.match(name) {
			return true
		}
	}
	return false
}

// Read reads what is installed in a root file system. A database that is damaged is an error of class ErrInvalid,
// one that is too large of class ErrLimit; both name the file.
func Read(ctx context.Context, root fs.FS) (Inventory, error) {
	inv := Inventory{Packages: []Package{}}
	var err error
	if inv.Distribution, err = readRelease(root); err != nil {
		return inv, err
	}
	for _, x := range extractors() {
		files, err := find(root, x)
		if errdefs.IsLimit(err) {
			return inv, err
		}
		if err != nil { // such as a link that leads out of the root
			inv.Unread = append(inv.Unread, x.dir)
			continue
		}
		for _, name := range files {
			if err := ctx.Err(); err != nil {
				return inv, err
			}
			if x.read == nil {
				inv.Unread = append(inv.Unread, name)
				continue
			}
			if err := inv.add(root, x, name); err != nil {
				return inv, fmt.Errorf("read the package list %s: %w", name, err)
			}
		}
	}
	inv.sort()
	return inv, inv.readLicenses(ctx, root)
}

// find returns the paths of the files that an extractor reads, in order.
func find(root fs.FS, x extractor) ([]string, error) {
	entries, err := readDir(root, x.dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if x.match(e.Name()) {
			out = append(out, path.Join(x.dir, e.Name()))
		}
	}
	return out, nil
}

// readDir lists a directory; one that is not there is empty, and so is what is no directory.
func readDir(root fs.FS, dir string) ([]fs.DirEntry, error) {
	f, err := root.Open(dir)
	if err != nil {
		return nil, absent(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	list, ok := f.(fs.ReadDirFile)
	if !ok || !st.IsDir() {
		return nil, nil
	}
	entries, err := list.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	if len(entries) > maxEntries {
		return nil, errdefs.Limit("%s has more than %d files", dir, maxEntries)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// absent is nil for the error of a file that is not there, or is no plain path of one.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil
	}
	return err
}

// open opens a regular file of at most limit bytes; nil when it is not there or no file.
func open(root fs.FS, name string, limit int64) (fs.File, error) {
	// What cannot be opened as a file, such as a device, must not be opened at all.
	if st, err := fs.Stat(root, name); err != nil || !st.Mode().IsRegular() {
		return nil, absent(err)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, absent(err)
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, f.Close())
	} else if st.Size() > limit {
		return nil, errors.Join(errdefs.Limit("%s is larger than %d bytes", name, limit), f.Close())
	}
	return f, nil
}

// add reads one file.
func (inv *Inventory) add(root fs.FS, x extractor, name string) error {
	f, err := open(root, name, maxFile)
	if errdefs.IsLimit(err) {
		return err
	}
	if err != nil {
		inv.Unread = append(inv.Unread, name)
		return nil
	}
	if f == nil {
		return nil
	}
	defer f.Close()
	pkgs, err := x.read(inv.Distribution, io.LimitReader(f, maxFile))
	if errors.Is(err, errUnread) {
		inv.Unread = append(inv.Unread, name)
		return nil
	}
	if err != nil {
		return err
	}
	if len(inv.Packages)+len(pkgs) > MaxPackages {
		return errdefs.Limit("more than %d packages", MaxPackages)
	}
	for i := range pkgs {
		pkgs[i].Found = name
	}
	inv.Packages = append(inv.Packages, pkgs...)
	return nil
}

func (inv *Inventory) sort() {
	slices.SortStableFunc(inv.Packages, Compare)
	inv.Packages = slices.CompactFunc(inv.Packages, func(a, b Package) bool {
		return a.Type == b.Type && a.Name == b.Name && a.Version == b.Version && a.Arch == b.Arch
	})
}

// Compare orders packages as inventories have them.
func Compare(a, b Package) int {
	return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name),
		strings.Compare(a.Version, b.Version), strings.Compare(a.Arch, b.Arch), strings.Compare(a.Found, b.Found))
}

// Join adds packages of languages, and the files that could not be read.
func (inv *Inventory) Join(pkgs []Package, unread []string) error {
	if len(inv.Packages)+len(pkgs) > MaxPackages {
		return errdefs.Limit("more than %d packages", MaxPackages)
	}
	inv.Packages, inv.Unread = append(inv.Packages, pkgs...), append(inv.Unread, unread...)
	slices.SortStableFunc(inv.Packages, Compare)
	return nil
}
