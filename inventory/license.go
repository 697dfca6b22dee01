package inventory

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// maxCopyright is how much of a copyright file is read, in bytes; maxLicenses how many licences one
// package can have.
const (
	maxCopyright = 1 << 20
	maxLicenses  = 64
)

var errField = errors.New("a line that is no field")

// readLicenses gives Debian packages the licences that their copyright files name, where these can be read by
// machines (copyright-format 1.0). What cannot be read says nothing: a licence is never guessed.
func (inv *Inventory) readLicenses(ctx context.Context, root fs.FS) error {
	for i := range inv.Packages {
		p := &inv.Packages[i]
		if p.Type != "deb" || p.License != "" || !fs.ValidPath(p.Name) || strings.Contains(p.Name, "/") {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := open(root, p.copyright(), maxFile)
		if f == nil || err != nil {
			continue // such as a link that leads out
		}
		if license, err := License(f); err == nil {
			p.License = license
		}
		f.Close()
	}
	return nil
}

// copyright is the path of the file that tells of a Debian package's licences.
func (p *Package) copyright() string { return docs + p.Name + "/copyright" }

// docs is where Debian's packages have their copyright files.
const docs = "usr/share/doc/"

// LicenseFile returns the path of the file that License reads for a package; "" when there is no such, or the package has a licence already.
func LicenseFile(p *Package) string {
	if p.Type != "deb" || p.License != "" || strings.Contains(p.Name, "/") || !fs.ValidPath(p.copyright()) {
		return ""
	}
	return p.copyright()
}

// IsLicenseFile reports whether a path is that of a package's LicenseFile.
func IsLicenseFile(name string) bool {
	rest, ok := strings.CutPrefix(name, docs)
	if !ok {
		return false
	}
	dir, ok := strings.CutSuffix(rest, "/copyright")
	return ok && !strings.Contains(dir, "/")
}

// License reads the licences of a package from its LicenseFile; "" when it is not written for programs.
func License(r io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxCopyright))
	return copyright(data), err
}

// copyright returns the short names of the licences in a copyright file, in order of their names and joined by
// " AND ", as all of them govern some file.
func copyright(data []byte) string {
	first, _, _ := bytes.Cut(data, []byte("\n"))
	if !bytes.HasPrefix(first, []byte("Format:")) || !bytes.Contains(first, []byte("copyright-format/1")) {
		return ""
	}
	var names []string
	for line := range bytes.Lines(data) {
		value, ok := bytes.CutPrefix(line, []byte("License:"))
		name := string(bytes.TrimSpace(value))
		if !ok || name == "" || !plain(name) || slices.Contains(names, name) {
			continue
		}
		if names = append(names, name); len(names) > maxLicenses {
			return ""
		}
	}
	slices.Sort(names)
	for i, n := range names {
		if len(names) > 1 && strings.ContainsAny(n, " ,") {
			names[i] = "(" + n + ")"
		}
	}
	if all := strings.Join(names, " AND "); plain(all) {
		return all
	}
	return ""
}
