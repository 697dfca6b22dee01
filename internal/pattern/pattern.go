// Package pattern matches names by patterns:
//
//	pattern.Match("team/**", "team/app/web") // true
package pattern

import (
	"strings"

	"github.com/camada/camada/errdefs"
)

const maxPattern = 512

// Check checks a pattern: ErrInvalid when it can match nothing, or is too long.
func Check(p string) error {
	switch {
	case p == "":
		return errdefs.Invalid("an empty pattern matches nothing")
	case len(p) > maxPattern:
		return errdefs.Invalid("a pattern of %d characters, more than %d", len(p), maxPattern)
	case strings.Count(p, "*") > 16:
		return errdefs.Invalid("pattern %q: more than 16 stars", p)
	}
	for i := 0; i < len(p); i++ {
		if p[i] != '[' {
			continue
		}
		end := strings.IndexByte(p[i:], ']')
		if end < 2 {
			return errdefs.Invalid("pattern %q: want [CHARACTERS] or [FROM-TO]", p)
		}
		i += end
	}
	return nil
}

// Match reports whether a pattern matches a whole name: "*" is any text without a slash, "**" any text, "?" one character that is no slash, "[a-z]"
// one of a set. Everything else is itself.
func Match(pattern, name string) bool {
	// Where to go on when what follows the last star, or the last two, does not fit.
	type retry struct{ p, n int }
	star, stars := retry{-1, 0}, retry{-1, 0}
	p, n := 0, 0
	for {
		if strings.HasPrefix(pattern[p:], "**") {
			p += 2
			star, stars = retry{-1, 0}, retry{p, n}
			continue
		}
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star = retry{p, n}
			continue
		}
		if n == len(name) && p == len(pattern) {
			return true
		}
		if n < len(name) && p < len(pattern) {
			if width := one(pattern[p:], name[n]); width > 0 {
				p, n = p+width, n+1
				continue
			}
		}
		switch {
		case star.p >= 0 && star.n < len(name) && name[star.n] != '/':
			star.n++
			p, n = star.p, star.n
		case stars.p >= 0 && stars.n < len(name):
			stars.n++
			star.p = -1
			p, n = stars.p, stars.n
		default:
			return false
		}
	}
}

// one returns how long the element at the begin of a pattern is that matches a character; 0 when it does not.
func one(pattern string, c byte) int {
	switch pattern[0] {
	case '?':
		if c == '/' {
			return 0
		}
		return 1
	case '[':
		end := strings.IndexByte(pattern, ']')
		if end < 2 {
			return 0
		}
		for set := pattern[1:end]; set != ""; set = set[1:] {
			if len(set) > 2 && set[1] == '-' {
				if set[0] <= c && c <= set[2] {
					return end + 1
				}
				set = set[2:]
			} else if set[0] == c {
				return end + 1
			}
		}
		return 0
	default:
		if pattern[0] != c {
			return 0
		}
		return 1
	}
}

// Any reports whether one of the patterns matches.
func Any(patterns []string, name string) bool {
	for _, p := range patterns {
		if Match(p, name) {
			return true
		}
	}
	return false
}
