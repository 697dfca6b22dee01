package version

import (
	"cmp"
	"strings"
)

// semver compares as Semantic Versioning 2.0.0 has it (section 11). A leading v and parts that lack do not matter.
func semver(a, b string) int { return compareSemver(a, b, false) }

// nuget is semver with up to four numbers, in which letters are alike in both cases.
func nuget(a, b string) int { return compareSemver(strings.ToLower(a), strings.ToLower(b), false) }

// pub is semver in which the build orders versions that are otherwise the same.
func pub(a, b string) int { return compareSemver(a, b, true) }

// golang is semver for modules (https://go.dev/ref/mod#versions), and understands what the toolchain says of itself: go1.21rc2.
func golang(a, b string) int { return compareSemver(toolchain(a), toolchain(b), false) }

// toolchain turns go1.21rc2 into 1.21.0-rc.2.
func toolchain(s string) string {
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "go"), " ") // "go1.22.1 X:boringcrypto"
	for _, word := range []string{"rc", "beta"} {
		before, n, ok := strings.Cut(s, word)
		if !ok || !isNumber(n) || strings.Trim(before, "0123456789.") != "" || before == "" {
			continue
		}
		return before + "-" + word + "." + n
	}
	return s
}

// compareSemver compares numbers first, then what follows them.
func compareSemver(a, b string, build bool) int {
	an, ap, ab := splitSemver(a)
	bn, bp, bb := splitSemver(b)
	for i := range max(len(an), len(bn)) {
		if c := compareNumbers(at(an, i, ""), at(bn, i, "")); c != 0 {
			return c
		}
	}
	c := comparePre(ap, bp)
	if c != 0 || !build {
		return c
	}
	switch {
	case ab == bb:
		return 0
	case ab == "":
		return -1
	case bb == "":
		return 1
	}
	return comparePre(ab, bb)
}

// splitSemver cuts a version into its numbers, its pre-release and its build.
func splitSemver(s string) (parts []string, pre, build string) {
	s = strings.TrimPrefix(s, "v")
	s, build, _ = strings.Cut(s, "+")
	for {
		var n string
		n, s = cutRun(s, isDigit)
		parts = append(parts, n)
		if len(s) < 2 || s[0] != '.' || !isDigit(s[1]) {
			break
		}
		s = s[1:]
	}
	return parts, strings.TrimPrefix(strings.TrimPrefix(s, "."), "-"), build
}

// comparePre compares pre-releases: numbers by value and before words, none after all.
func comparePre(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "":
		return 1
	case b == "":
		return -1
	}
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, y := isNumber(as[i]), isNumber(bs[i])
		var c int
		switch {
		case x && y:
			c = compareNumbers(as[i], bs[i])
		case x:
			c = -1
		case y:
			c = 1
		default:
			c = strings.Compare(as[i], bs[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}
