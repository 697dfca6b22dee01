package version

import (
	"cmp"
	"strings"
)

// debian compares as dpkg does (deb-version(7)): [epoch:]upstream[-revision].
func debian(a, b string) int {
	ae, au, ar := splitDebian(a)
	be, bu, br := splitDebian(b)
	return cmp.Or(compareNumbers(ae, be), debianPart(au, bu), debianPart(ar, br))
}

func splitDebian(s string) (epoch, upstream, revision string) {
	s = strings.TrimSpace(s)
	if e, rest, ok := strings.Cut(s, ":"); ok && isNumber(e) {
		epoch, s = e, rest
	}
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		return epoch, s[:i], s[i+1:]
	}
	return epoch, s, ""
}

// debianPart compares texts and numbers by turns.
func debianPart(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !isDigit(a[0]) || b != "" && !isDigit(b[0]) {
			if c := cmp.Compare(debianOrder(a), debianOrder(b)); c != 0 {
				return c
			}
			a, b = a[1:], b[1:] // the same character
		}
		var x, y string
		x, a = cutRun(a, isDigit)
		y, b = cutRun(b, isDigit)
		if c := compareNumbers(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// debianOrder is the weight of the first character: a tilde is before the end, letters are before all others.
func debianOrder(s string) int {
	switch {
	case s == "" || isDigit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case isLetter(s[0]):
		return int(s[0])
	}
	return int(s[0]) + 256
}
