package version

import (
	"slices"
	"strings"
)

// rubygems compares as Gem::Version does: a part with letters makes a pre-release.
func rubygems(a, b string) int {
	as, bs := gemSegments(a), gemSegments(b)
	for i := range max(len(as), len(bs)) {
		x, y := at(as, i, "0"), at(bs, i, "0")
		xn, yn := isNumber(x), isNumber(y)
		var c int
		switch {
		case xn && yn:
			c = compareNumbers(x, y)
		case xn:
			c = 1
		case yn:
			c = -1
		default:
			c = strings.Compare(x, y)
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// gemSegments are the runs of digits and letters, without zeros at the end and before the first letters.
func gemSegments(s string) []string {
	s = strings.ReplaceAll(s, "-", ".pre.") // as Gem::Version has it
	segments := runs(s)
	first := slices.IndexFunc(segments, func(s string) bool { return !isNumber(s) })
	if first < 0 {
		return withoutZeros(segments)
	}
	return append(slices.Clone(withoutZeros(segments[:first])), withoutZeros(segments[first:])...)
}

func withoutZeros(s []string) []string {
	for len(s) > 0 && isNumber(s[len(s)-1]) && strings.Trim(s[len(s)-1], "0") == "" {
		s = s[:len(s)-1]
	}
	return s
}

// runs splits at points and where digits and others meet.
func runs(s string) []string {
	var out []string
	for s != "" {
		var run string
		switch {
		case s[0] == '.':
			s = s[1:]
			continue
		case isDigit(s[0]):
			run, s = cutRun(s, isDigit)
		default:
			run, s = cutRun(s, func(c byte) bool { return !isDigit(c) && c != '.' })
		}
		out = append(out, run)
	}
	return out
}

// packagist compares as PHP's version_compare does, which Composer uses on what it has normalised.
func packagist(a, b string) int {
	as, bs := phpParts(a), phpParts(b)
	for i := range max(len(as), len(bs)) {
		if c := phpCompare(at(as, i, "#end"), at(bs, i, "#end")); c != 0 {
			return c
		}
	}
	return 0
}

func phpParts(s string) []string {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "v"), "V")
	return runs(strings.NewReplacer("-", ".", "_", ".", "+", ".").Replace(s))
}

// phpCompare compares parts: any other word < dev < alpha < beta < RC < the end < # < a number or pl.
func phpCompare(a, b string) int {
	if isNumber(a) && isNumber(b) {
		return compareNumbers(a, b)
	}
	return phpRank(a) - phpRank(b)
}

func phpRank(s string) int {
	switch {
	case s == "#end":
		return 5
	case isNumber(s):
		return 6
	}
	for i, word := range []string{"dev", "a", "b", "RC", "rc"} {
		if strings.HasPrefix(s, word) {
			return min(i+1, 4)
		}
	}
	if strings.HasPrefix(s, "p") {
		return 7
	}
	return 0
}
