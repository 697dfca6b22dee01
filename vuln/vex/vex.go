// Package vex applies what people have decided about findings: that a vulnerability does not affect this image, or that it is accepted until a day.
//
//	s, err := vex.Parse(data)                        // OpenVEX, or the vulnerabilities of a CycloneDX document
//	more, err := vex.ParseIgnore(data)               // an ignore file
//	d := vex.Apply(findings, append(s, more...), vex.Image{Name: "app"}, now)
//	d.Kept; d.Ignored                                // with the reason of each
//
// A statement without a reason is refused, and one that has expired is no statement any more.
//
// The documents are foreign: sizes and counts are bounded.
package vex

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/vuln"
)

const (
	// MaxDocument is the size of a document in bytes.
	MaxDocument = 64 << 20
	// maxStatements is how many statements one document has, maxStatement the size of one in bytes, maxNames how many IDs or products one has, and maxAllNames how many all of
	// them have.
	maxStatements = 200_000
	maxStatement  = 8 << 20
	maxNames      = 100_000
	maxAllNames   = 1_000_000
)

// Statement is a decision.
type Statement struct {
	// IDs are names of one vulnerability; any will do.
	IDs []string
	// Packages are package URLs of what it is about; a package whose URL says as much or more is meant. Empty means each package.
	Packages []string
	// Name is a package's name alone, as ignore files have it; "" is each.
	Name string
	// Images are package URLs or names of images; empty means each image.
	Images []string
	// NotAffected tells that findings are to be left out; otherwise the statement says that they are right.
	NotAffected bool
	// Status and Reason are what the document says.
	Status, Reason string
	// Until is when it ends; zero is never.
	Until time.Time
	// Time is when it was made; of two about the same, the later one counts, and of two of the same time the one that was given later.
	Time time.Time
}

// Image is what is scanned.
type Image struct {
	// Name is its reference, Digest its manifest's; both may be empty.
	Name, Digest string
}

// Ignored is a finding that is left out.
type Ignored struct {
	vuln.Finding
	Statement *Statement
}

// Decided is the result of Apply.
type Decided struct {
	Kept    []vuln.Finding
	Ignored []Ignored
	// Expired are statements that would have left out something, and do not any more.
	Expired []*Statement
}

// Apply decides. The findings stay in their order.
func Apply(found []vuln.Finding, statements []Statement, img Image, now time.Time) Decided {
	d := Decided{Kept: []vuln.Finding{}}
	index := map[string][]*Statement{}
	for i := range statements {
		s := &statements[i]
		if !s.meansImage(img) {
			continue
		}
		for _, id := range s.IDs {
			index[id] = append(index[id], s)
		}
	}
	names := groupNames(found)
	expired := map[*Statement]bool{}
	for i := range found {
		f := &found[i]
		var last *Statement
		for _, id := range names[groupKey(f)] {
			for _, s := range index[id] {
				if !s.meansPackage(f) {
					continue
				}
				if !s.Until.IsZero() && !now.Before(s.Until) {
					if !expired[s] {
						expired[s] = true
						d.Expired = append(d.Expired, s)
					}
					continue
				}
				if last == nil || !s.Time.Before(last.Time) {
					last = s
				}
			}
		}
		if last != nil && last.NotAffected {
			d.Ignored = append(d.Ignored, Ignored{*f, last})
			continue
		}
		d.Kept = append(d.Kept, *f)
	}
	return d
}

func groupKey(f *vuln.Finding) string {
	return f.Package.PURL + "\x00" + f.Package.Found + "\x00" + f.Group
}

// groupNames are all names of the vulnerability that a group is about. What an advisory is about counts as a name when it is about that alone.
func groupNames(found []vuln.Finding) map[string][]string {
	names := map[string][]string{}
	for i := range found {
		f := &found[i]
		k := groupKey(f)
		add := append([]string{f.ID}, f.Aliases...)
		if len(f.Upstream) == 1 {
			add = append(add, f.Upstream[0])
		}
		for _, id := range add {
			if !slices.Contains(names[k], id) {
				names[k] = append(names[k], id)
			}
		}
	}
	return names
}

func (s *Statement) meansPackage(f *vuln.Finding) bool {
	p := &f.Package
	if s.Name != "" && s.Name != p.Name && s.Name != p.Source {
		return false
	}
	if len(s.Packages) == 0 {
		return true
	}
	own, ok := parsePURL(p.PURL)
	if !ok {
		return false
	}
	source := own
	source.path = own.path[:strings.LastIndexByte(own.path, '/')+1] + p.Source
	source.version, source.qualifiers = p.SourceVersion, url.Values{"arch": {"source"}, "distro": own.qualifiers["distro"]}
	for _, text := range s.Packages {
		want, ok := parsePURL(text)
		if ok && (want.covers(own) || want.covers(source)) {
			return true
		}
	}
	return false
}

// meansImage compares names of images: of pkg:oci/app@sha256:… the digest counts when there is one.
func (s *Statement) meansImage(img Image) bool {
	if len(s.Images) == 0 {
		return true
	}
	name := img.Name
	if i := strings.IndexByte(name, '@'); i >= 0 {
		name = name[:i]
	}
	bare := name[strings.LastIndexByte(name, '/')+1:]
	bare, _, _ = strings.Cut(bare, ":")
	for _, text := range s.Images {
		p, ok := parsePURL(text)
		switch {
		case !ok:
			if text == img.Name || text == name || text == img.Digest {
				return true
			}
		case strings.Contains(p.version, ":") && img.Digest != "":
			if p.version == img.Digest {
				return true
			}
		case p.qualifiers.Get("digest") != "" && img.Digest != "":
			if p.qualifiers.Get("digest") == img.Digest {
				return true
			}
		case strings.EqualFold(p.path[strings.LastIndexByte(p.path, '/')+1:], bare):
			return true
		}
	}
	return false
}

// purl is a package URL taken apart: path is type, namespace and name.
type purl struct {
	path, version string
	qualifiers    url.Values
}

// parsePURL reads a package URL (purl-spec); the subpath is left out.
func parsePURL(s string) (p purl, ok bool) {
	rest, ok := strings.CutPrefix(s, "pkg:")
	if !ok {
		return p, false
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	if i := strings.LastIndexByte(rest, '@'); i > strings.LastIndexByte(rest, '/') {
		p.version, rest = rest[i+1:], rest[:i]
	}
	var err1, err2, err3 error
	p.path, err1 = url.PathUnescape(strings.Trim(rest, "/"))
	p.version, err2 = url.PathUnescape(p.version)
	p.qualifiers, err3 = url.ParseQuery(query)
	return p, err1 == nil && err2 == nil && err3 == nil && strings.Contains(p.path, "/")
}

// covers reports whether all that p says is true of other.
func (p purl) covers(other purl) bool {
	if p.path != other.path || p.version != "" && p.version != other.version {
		return false
	}
	for key, values := range p.qualifiers {
		if !slices.Equal(values, other.qualifiers[key]) {
			return false
		}
	}
	return true
}
