package version

import (
	"cmp"
	"strings"
)

// rpm compares as rpm does (rpm-version(7)): [epoch:]version[-release].
func rpm(a, b string) int {
	ae, av, ar := splitRPM(a)
	be, bv, br := splitRPM(b)
	return cmp.Or(compareNumbers(ae, be), rpmPart(av, bv), rpmPart(ar, br))
}

func splitRPM(s string) (epoch, version, release string) {
	if e, rest, ok := strings.Cut(s, ":"); ok && isNumber(e) {
		epoch, s = e, rest
	}
	version, release, _ = strings.Cut(s, "-")
	return epoch, version, release
}

// rpmPart is rpmvercmp: runs of digits and of letters, whatever is between them; ~ is before the end and ^ just after it.
func rpmPart(a, b string) int {
	between := func(c byte) bool { return !isDigit(c) && !isLetter(c) && c != '~' && c != '^' }
	for {
		_, a = cutRun(a, between)
		_, b = cutRun(b, between)
		at, bt := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~")
		ac, bc := strings.HasPrefix(a, "^"), strings.HasPrefix(b, "^")
		switch {
		case at && bt || ac && bc:
			a, b = a[1:], b[1:]
			continue
		case at || bc && a == "" || ac && !bt && b != "":
			return -1
		case bt || ac || bc:
			return 1
		case a == "" || b == "":
			return cmp.Compare(len(a), len(b))
		}
		var x, y string
		if isDigit(a[0]) {
			x, a = cutRun(a, isDigit)
			y, b = cutRun(b, isDigit)
			if y == "" { // numbers are newer than letters
				return 1
			}
			if c := compareNumbers(x, y); c != 0 {
				return c
			}
			continue
		}
		x, a = cutRun(a, isLetter)
		y, b = cutRun(b, isLetter)
		if y == "" {
			return -1
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
}
