package index

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/camada/camada/base/debian/control"
	"github.com/camada/camada/base/debian/dependency"
	"github.com/camada/camada/base/debian/version"
	"github.com/camada/camada/errdefs"
)

// Package is one paragraph of a Packages file. The relation fields are kept
// as text, because most packages are never asked for theirs.
type Package struct {
	Name, Version, Architecture string
	// MultiArch is "", "same", "foreign" or "allowed".
	MultiArch string
	// Source is the source package's name, Name when the file says nothing.
	Source    string
	Priority  string
	Essential bool

	Depends, PreDepends, Provides, Conflicts, Breaks string

	// Filename is relative to the archive's root; Size in bytes; SHA256 in hex.
	Filename string
	Size     int64
	SHA256   string
	// Archive is for the caller: which archive the package is of.
	Archive int
}

// ReadPackages reads a Packages file and calls fn for each of its packages.
// An error of fn ends it. Other errors are of class ErrCorrupt or ErrLimit, or
// the reader's.
func ReadPackages(r io.Reader, fn func(Package) error) error {
	paragraphs := control.NewReader(r)
	paragraphs.Keep(wanted)
	for {
		p, err := paragraphs.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		pkg, err := parsePackage(p)
		if err != nil {
			return err
		}
		if err := fn(pkg); err != nil {
			return err
		}
	}
}

func wanted(name []byte) bool {
	switch string(name) {
	case "Package", "Version", "Architecture", "Multi-Arch", "Source", "Priority", "Essential", "Depends",
		"Pre-Depends", "Provides", "Conflicts", "Breaks", "Filename", "Size", "SHA256":
		return true
	}
	return false
}

func parsePackage(p control.Paragraph) (Package, error) {
	var out Package
	for _, f := range p {
		switch f.Name {
		case "Package":
			out.Name = f.Value
		case "Version":
			out.Version = f.Value
		case "Architecture":
			out.Architecture = f.Value
		case "Multi-Arch":
			out.MultiArch = f.Value
		case "Source":
			out.Source, _, _ = strings.Cut(f.Value, " ")
		case "Priority":
			out.Priority = f.Value
		case "Essential":
			out.Essential = f.Value == "yes"
		case "Depends":
			out.Depends = f.Value
		case "Pre-Depends":
			out.PreDepends = f.Value
		case "Provides":
			out.Provides = f.Value
		case "Conflicts":
			out.Conflicts = f.Value
		case "Breaks":
			out.Breaks = f.Value
		case "Filename":
			out.Filename = strings.TrimPrefix(f.Value, "./")
		case "SHA256":
			out.SHA256 = f.Value
		case "Size":
			n, err := strconv.ParseInt(f.Value, 10, 64)
			if err != nil || n <= 0 {
				return Package{}, errdefs.Corrupt("package %s: size %q", out.Name, f.Value)
			}
			out.Size = n
		}
	}
	if out.Source == "" {
		out.Source = out.Name
	}
	return out, out.check()
}

// check refuses what would be unsafe as a part of a path or an address.
func (p *Package) check() error {
	if err := dependency.CheckName(p.Name); err != nil {
		return errdefs.With(errdefs.ErrCorrupt, err)
	}
	if err := version.Check(p.Version); err != nil {
		return errdefs.Corrupt("package %s: %w", p.Name, err)
	}
	if p.Architecture == "" || strings.Trim(p.Architecture, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return errdefs.Corrupt("package %s: architecture %q", p.Name, p.Architecture)
	}
	if err := CheckPath(p.Filename); err != nil {
		return errdefs.Corrupt("package %s: %w", p.Name, err)
	}
	if p.Size == 0 || !isSHA256(p.SHA256) {
		return errdefs.Corrupt("package %s: without a size or a SHA-256", p.Name)
	}
	return nil
}
