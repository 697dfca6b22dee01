package inventory

import (
	"strconv"
	"strings"
)

// Documents have no fields for some of what is known of packages, and so say it in words. What one function here writes, another reads back.

// Origin is how a package came into an image.
type Origin struct {
	// Layer counts from 1; 0 is of one that is not known. Digest is that of the layer's blob.
	Layer  int
	Digest string
	// Instruction made the layer, at a line of a Dockerfile where that is known.
	Instruction string
	Dockerfile  string
	Line        int
}

// String tells of it in words; "" when nothing is known.
func (o Origin) String() string {
	if o.Layer == 0 {
		return ""
	}
	s := "from layer " + strconv.Itoa(o.Layer) + " (" + o.Digest + ")"
	if o.Line > 0 {
		s += ", " + o.Dockerfile + ":" + strconv.Itoa(o.Line)
	}
	if o.Instruction != "" {
		s += ": " + o.Instruction
	}
	return s
}

// ParseOrigin reads what String wrote; false when it is something else.
func ParseOrigin(s string) (o Origin, ok bool) {
	rest, ok1 := strings.CutPrefix(s, "from layer ")
	number, rest, ok2 := strings.Cut(rest, " (")
	digest, rest, ok3 := strings.Cut(rest, ")")
	n, err := strconv.Atoi(number)
	if !ok1 || !ok2 || !ok3 || err != nil || n <= 0 {
		return Origin{}, false
	}
	o = Origin{Layer: n, Digest: digest}
	if place, found := strings.CutPrefix(rest, ", "); found {
		// The name ends at the first colon that a number and the end, or another colon, follow.
		for i := range len(place) {
			if place[i] != ':' {
				continue
			}
			line, after, more := strings.Cut(place[i+1:], ": ")
			if n, err := strconv.Atoi(line); err == nil && n > 0 {
				o.Dockerfile, o.Line, rest = place[:i], n, ""
				if more {
					rest = ": " + after
				}
				break
			}
		}
	}
	o.Instruction = strings.TrimPrefix(rest, ": ")
	return o, true
}

// Where tells where a package was found, and of one of the system what it was built from.
func (p *Package) Where() string {
	if !p.OfSystem() {
		return "found in /" + p.Found
	}
	return "listed in /" + p.Found + "; built from " + p.Source + " " + p.SourceVersion
}

// ParseWhere reads what Where wrote: the path, and the source where it is told; false when it is something else.
func ParseWhere(s string) (found, source, version string, ok bool) {
	if rest, ok := strings.CutPrefix(s, "found in /"); ok {
		return rest, "", "", plain(rest)
	}
	rest, ok := strings.CutPrefix(s, "listed in /")
	if !ok {
		return "", "", "", false
	}
	found, rest, ok = strings.Cut(rest, "; built from ")
	source, version, ok2 := strings.Cut(rest, " ")
	return found, source, version, ok && ok2 && plain(found) && word(source) && word(version)
}

const licenseWords = "The package says: "

// LicenseText tells of a licence that has no identifier.
func LicenseText(license string) string { return licenseWords + license }

// ParseLicenseText reads what LicenseText wrote; false when it is something else.
func ParseLicenseText(s string) (string, bool) {
	rest, ok := strings.CutPrefix(s, licenseWords)
	return rest, ok && plain(rest)
}

const unreadWords = "Packages that are listed in these files are not in this document: "

// UnreadText tells of the files that could not be read; "" when there are none.
func (inv *Inventory) UnreadText() string {
	if len(inv.Unread) == 0 {
		return ""
	}
	return unreadWords + strings.Join(inv.Unread, ", ")
}

// ParseUnread reads what UnreadText wrote; nil when it is something else.
func ParseUnread(s string) []string {
	rest, ok := strings.CutPrefix(s, unreadWords)
	if !ok {
		return nil
	}
	names := strings.Split(rest, ", ")
	for i, name := range names {
		if !plain(name) {
			names[i] = "?"
		}
	}
	return names
}
