package version

import (
	"cmp"
	"strings"
)

// The kinds of the parts of a version, in the order in which apk ranks them when only one of two versions goes on.
const (
	apkFirst = iota
	apkNumber
	apkLetter
	apkSuffix
	apkSuffixNumber
	apkHash
	apkRevision
	apkEnd
	apkInvalid
)

// apkPlain is the rank of no suffix: those below it are of versions before the release.
const apkPlain = 4

// apkReader takes a version apart.
type apkReader struct {
	rest string
	kind int
	text string
	rank int
}

// apk compares as apk-tools does: 1.2.3a_rc1_p2~hash-r4.
func apk(a, b string) int {
	if a == b {
		return 0
	}
	x, y := &apkReader{rest: a, kind: -1}, &apkReader{rest: b, kind: -1}
	for {
		x.next()
		y.next()
		if x.kind != y.kind {
			break
		}
		if x.kind >= apkEnd {
			return strings.Compare(x.rest, y.rest)
		}
		if c := x.compare(y); c != 0 {
			return c
		}
	}
	switch {
	case x.kind == apkSuffix && x.rank < apkPlain:
		return -1
	case y.kind == apkSuffix && y.rank < apkPlain:
		return 1
	}
	return cmp.Compare(y.kind, x.kind)
}

// compare compares two parts of the same kind.
func (x *apkReader) compare(y *apkReader) int {
	switch x.kind {
	case apkSuffix:
		return cmp.Compare(x.rank, y.rank)
	case apkLetter, apkHash:
		return strings.Compare(x.text, y.text)
	case apkNumber:
		if strings.HasPrefix(x.text, "0") || strings.HasPrefix(y.text, "0") { // as decimals after a point
			return strings.Compare(x.text, y.text)
		}
	}
	return compareNumbers(x.text, y.text)
}

// next reads one part.
func (x *apkReader) next() {
	was, s := x.kind, x.rest
	switch {
	case was == apkInvalid:
	case was == -1:
		x.take(apkFirst, s)
		if x.text == "" {
			x.kind = apkInvalid
		}
	case s == "":
		x.kind = apkEnd
	case s[0] == '.' && was <= apkNumber && len(s) > 1 && isDigit(s[1]):
		x.take(apkNumber, s[1:])
	case s[0] >= 'a' && s[0] <= 'z' && was <= apkNumber:
		x.kind, x.text, x.rest = apkLetter, s[:1], s[1:]
	case s[0] == '_' && was <= apkSuffixNumber:
		x.suffix(s[1:])
	case isDigit(s[0]) && was == apkSuffix:
		x.take(apkSuffixNumber, s)
	case s[0] == '~' && was < apkHash:
		x.kind = apkHash
		x.text, x.rest = cutRun(s[1:], func(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' })
	case strings.HasPrefix(s, "-r") && was < apkRevision:
		x.take(apkRevision, s[2:])
	default:
		x.kind = apkInvalid
	}
}

// take reads a number.
func (x *apkReader) take(kind int, s string) {
	x.kind = kind
	x.text, x.rest = cutRun(s, isDigit)
}

// suffix reads one of the words that apk knows.
func (x *apkReader) suffix(s string) {
	word, rest := cutRun(s, func(c byte) bool { return c >= 'a' && c <= 'z' })
	for i, known := range []string{"alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p"} {
		if word == known && word != "" {
			x.kind, x.rank, x.text, x.rest = apkSuffix, i, word, rest
			return
		}
	}
	x.kind = apkInvalid
}
