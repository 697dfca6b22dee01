package version

import (
	"slices"
	"strings"
)

// mavenToken is a part of a version with the separator before it.
type mavenToken struct {
	prefix byte // '.', '-' or 0 for the first
	value  string
}

// maven compares as Maven does (https://maven.apache.org/pom.html#version-order-specification).
func maven(a, b string) int {
	as, bs := mavenTokens(a), mavenTokens(b)
	for i := range max(len(as), len(bs)) {
		xLacks, yLacks := i >= len(as), i >= len(bs)
		var x, y mavenToken
		switch {
		case xLacks:
			y = bs[i]
			x = padding(y)
		case yLacks:
			x = as[i]
			y = padding(x)
		default:
			x, y = as[i], bs[i]
		}
		if x == y {
			continue
		}
		if c := x.compare(y, xLacks, yLacks); c != 0 {
			return c
		}
	}
	return 0
}

// padding is what a version that ends has where the other one goes on.
func padding(other mavenToken) mavenToken {
	if other.prefix == '-' || other.value == "sp" {
		return mavenToken{prefix: other.prefix}
	}
	return mavenToken{other.prefix, "0"}
}

func (t mavenToken) compare(w mavenToken, tLacks, wLacks bool) int {
	if t.prefix != w.prefix {
		return t.order() - w.order()
	}
	x, y := isNumber(t.value), isNumber(w.value)
	switch {
	case x && y:
		return compareNumbers(t.value, w.value)
	case x && !tLacks:
		return 1
	case y && !wLacks:
		return -1
	}
	i, j := mavenRank(t.value), mavenRank(w.value)
	if i == j {
		return strings.Compare(t.value, w.value)
	}
	return i - j
}

// order ranks separators and what follows them: ".qualifier" < "-qualifier" < "-number" < ".number".
func (t mavenToken) order() int {
	switch number := isNumber(t.value); {
	case number && t.prefix == '-':
		return 2
	case number:
		return 3
	case t.prefix == '-':
		return 1
	}
	return 0
}

// mavenRank is the place of a qualifier; all that are not known come last, by name.
func mavenRank(s string) int {
	known := []string{"alpha", "beta", "milestone", "rc", "snapshot", "", "sp"}
	if i := slices.Index(known, s); i >= 0 {
		return i
	}
	if s == "0" {
		return slices.Index(known, "") // the end of a version
	}
	return len(known)
}

// mavenTokens splits at points, dashes and changes between digits and letters, and takes off what means nothing.
func mavenTokens(s string) []mavenToken {
	var out []mavenToken
	s = strings.ToLower(s)
	prefix := byte(0)
	for {
		end := strings.IndexAny(s, ".-")
		part := s
		if end >= 0 {
			part = s[:end]
		}
		for first := true; first || part != ""; first = false {
			if !first {
				prefix = '-'
			}
			var run string
			if part != "" && isDigit(part[0]) {
				run, part = cutRun(part, isDigit)
			} else {
				run, part = cutRun(part, func(c byte) bool { return !isDigit(c) })
			}
			out = append(out, mavenToken{prefix, mavenValue(run, part != "")})
		}
		if end < 0 {
			return mavenTrim(out)
		}
		prefix, s = s[end], s[end+1:]
	}
}

// mavenValue turns the names of a qualifier into one. followed tells that a digit comes next.
func mavenValue(s string, followed bool) string {
	switch {
	case s == "":
		return "0"
	case isNumber(s):
		if s = strings.TrimLeft(s, "0"); s == "" {
			return "0"
		}
	case s == "cr":
		return "rc"
	case s == "ga" || s == "final" || s == "release":
		return ""
	case followed && s == "a":
		return "alpha"
	case followed && s == "b":
		return "beta"
	case followed && s == "m":
		return "milestone"
	}
	return s
}

// mavenTrim takes off what means nothing at the end, and before each dash.
func mavenTrim(t []mavenToken) []mavenToken {
	for i := len(t) - 1; i > 0; {
		if t[i].value == "0" || t[i].value == "" {
			t = slices.Delete(t, i, i+1)
			i--
			continue
		}
		for i >= 0 && t[i].prefix != '-' {
			i--
		}
		i--
	}
	return t
}
