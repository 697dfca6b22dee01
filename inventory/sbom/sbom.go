// Package sbom reads the packages of a software bill of materials that somebody else made.
//
//	r, err := sbom.Read(data)
//	r.Packages // as if they had been found in a file system
//
// It knows SPDX 2.2, 2.3 and 3, and CycloneDX 1.2 to 1.6, all as JSON. What a package is, is told by its package URL (purl-spec) alone; parts without one are counted in
// Result.Unnamed, so that nobody takes them for looked at. Documents of our own say besides where a package was found, which layer brought it, and what could not be read:
// all that comes back.
//
// The document is hostile: its size, its depth and the number of packages are bounded, and it takes little more memory than its bytes.
package sbom

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/jsonwalk"
	"github.com/camada/camada/inventory"
)

const (
	// MaxDocument is the size of a document in bytes.
	MaxDocument = 256 << 20
	// maxDepth is how deep components of CycloneDX may be in each other.
	maxDepth = 64
	// maxURL is the length of a package URL in bytes.
	maxURL = 4096
)

// Result is what a document says.
type Result struct {
	// Inventory has in Unread what a document of ours says could not be read.
	inventory.Inventory
	// Origins tell for each package, in its order, which layer brought it, where that is told.
	Origins []inventory.Origin
	// Name is what it is about; it may be empty.
	Name string
	// Unnamed is how many parts that could be packages have no package URL, or one that cannot be read.
	Unnamed int
}

// Is reports whether a document begins as an SBOM does: as an object with the marks of one of the forms.
func Is(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n\ufeff")
	if !bytes.HasPrefix(data, []byte("{")) {
		return false
	}
	for _, mark := range []string{`"spdxVersion"`, `"bomFormat"`, spdx3Mark} {
		if bytes.Contains(data, []byte(mark)) {
			return true
		}
	}
	return false
}

// spdx3Mark is in the context of a document of SPDX 3.
const spdx3Mark = "spdx.org/rdf/3."

// Read reads a document. ErrInvalid when it is of no form that is known, ErrLimit when it is too large.
func Read(data []byte) (Result, error) {
	if len(data) > MaxDocument {
		return Result{}, errdefs.Limit("an SBOM of more than %d bytes", MaxDocument)
	}
	c, err := jsonwalk.New(data)
	if err != nil {
		return Result{}, fmt.Errorf("read the SBOM: %w", err)
	}
	start := *c
	var spdx, format, context string
	_ = c.Object(func(name string) error {
		switch name {
		case "spdxVersion":
			spdx = c.Text()
		case "bomFormat":
			format = c.Text()
		case "@context":
			context = c.First()
		}
		return nil
	})
	r := &reader{Cursor: &start, Result: Result{Inventory: inventory.Inventory{Packages: []inventory.Package{}}}}
	switch {
	case spdx == "SPDX-2.2" || spdx == "SPDX-2.3":
		err = r.spdx()
	case format == "CycloneDX":
		err = r.cycloneDX()
	case strings.Contains(context, spdx3Mark):
		err = r.spdx3()
	default:
		err = errdefs.Invalid("read the SBOM: it is neither SPDX 2.2, 2.3 or 3 nor CycloneDX")
	}
	r.finish()
	return r.Result, err
}

// reader gathers packages.
type reader struct {
	*jsonwalk.Cursor
	Result
	parts []part
	// distro is the distribution as package URLs have it.
	distro string
}

// part is a package and how it came into the image.
type part struct {
	inventory.Package
	origin inventory.Origin
}

// described is what a document says of a part.
type described struct {
	purl, group, name, version string
	// words are those of a licence that has no identifier.
	license, words        string
	supplier, found       string
	source, sourceVersion string
	origin                inventory.Origin
	// purpose is what kind of part it is, in the document's words.
	purpose string
}

func (r *reader) spdx() error {
	return r.Object(func(name string) error {
		switch name {
		case "name":
			r.Name = r.Text()
		case "comment":
			r.Unread = inventory.ParseUnread(r.Text())
		case "packages":
			return r.Array(r.spdxPackage)
		}
		return nil
	})
}

func (r *reader) spdxPackage() error {
	var d described
	err := r.Object(func(name string) error {
		switch name {
		case "name":
			d.name = r.Text()
		case "versionInfo":
			d.version = r.Text()
		case "primaryPackagePurpose":
			d.purpose = r.Text()
		case "licenseDeclared":
			d.license = r.Text()
		case "licenseComments":
			d.words, _ = inventory.ParseLicenseText(r.Text())
		case "supplier":
			d.supplier = supplier(r.Text())
		case "sourceInfo":
			d.found, d.source, d.sourceVersion, _ = inventory.ParseWhere(r.Text())
		case "comment":
			d.origin, _ = inventory.ParseOrigin(r.Text())
		case "externalRefs":
			return r.Array(func() error { return r.purl(&d, "referenceType", "purl", "referenceLocator") })
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch d.purpose {
	case "OPERATING_SYSTEM", "OPERATING-SYSTEM":
		r.system(&d)
		fallthrough
	case "CONTAINER", "FILE", "SOURCE":
		if d.purl == "" {
			return nil
		}
	}
	return r.add(&d)
}

// supplier reads what a supplier of SPDX is called: "Organization: NAME (ADDRESS)".
func supplier(s string) string {
	for _, kind := range []string{"Organization: ", "Person: "} {
		if rest, ok := strings.CutPrefix(s, kind); ok {
			if name, mail, ok := strings.Cut(strings.TrimSuffix(rest, ")"), " ("); ok && strings.Contains(mail, "@") {
				return name + " <" + mail + ">"
			}
			return rest
		}
	}
	return ""
}

// purl reads an object with a kind and a text, and takes the first of the kind that is wanted.
func (r *reader) purl(d *described, kindName, want, textName string) error {
	var kind, text string
	err := r.Object(func(name string) error {
		switch name {
		case kindName:
			kind = r.Text()
		case textName:
			text = r.Text()
		}
		return nil
	})
	if kind == want && d.purl == "" {
		d.purl = text
	}
	return err
}

// system takes the distribution from the part that is it.
func (r *reader) system(d *described) {
	if r.Distribution.ID == "" && d.version != "" && word(d.name) && word(d.version) {
		r.Distribution = inventory.Distribution{ID: strings.ToLower(d.name), VersionID: d.version}
	}
}

func (r *reader) cycloneDX() error {
	return r.Object(func(name string) error {
		switch name {
		case "metadata":
			return r.metadata()
		case "components":
			return r.components(0)
		}
		return nil
	})
}

func (r *reader) metadata() error {
	return r.Object(func(name string) error {
		switch name {
		case "component":
			return r.Object(func(name string) error {
				if name == "name" {
					r.Name = r.Text()
				}
				return nil
			})
		case "properties":
			return r.properties(func(name, value string) {
				if name == "camada:unread" {
					r.Unread = append(r.Unread, orElse(plainPath(value), "?"))
				}
			})
		}
		return nil
	})
}

// properties reads an array of names and values.
func (r *reader) properties(fn func(name, value string)) error {
	return r.Array(func() error {
		var key, value string
		err := r.Object(func(name string) error {
			switch name {
			case "name":
				key = r.Text()
			case "value":
				value = r.Text()
			}
			return nil
		})
		fn(key, value)
		return err
	})
}

func (r *reader) components(depth int) error {
	if depth > maxDepth {
		return errdefs.Limit("read the SBOM: components are more than %d deep in each other", maxDepth)
	}
	var d described // one for all of the list
	return r.Array(func() error {
		d = described{}
		err := r.Object(func(name string) error {
			if name == "components" {
				return r.components(depth + 1)
			}
			return r.component(&d, name)
		})
		if err != nil {
			return err
		}
		switch {
		case d.purpose == "operating-system" && d.purl == "":
			r.system(&d)
			return nil
		case d.purpose == "file" && d.purl == "" || d.purpose == "data" || d.purpose == "container" || d.purpose == "device":
			return nil
		}
		return r.add(&d)
	})
}

// component reads a member of a component.
func (r *reader) component(d *described, name string) error {
	switch name {
	case "type":
		d.purpose = r.Text()
	case "group":
		d.group = r.Text()
	case "name":
		d.name = r.Text()
	case "version":
		d.version = r.Text()
	case "purl":
		d.purl = r.Text()
	case "supplier":
		return r.Object(func(name string) error {
			if name == "name" {
				d.supplier = r.Text()
			}
			return nil
		})
	case "licenses":
		return r.licenses(d)
	case "properties":
		return r.properties(func(name, value string) { d.property(name, value) })
	case "evidence":
		return r.Object(func(name string) error {
			if name != "occurrences" {
				return nil
			}
			return r.Array(func() error {
				return r.Object(func(name string) error {
					if name == "location" && d.found == "" {
						d.found = strings.TrimPrefix(plainPath(r.Text()), "/")
					}
					return nil
				})
			})
		})
	}
	return nil
}

// licenses reads an expression, or the names of licences, all of which govern.
func (r *reader) licenses(d *described) error {
	return r.Array(func() error {
		return r.Object(func(name string) error {
			switch name {
			case "expression":
				d.license = r.Text()
			case "license":
				return r.Object(func(name string) error {
					if name != "id" && name != "name" {
						return nil
					}
					if s := r.Text(); d.license == "" {
						d.license = s
					} else if len(d.license)+len(s) < maxURL {
						d.license += " AND " + s
					}
					return nil
				})
			}
			return nil
		})
	})
}

// property takes what a document of ours says of a component.
func (d *described) property(name, value string) {
	if name == "camada:instruction" {
		d.origin.Instruction = value
	}
	if !plain(value) {
		return
	}
	switch name {
	case "camada:source":
		d.source = value
	case "camada:source:version":
		d.sourceVersion = value
	case "camada:layer":
		d.origin.Layer, _ = strconv.Atoi(value)
	case "camada:layer:digest":
		d.origin.Digest = value
	case "camada:dockerfile":
		d.origin.Dockerfile = value
	case "camada:dockerfile:line":
		d.origin.Line, _ = strconv.Atoi(value)
	}
}

// add takes a package by its URL.
func (r *reader) add(d *described) error {
	if strings.HasPrefix(d.purl, "pkg:docker/") || strings.HasPrefix(d.purl, "pkg:oci/") {
		return nil // the image itself
	}
	p, distro, ok := parse(d.purl)
	if !ok {
		r.Unnamed++
		return nil
	}
	if d.license != "NOASSERTION" && d.license != "NONE" && plain(d.license) {
		p.License = d.license
	}
	if p.License == "" && plain(d.words) {
		p.License = d.words
	}
	if plain(d.supplier) {
		p.Supplier = d.supplier
	}
	p.Found = d.found
	if d.source != "" && p.OfSystem() && word(d.source) && word(d.sourceVersion) {
		p.Source, p.SourceVersion = d.source, d.sourceVersion
	}
	p.respell(d)
	if distro != "" && r.distro == "" {
		r.distro = distro
		r.Distribution = distribution(distro)
	}
	if !plain(d.origin.Digest+d.origin.Dockerfile) || d.origin.Layer < 0 || d.origin.Line < 0 {
		d.origin = inventory.Origin{}
	}
	d.origin.Instruction = shown(d.origin.Instruction)
	if r.parts = append(r.parts, part{p.Package, d.origin}); len(r.parts) > inventory.MaxPackages {
		return errdefs.Limit("read the SBOM: more than %d packages", inventory.MaxPackages)
	}
	return nil
}

// finish brings packages into the order of an inventory, each once for each file.
func (r *reader) finish() {
	slices.SortStableFunc(r.parts, func(a, b part) int { return inventory.Compare(a.Package, b.Package) })
	r.parts = slices.CompactFunc(r.parts, func(a, b part) bool { return inventory.Compare(a.Package, b.Package) == 0 })
	for i := range r.parts {
		r.Packages = append(r.Packages, r.parts[i].Package)
		r.Origins = append(r.Origins, r.parts[i].origin)
	}
}
