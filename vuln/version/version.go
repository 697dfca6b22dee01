// Package version orders versions as each ecosystem does: 1.0~rc1 is before 1.0 in Debian, 1.0.RC1 before 1.0 in Maven, and
// 1.10 after 1.9 everywhere.
//
//	compare, ok := version.For("Debian:12")
//	compare("2.36-9+deb12u1", "2.36-9") // 1
//
// Versions are foreign texts. None is refused: what breaks the ecosystem's rules still has a place in the order, and numbers may have
// any length. A comparison takes time that grows with the lengths of the two texts.
package version

import (
	"cmp"
	"strings"
)

// Compare returns a number below, equal to or above 0, as version a is older than, the same as or newer than b.
type Compare func(a, b string) int

// For returns how an ecosystem of OSV (https://ossf.github.io/osv-schema/#defined-ecosystems) orders its versions. What follows a colon
// in its name does not matter. ok is false for one that is not known.
func For(ecosystem string) (c Compare, ok bool) {
	name, _, _ := strings.Cut(ecosystem, ":")
	switch name {
	case "Debian", "Ubuntu", "Echo":
		return debian, true
	case "Alpine", "Wolfi", "Chainguard", "Alpaquita", "MinimOS", "BellSoft Hardened Containers", "CleanStart":
		return apk, true
	case "Red Hat", "Rocky Linux", "AlmaLinux", "SUSE", "openSUSE", "Mageia", "openEuler", "Azure Linux", "Photon OS":
		return rpm, true
	case "Go":
		return golang, true
	case "npm", "crates.io", "Hex", "SwiftURL", "Bitnami", "Bioconductor", "ConanCenter", "GitHub Actions", "GHC", "Julia", "Docker Hardened Images":
		return semver, true
	case "Pub":
		return pub, true
	case "NuGet":
		return nuget, true
	case "PyPI":
		return pypi, true
	case "Maven":
		return maven, true
	case "RubyGems":
		return rubygems, true
	case "Packagist":
		return packagist, true
	case "CRAN", "Hackage":
		return numbers, true
	}
	return nil, false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// isNumber reports whether s is made of digits, at least one.
func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// compareNumbers compares two texts of digits by value; "" is 0.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// cutRun cuts what of s fits from its start.
func cutRun(s string, fits func(byte) bool) (run, rest string) {
	i := 0
	for i < len(s) && fits(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

// at returns part i of a list, or what stands for those that it has not.
func at(list []string, i int, missing string) string {
	if i < len(list) {
		return list[i]
	}
	return missing
}

// numbers compares versions of numbers alone, between points and dashes (R's numeric_version, Haskell's PVP): a version that
// goes on is the newer one.
func numbers(a, b string) int {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == '.' || r == '-' })
	}
	as, bs := split(a), split(b)
	for i := range min(len(as), len(bs)) {
		if c := compareNumbers(as[i], bs[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}
