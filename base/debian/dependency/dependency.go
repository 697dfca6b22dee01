// Package dependency reads the relations between Debian packages: the fields
// Depends, Pre-Depends, Provides, Conflicts, Breaks and Replaces (Debian
// Policy 7.1).
//
//	groups, err := dependency.Parse("libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0")
package dependency

import (
	"strings"

	"github.com/camada/camada/base/debian/version"
	"github.com/camada/camada/errdefs"
)

// The bounds of one field.
const (
	maxGroups       = 10000
	maxAlternatives = 1000
)

// Op compares versions.
type Op string

// The operators. None accepts every version.
const (
	None    Op = ""
	Earlier Op = "<<"
	AtMost  Op = "<="
	Exactly Op = "="
	AtLeast Op = ">="
	Later   Op = ">>"
)

// Relation names a package, real or virtual, and which of its versions are meant.
type Relation struct {
	Name string
	// Arch is the qualifier after the name's colon: "any", "native", an
	// architecture, or "".
	Arch    string
	Op      Op
	Version string
}

// Accepts reports whether version v is one of those meant.
func (r Relation) Accepts(v string) bool {
	if r.Op == None {
		return true
	}
	c := version.Compare(v, r.Version)
	switch r.Op {
	case Earlier:
		return c < 0
	case AtMost:
		return c <= 0
	case Exactly:
		return c == 0
	case AtLeast:
		return c >= 0
	}
	return c > 0
}

// String returns the relation as it stands in a field.
func (r Relation) String() string {
	s := r.Name
	if r.Arch != "" {
		s += ":" + r.Arch
	}
	if r.Op != None {
		s += " (" + string(r.Op) + " " + r.Version + ")"
	}
	return s
}

// Group is a list of alternatives, the preferred one first.
type Group []Relation

// String returns the group as it stands in a field.
func (g Group) String() string {
	all := make([]string, len(g))
	for i, r := range g {
		all[i] = r.String()
	}
	return strings.Join(all, " | ")
}

// Parse reads a field: groups divided by commas, of alternatives divided by
// bars. Errors are of class ErrInvalid or ErrLimit.
func Parse(field string) ([]Group, error) {
	var groups []Group
	for part := range strings.SplitSeq(field, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		if len(groups) == maxGroups {
			return nil, errdefs.Limit("more than %d relations in one field", maxGroups)
		}
		var g Group
		for alt := range strings.SplitSeq(part, "|") {
			if len(g) == maxAlternatives {
				return nil, errdefs.Limit("more than %d alternatives in one relation", maxAlternatives)
			}
			r, err := parseOne(strings.TrimSpace(alt))
			if err != nil {
				return nil, err
			}
			g = append(g, r)
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func parseOne(s string) (Relation, error) {
	head, tail, hasVersion := strings.Cut(s, "(")
	head = strings.TrimSpace(head)
	var r Relation
	r.Name, r.Arch, _ = strings.Cut(head, ":")
	if err := CheckName(r.Name); err != nil {
		return Relation{}, errdefs.Invalid("relation %q: %w", s, err)
	}
	if strings.Trim(r.Arch, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return Relation{}, errdefs.Invalid("relation %q: not an architecture", s)
	}
	if !hasVersion {
		return r, nil
	}
	inner, rest, closed := strings.Cut(tail, ")")
	if !closed || strings.TrimSpace(rest) != "" {
		return Relation{}, errdefs.Invalid("relation %q: want name (operator version)", s)
	}
	inner = strings.TrimSpace(inner)
	v := strings.TrimLeft(inner, "<>=")
	r.Op = Op(inner[:len(inner)-len(v)])
	r.Version = strings.TrimSpace(v)
	switch r.Op {
	case Earlier, AtMost, Exactly, AtLeast, Later:
	case "<":
		r.Op = AtMost // the old spellings, Policy 7.1
	case ">":
		r.Op = AtLeast
	default:
		return Relation{}, errdefs.Invalid("relation %q: unknown operator %q", s, string(r.Op))
	}
	if err := version.Check(r.Version); err != nil {
		return Relation{}, errdefs.Invalid("relation %q: %w", s, err)
	}
	return r, nil
}

// CheckName returns an error of class ErrInvalid when s cannot be a package's
// name (Policy 5.6.1). A name that passes is safe as part of a file's name.
func CheckName(s string) error {
	if len(s) < 2 || len(s) > 200 {
		return errdefs.Invalid("package name %q: want 2 to 200 characters", s)
	}
	if c := s[0]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
		return errdefs.Invalid("package name %q: want a small letter or a digit first", s)
	}
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return errdefs.Invalid("package name %q: has a character that is not allowed", s)
	}
	return nil
}
