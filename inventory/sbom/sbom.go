// Package sbom reads the packages of a software bill of materials that somebody else made.
//
//	inv, err := sbom.Read(data)
//	inv.Packages // as if they had been found in a file system
//
// It knows SPDX 2.2 and 2.3 and CycloneDX 1.2 to 1.6, both as JSON. What a package is, is told by its package URL (purl-spec) alone; parts without one are counted in
// Result.Unnamed, so that nobody takes them for looked at.
//
// The document is hostile: its size and the number of packages are bounded.
package sbom

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/camada/camada/errdefs"
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
	inventory.Inventory
	// Name is what it is about; it may be empty.
	Name string
	// Unnamed is how many parts that could be packages have no package URL, or one that cannot be read.
	Unnamed int
}

// Is reports whether a document begins as an SBOM does: as an object with the marks of one of the forms.
func Is(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n\ufeff")
	return bytes.HasPrefix(data, []byte("{")) && (bytes.Contains(data, []byte(`"spdxVersion"`)) || bytes.Contains(data, []byte(`"bomFormat"`)))
}

// Read reads a document. ErrInvalid when it is of no form that is known, ErrLimit when it is too large.
func Read(data []byte) (Result, error) {
	if len(data) > MaxDocument {
		return Result{}, errdefs.Limit("an SBOM of more than %d bytes", MaxDocument)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var kind struct {
		SPDX   string `json:"spdxVersion"`
		Format string `json:"bomFormat"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return Result{}, errdefs.Invalid("read the SBOM: %w", err)
	}
	r := &reader{Result: Result{Inventory: inventory.Inventory{Packages: []inventory.Package{}}}}
	var err error
	switch {
	case kind.SPDX == "SPDX-2.2" || kind.SPDX == "SPDX-2.3":
		err = r.spdx(data)
	case kind.Format == "CycloneDX":
		err = r.cycloneDX(data)
	default:
		err = errdefs.Invalid("read the SBOM: it is neither SPDX 2.2 or 2.3 nor CycloneDX")
	}
	r.sort()
	return r.Result, err
}

// reader gathers packages.
type reader struct {
	Result
	// distro is the distribution as package URLs have it.
	distro string
}

func (r *reader) spdx(data []byte) error {
	var d struct {
		Name     string `json:"name"`
		Packages []struct {
			Name    string `json:"name"`
			Purpose string `json:"primaryPackagePurpose"`
			License string `json:"licenseDeclared"`
			Refs    []struct {
				Type    string `json:"referenceType"`
				Locator string `json:"referenceLocator"`
			} `json:"externalRefs"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return errdefs.Invalid("read the SBOM: %w", err)
	}
	r.Name = d.Name
	for i := range d.Packages {
		p := &d.Packages[i]
		purl := ""
		for _, ref := range p.Refs {
			if ref.Type == "purl" {
				purl = ref.Locator
				break
			}
		}
		switch p.Purpose {
		case "CONTAINER", "OPERATING_SYSTEM", "OPERATING-SYSTEM", "FILE", "SOURCE":
			if purl == "" {
				continue
			}
		}
		if err := r.add(purl, p.License); err != nil {
			return err
		}
	}
	return nil
}

// component is one of CycloneDX's.
type component struct {
	Type       string      `json:"type"`
	Name       string      `json:"name"`
	Version    string      `json:"version"`
	PURL       string      `json:"purl"`
	Components []component `json:"components"`
}

func (r *reader) cycloneDX(data []byte) error {
	var d struct {
		Metadata struct {
			Component component `json:"component"`
		} `json:"metadata"`
		Components []component `json:"components"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return errdefs.Invalid("read the SBOM: %w", err)
	}
	r.Name = d.Metadata.Component.Name
	return r.components(d.Components, 0)
}

func (r *reader) components(list []component, depth int) error {
	if depth > maxDepth {
		return errdefs.Limit("read the SBOM: components are more than %d deep in each other", maxDepth)
	}
	for i := range list {
		c := &list[i]
		switch {
		case c.Type == "operating-system" && c.PURL == "":
			if r.Distribution.ID == "" && word(c.Name) && word(c.Version) {
				r.Distribution = inventory.Distribution{ID: strings.ToLower(c.Name), VersionID: c.Version}
			}
		case c.Type == "file" && c.PURL == "" || c.Type == "data" || c.Type == "container" || c.Type == "device":
		default:
			if err := r.add(c.PURL, ""); err != nil {
				return err
			}
		}
		if err := r.components(c.Components, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// add takes a package by its URL.
func (r *reader) add(purl, license string) error {
	if strings.HasPrefix(purl, "pkg:docker/") || strings.HasPrefix(purl, "pkg:oci/") {
		return nil // the image itself
	}
	p, distro, ok := parse(purl)
	if !ok {
		r.Unnamed++
		return nil
	}
	if license != "NOASSERTION" && license != "NONE" {
		p.License = license
	}
	if distro != "" && r.distro == "" {
		r.distro = distro
		r.Distribution = distribution(distro)
	}
	if r.Packages = append(r.Packages, p); len(r.Packages) > inventory.MaxPackages {
		return errdefs.Limit("read the SBOM: more than %d packages", inventory.MaxPackages)
	}
	return nil
}

// distribution reads the qualifier distro: debian-12, alpine-3.22.1, or a code name.
func distribution(s string) inventory.Distribution {
	id, version, ok := strings.Cut(s, "-")
	if !ok {
		return inventory.Distribution{Codename: s}
	}
	if strings.HasPrefix(s, "opensuse-") { // opensuse-leap-15.5
		if i := strings.LastIndexByte(s, '-'); i > len("opensuse-") {
			id, version = s[:i], s[i+1:]
		}
	}
	return inventory.Distribution{ID: id, VersionID: version}
}

// parse reads a package URL.
func parse(purl string) (p inventory.Package, distro string, ok bool) {
	rest, ok := strings.CutPrefix(purl, "pkg:")
	if !ok || len(purl) > maxURL {
		return p, "", false
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	version := ""
	if i := strings.LastIndexByte(rest, '@'); i > strings.LastIndexByte(rest, '/') {
		rest, version = rest[:i], rest[i+1:]
	}
	typ, rest, ok := strings.Cut(strings.Trim(rest, "/"), "/")
	q, err1 := url.ParseQuery(query)
	full, err2 := url.PathUnescape(rest)
	version, err3 := url.PathUnescape(version)
	if !ok || err1 != nil || err2 != nil || err3 != nil || full == "" {
		return p, "", false
	}
	p = inventory.Package{Type: strings.ToLower(typ), Version: version, Arch: q.Get("arch"), PURL: purl}
	space, base := "", full
	if i := strings.LastIndexByte(full, '/'); i >= 0 {
		space, base = full[:i], full[i+1:]
	}
	switch p.Type {
	case "deb", "apk", "rpm", "alpm":
		p.Name = base
		if epoch := q.Get("epoch"); epoch != "" && p.Type == "rpm" && !strings.Contains(version, ":") {
			p.Version = epoch + ":" + version
		}
	case "maven":
		p.Name = strings.Trim(space+":"+base, ":")
	default:
		p.Name = full
	}
	p.Source, p.SourceVersion = p.Name, p.Version
	if up := q.Get("upstream"); up != "" {
		name, v, found := strings.Cut(up, "@")
		p.Source = strings.TrimSuffix(name, ".src.rpm")
		if found {
			p.SourceVersion = v
		}
	}
	distro = q.Get("distro")
	if distro != "" && !strings.Contains(distro, "-") && space != "" {
		distro = space + "-" + distro
	}
	for _, s := range []string{p.Type, p.Name, p.Version, p.Arch, p.Source, p.SourceVersion, distro, p.PURL} {
		if !word(s) {
			return p, "", false
		}
	}
	return p, distro, true
}

// word reports whether a text can be shown: without spaces and control characters.
func word(s string) bool {
	return len(s) <= maxURL && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Bidi_Control, r) || r == unicode.ReplacementChar
	})
}

// sort brings packages into the order of an inventory.
func (r *reader) sort() {
	slices.SortStableFunc(r.Packages, func(a, b inventory.Package) int {
		for _, pair := range [][2]string{{a.Type, b.Type}, {a.Name, b.Name}, {a.Version, b.Version}, {a.Arch, b.Arch}} {
			if c := strings.Compare(pair[0], pair[1]); c != 0 {
				return c
			}
		}
		return 0
	})
	r.Packages = slices.CompactFunc(r.Packages, func(a, b inventory.Package) bool {
		return a.Type == b.Type && a.Name == b.Name && a.Version == b.Version && a.Arch == b.Arch
	})
}
