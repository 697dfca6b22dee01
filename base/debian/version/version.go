// Package version orders Debian's version numbers, [epoch:]upstream[-revision],
// as Debian Policy 5.6.12 tells.
//
//	version.Compare("1.0~rc1-1", "1.0-1") < 0
package version

import (
	"strings"

	"github.com/camada/camada/errdefs"
)

// Check returns an error of class ErrInvalid when s is not a version number.
func Check(s string) error {
	epoch, rest, hasEpoch := strings.Cut(s, ":")
	if !hasEpoch {
		rest = s
	} else if epoch == "" || strings.Trim(epoch, "0123456789") != "" {
		return errdefs.Invalid("version %q: the epoch is not a number", s)
	}
	if rest == "" || rest[0] < '0' || rest[0] > '9' {
		return errdefs.Invalid("version %q: does not begin with a digit", s)
	}
	for _, c := range []byte(rest) {
		if !isDigit(c) && !isAlpha(c) && strings.IndexByte("+-.~:", c) < 0 {
			return errdefs.Invalid("version %q: has the character %q", s, c)
		}
	}
	return nil
}

// Compare returns -1, 0 or 1 as a is before, the same as or after b. Any two
// strings are ordered; those that are no versions, somehow.
func Compare(a, b string) int {
	ea, a := splitEpoch(a)
	eb, b := splitEpoch(b)
	if c := comparePart(ea, eb); c != 0 {
		return c
	}
	ua, ra := splitRevision(a)
	ub, rb := splitRevision(b)
	if c := comparePart(ua, ub); c != 0 {
		return c
	}
	return comparePart(ra, rb)
}

func splitEpoch(s string) (epoch, rest string) {
	if e, rest, ok := strings.Cut(s, ":"); ok {
		return e, rest
	}
	return "0", s
}

func splitRevision(s string) (upstream, revision string) {
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// comparePart compares by turns a run of non-digits and a number.
func comparePart(a, b string) int {
	for a != "" || b != "" {
		for (a != "" && !isDigit(a[0])) || (b != "" && !isDigit(b[0])) {
			x, y := order(a), order(b)
			if x != y {
				return sign(x - y)
			}
			a, b = a[1:], b[1:]
		}
		var na, nb string
		na, a = number(a)
		nb, b = number(b)
		if len(na) != len(nb) {
			return sign(len(na) - len(nb))
		}
		if c := strings.Compare(na, nb); c != 0 {
			return c
		}
	}
	return 0
}

// order is the weight of a string's first character: "~" before the end of
// the part (and before a number), then letters, then the rest.
func order(s string) int {
	switch {
	case s == "" || isDigit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case isAlpha(s[0]):
		return int(s[0])
	}
	return int(s[0]) + 256
}

// number cuts a number off, without its leading zeros.
func number(s string) (digits, rest string) {
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return strings.TrimLeft(s[:i], "0"), s[i:]
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlpha(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}
