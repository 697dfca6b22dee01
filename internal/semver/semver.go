// Package semver compares versions (semver.org 2.0.0) as tags have them, and tells which ones a range means.
//
//	r, err := semver.ParseRange(">=1.2 <2 || ~3.1")
//	v, ok := semver.Parse("v1.10.0")
//	ok && r.Contains(v)
//
// A version may begin with v and lack its last parts: 1.2 is 1.2.0. A range is made of comparisons: =, !=, >, >=, <, <=, ~1.2.3 (the same minor
// version), ^1.2.3 (the same major version), 1.2 or 1.2.x (all that begin so), * (all). Those beside each other, or with commas, hold
// together; || means or. As other tools have it, a version with a pre-release (1.2.3-rc1) is in no range that has none.
package semver

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

const (
	// maxLength of a version or a range, in bytes.
	maxLength = 1024
	parts     = 3
)

// Version is a version. The zero value is 0.0.0.
type Version struct {
	number [parts]uint64
	pre    string
}

// Parse reads a version; ok is false when the text is none.
func Parse(s string) (v Version, ok bool) {
	v, n, ok := parse(s)
	return v, ok && n > 0
}

// ParseWhole reads a version that has all three numbers, as releases have it.
func ParseWhole(s string) (v Version, ok bool) {
	v, n, ok := parse(s)
	return v, ok && n == parts
}

// parse returns how many parts were given, before one that is x or *.
func parse(s string) (v Version, given int, ok bool) {
	s = strings.TrimPrefix(s, "v")
	if s == "" || len(s) > maxLength {
		return v, 0, false
	}
	s, build, hasBuild := strings.Cut(s, "+")
	s, pre, hasPre := strings.Cut(s, "-")
	if hasBuild && !identifiers(build) || hasPre && !identifiers(pre) {
		return v, 0, false
	}
	words := strings.Split(s, ".")
	if len(words) > parts {
		return v, 0, false
	}
	wild := false
	for i, w := range words {
		if w == "x" || w == "X" || w == "*" {
			wild = true
			continue
		}
		if wild || w == "" || strings.Trim(w, "0123456789") != "" {
			return v, 0, false
		}
		n, err := strconv.ParseUint(w, 10, 64)
		if err != nil {
			return v, 0, false
		}
		v.number[i] = n
		given++
	}
	v.pre = pre
	return v, given, !hasPre || given == parts
}

// identifiers checks what follows a - or a +.
func identifiers(s string) bool {
	for id := range strings.SplitSeq(s, ".") {
		if id == "" || strings.Trim(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-") != "" {
			return false
		}
	}
	return true
}

// Compare orders versions as the standard has it (section 11).
func (v Version) Compare(w Version) int {
	if c := slices.Compare(v.number[:], w.number[:]); c != 0 {
		return c
	}
	switch {
	case v.pre == w.pre:
		return 0
	case v.pre == "":
		return 1
	case w.pre == "":
		return -1
	}
	return slices.CompareFunc(strings.Split(v.pre, "."), strings.Split(w.pre, "."), compareIdentifiers)
}

// Major is the first number.
func (v Version) Major() uint64 { return v.number[0] }

// Minor is the second number.
func (v Version) Minor() uint64 { return v.number[1] }

// Patch is the third number.
func (v Version) Patch() uint64 { return v.number[2] }

// Pre is the pre-release, without its dash; "" for a release.
func (v Version) Pre() string { return v.pre }

// compareIdentifiers orders numbers by value and before words.
func compareIdentifiers(a, b string) int {
	aNumber, bNumber := strings.Trim(a, "0123456789") == "", strings.Trim(b, "0123456789") == ""
	switch {
	case aNumber && bNumber:
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	case aNumber:
		return -1
	case bNumber:
		return 1
	}
	return cmp.Compare(a, b)
}

// next is the first version after all that share the first n numbers of v.
func (v Version) next(n int) Version {
	var w Version
	copy(w.number[:n], v.number[:n])
	w.number[n-1]++
	return w
}

// Range is what ParseRange read. The zero value has no version.
type Range struct{ any [][]span }

// span is from low up to high, or all but that when not is set. Without a bound it is open.
type span struct {
	low, high *Version
	not       bool
	// pre says that the bound has a pre-release.
	pre bool
}

// Contains reports whether v is in the range.
func (r Range) Contains(v Version) bool {
	return slices.ContainsFunc(r.any, func(all []span) bool {
		if v.pre != "" && !slices.ContainsFunc(all, func(s span) bool { return s.pre }) {
			return false
		}
		return !slices.ContainsFunc(all, func(s span) bool { return !s.contains(v) })
	})
}

func (s span) contains(v Version) bool {
	in := (s.low == nil || v.Compare(*s.low) >= 0) && (s.high == nil || v.Compare(*s.high) < 0)
	return in != s.not
}

// ParseRange reads a range; ErrInvalid says what is wrong.
func ParseRange(s string) (Range, error) {
	if len(s) > maxLength {
		return Range{}, errdefs.Limit("a range of versions of more than %d bytes", maxLength)
	}
	var r Range
	for group := range strings.SplitSeq(s, "||") {
		var all []span
		words := strings.FieldsFunc(group, func(c rune) bool { return c == ' ' || c == ',' || c == '\t' })
		for i := 0; i < len(words); i++ {
			w := words[i]
			if strings.Trim(w, "=!<>~^") == "" && i+1 < len(words) { // ">= 1.2"
				i++
				w += words[i]
			}
			sp, ok := parseSpan(w)
			if !ok {
				return Range{}, errdefs.Invalid("range of versions %q: %q is no comparison with a version", s, w)
			}
			all = append(all, sp)
		}
		if len(all) == 0 {
			return Range{}, errdefs.Invalid("range of versions %q: nothing beside ||", s)
		}
		r.any = append(r.any, all)
	}
	return r, nil
}

func parseSpan(w string) (span, bool) {
	text := strings.TrimLeft(w, "=!<>~^")
	op := w[:len(w)-len(text)]
	v, given, ok := parse(text)
	if !ok {
		return span{}, false
	}
	s := span{pre: v.pre != ""}
	low, high := &v, v.after(given)
	switch op {
	case "", "=", "==":
		s.low, s.high = low, high
	case "!=":
		s.low, s.high, s.not = low, high, true
	case ">=", "=>":
		s.low = low
	case ">":
		s.low = high
	case "<":
		s.high = low
	case "<=", "=<":
		s.high = high
	case "~", "~>":
		s.low, s.high = low, v.after(min(given, 2))
	case "^":
		s.low, s.high = low, v.after(v.caret(given))
	default:
		return span{}, false
	}
	if given == 0 && (op == ">" || op == "<" || op == "!=") {
		return span{}, false
	}
	return s, true
}

// caret is how many numbers a version has in common with those that are compatible: up to the first that is not zero.
func (v Version) caret(given int) int {
	for i := range given {
		if v.number[i] != 0 {
			return i + 1
		}
	}
	return given
}

// after is the end of the versions that begin with the n numbers given of v; nil when there is none.
func (v Version) after(n int) *Version {
	if n == 0 {
		return nil
	}
	w := v.next(n)
	if n == parts { // just after v itself
		w = Version{number: v.number, pre: v.pre}
		if v.pre == "" {
			w.number[parts-1]++
			w.pre = "0" // the least of all that follow
		} else {
			w.pre += ".0"
		}
	}
	return &w
}
