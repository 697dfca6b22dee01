package version

import (
	"cmp"
	"strings"
)

// pep440 is a version taken apart (PEP 440, "Public version identifiers"). A number that is not there has has... = false.
type pep440 struct {
	epoch                    string
	release                  []string
	preLetter                byte // 'a', 'b' or 'r'; 0 for none
	pre, post, dev           string
	hasPost, hasDev, isValid bool
	local                    []string
}

// pypi compares as PEP 440 does. What it does not allow is older than all that it does.
func pypi(a, b string) int {
	x, y := parsePEP440(a), parsePEP440(b)
	switch {
	case !x.isValid && !y.isValid:
		return compareLegacy(a, b)
	case !x.isValid:
		return -1
	case !y.isValid:
		return 1
	}
	if c := compareNumbers(x.epoch, y.epoch); c != 0 {
		return c
	}
	for i := range max(len(x.release), len(y.release)) {
		if c := compareNumbers(at(x.release, i, ""), at(y.release, i, "")); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(x.preRank(), y.preRank()), compareNumbers(x.pre, y.pre),
		compareBool(x.hasPost, y.hasPost), compareNumbers(x.post, y.post),
		compareBool(!x.hasDev, !y.hasDev), compareNumbers(x.dev, y.dev),
		compareLocal(x.local, y.local))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// preRank orders 1.0.dev1 before 1.0a1, and that before 1.0.
func (v *pep440) preRank() int {
	switch {
	case v.preLetter != 0:
		return int(v.preLetter)
	case v.hasDev && !v.hasPost:
		return 0
	}
	return 'z'
}

// compareLocal compares local versions: none is oldest, and words are older than numbers.
func compareLocal(a, b []string) int {
	for i := range min(len(a), len(b)) {
		x, y := isNumber(a[i]), isNumber(b[i])
		c := compareBool(x, y)
		if c == 0 && x {
			c = compareNumbers(a[i], b[i])
		} else if c == 0 {
			c = strings.Compare(a[i], b[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// parsePEP440 reads a version as the PEP's appendix B does, all ways to write it included.
func parsePEP440(s string) (v pep440) {
	s = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "v")
	s, local, hasLocal := strings.Cut(s, "+")
	if e, rest, ok := strings.Cut(s, "!"); ok {
		if !isNumber(e) {
			return v
		}
		v.epoch, s = e, rest
	}
	var n string
	if n, s = cutRun(s, isDigit); n == "" {
		return v
	}
	v.release = append(v.release, n)
	for len(s) > 1 && s[0] == '.' && isDigit(s[1]) {
		n, s = cutRun(s[1:], isDigit)
		v.release = append(v.release, n)
	}
	s = v.suffixes(s)
	if hasLocal {
		v.local = strings.FieldsFunc(local, func(r rune) bool { return r == '.' || r == '-' || r == '_' })
		if len(v.local) == 0 {
			return v
		}
	}
	v.isValid = s == ""
	return v
}

// suffixes reads pre-release, post-release and development release, in this order, and returns what is left.
func (v *pep440) suffixes(s string) string {
	if letter, n, rest, ok := wordNumber(s, "alpha", "beta", "preview", "pre", "rc", "a", "b", "c"); ok {
		v.preLetter, v.pre, s = letter[0], n, rest
		if letter[0] == 'p' || letter[0] == 'c' {
			v.preLetter = 'r'
		}
	}
	if len(s) > 1 && s[0] == '-' && isDigit(s[1]) { // 1.0-1 is 1.0.post1
		v.hasPost = true
		v.post, s = cutRun(s[1:], isDigit)
	} else if _, n, rest, ok := wordNumber(s, "post", "rev", "r"); ok {
		v.hasPost, v.post, s = true, n, rest
	}
	if _, n, rest, ok := wordNumber(s, "dev"); ok {
		v.hasDev, v.dev, s = true, n, rest
	}
	return s
}

// wordNumber reads one of words with its number, and a separator before each of the two.
func wordNumber(s string, words ...string) (word, n, rest string, ok bool) {
	separator := func(s string) string {
		if s != "" && strings.IndexByte(".-_", s[0]) >= 0 {
			return s[1:]
		}
		return s
	}
	body := separator(s)
	for _, w := range words {
		after, found := strings.CutPrefix(body, w)
		if !found {
			continue
		}
		if n, rest = cutRun(separator(after), isDigit); n == "" {
			rest = after
		}
		return w, n, rest, true
	}
	return "", "", s, false
}

// compareLegacy compares what is no version: numbers and words by turns, as setuptools did.
func compareLegacy(a, b string) int {
	as, bs := legacyParts(a), legacyParts(b)
	for i := range min(len(as), len(bs)) {
		if c := strings.Compare(as[i], bs[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

// legacyParts gives a list that can be compared word by word: numbers are padded, and words that come before a release begin
// with a character before that of "*final".
func legacyParts(s string) []string {
	s = strings.ToLower(s)
	var out []string
	add := func(part string) {
		if part[0] == '*' {
			if part < "*final" {
				for len(out) > 0 && out[len(out)-1] == "*final-" {
					out = out[:len(out)-1]
				}
			}
			for len(out) > 0 && strings.Trim(out[len(out)-1], "0") == "" {
				out = out[:len(out)-1]
			}
		}
		out = append(out, part)
	}
	for s != "" {
		var run string
		switch {
		case isDigit(s[0]):
			run, s = cutRun(s, isDigit)
			add(strings.Repeat("0", max(0, 8-len(run))) + run)
			continue
		case isLetter(s[0]):
			run, s = cutRun(s, isLetter)
		default:
			run, s = s[:1], s[1:]
		}
		switch run {
		case "pre", "preview", "rc":
			run = "c"
		case "dev":
			run = "@"
		case "-":
			run = "final-"
		}
		if isLetter(run[0]) || run == "@" {
			add("*" + run)
		}
	}
	add("*final")
	return out
}
