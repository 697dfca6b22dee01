package secret

import (
	"bytes"
	"cmp"
	"strings"
)

// window is where around a keyword the expression has to be tried; ok is false when it cannot match there. Most keywords stand in texts that
// have no secrets, and to see that must cost little.
func (r *rule) window(buf []byte, word string, start, stop int) (a, b int, ok bool) {
	if len(r.Near) > 0 && !r.near(buf[stop:min(len(buf), stop+cmp.Or(r.Within, 128))]) {
		return 0, 0, false
	}
	if r.name != "" && strings.Contains(r.name, word[:min(4, len(word))]) {
		return assignment(buf, start, stop)
	}
	switch r.ID {
	case "password-in-url":
		return userInURL(buf, start, stop)
	case passwordRule:
		return setting(buf, start, stop)
	case serviceRule:
		return credential(buf, start, stop)
	}
	left := min(r.reach, 512)
	if r.literal != "" && (strings.HasPrefix(r.literal, word) || strings.HasPrefix(word, r.literal)) {
		if !r.begun(buf[start:]) {
			return 0, 0, false
		}
		left = 0
	}
	a, b = max(0, start-left), min(len(buf), stop+r.reach+1)
	for i := 0; i < 64 && a > 0 && wordChar(buf[a-1]); i++ {
		a-- // a word boundary is one only where a word begins
	}
	if a > 0 {
		a--
	}
	return a, b, true
}

// beyond is how far behind the beginning of a keyword its window ends at most, in bytes.
func (r *rule) beyond() int {
	if r.name != "" || r.guess() || r.ID == "password-in-url" {
		return min(r.reach, maxAssigned)
	}
	return r.reach
}

// begun reports whether what an expression begins with is there.
func (r *rule) begun(at []byte) bool {
	n := len(r.literal)
	if len(at) < n+r.count || !bytes.EqualFold(at[:n], []byte(r.literal)) {
		return false
	}
	if r.follows != nil {
		for _, c := range at[n : n+r.count] {
			if !r.follows[c] {
				return false
			}
		}
	}
	return true
}

func (r *rule) near(after []byte) bool {
	for _, w := range r.Near {
		for i := 0; i+len(w) <= len(after); i++ {
			if after[i]|0x20 == w[0]|0x20 && strings.EqualFold(string(after[i:i+len(w)]), w) {
				return true
			}
		}
	}
	return false
}

func wordChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// maxAssigned is how long a name, what assigns to it and the value are together at most, in bytes.
const maxAssigned = 1300

// maxSpace is how much space may be between a name and its value, which can stand in columns.
const maxSpace = 24

// assignment is the window of a name at buf[start:stop] that is given a value which is long enough to be a secret, as gitleaks' rules
// with a name have it: NAME ... = "VALUE".
func assignment(buf []byte, start, stop int) (a, b int, ok bool) {
	i := stop
	for end := min(len(buf), stop+24); i < end && !strings.ContainsRune(`=>:|?,`, rune(buf[i])); i++ {
		if c := buf[i]; !wordChar(c) && !strings.ContainsRune(" \t.-\r\n\v\f'\"", rune(c)) {
			return 0, 0, false
		}
	}
	if i >= len(buf) || !strings.ContainsRune(`=>:|?,`, rune(buf[i])) {
		return 0, 0, false
	}
	for end := min(len(buf), i+4); i < end && strings.ContainsRune(`=>:|?,`, rune(buf[i])); i++ {
	}
	for end := min(len(buf), i+maxSpace); i < end && strings.ContainsRune("`'\" \t\r\n=", rune(buf[i])); i++ {
	}
	value := i
	for end := min(len(buf), i+1100); i < end && (wordChar(buf[i]) || strings.ContainsRune(`.=+/-~%|`, rune(buf[i]))); i++ {
	}
	if i-value < 8 {
		return 0, 0, false
	}
	for a = start; a > 0 && start-a < 100 && (wordChar(buf[a-1]) || buf[a-1] == '.' || buf[a-1] == '-'); a-- {
	}
	return a, min(len(buf), i+2), true
}

// userInURL is the window of a URL whose :// is buf[start:stop], when a user and a password follow.
func userInURL(buf []byte, start, stop int) (a, b int, ok bool) {
	colon := false
	for i := stop; i < min(len(buf), stop+300); i++ {
		switch c := buf[i]; {
		case c == ':':
			colon = true
		case c == '@':
			return max(0, start-24), min(len(buf), i+2), colon
		case c <= ' ' || c == '/' || c == '"' || c == '\'' || c == '<' || c == '>' || c == '`':
			return 0, 0, false
		}
	}
	return 0, 0, false
}

// setting is the window of a name at buf[start:stop] that something is assigned to.
func setting(buf []byte, start, stop int) (a, b int, ok bool) {
	i := stop
	if i < len(buf) && (buf[i] == '"' || buf[i] == '\'') {
		i++
	}
	for end := min(len(buf), i+3); i < end && (buf[i] == ' ' || buf[i] == '\t'); i++ {
	}
	if i >= len(buf) || buf[i] != '=' && buf[i] != ':' {
		return 0, 0, false
	}
	for a = start; a > 0 && start-a < 60 && (wordChar(buf[a-1]) || buf[a-1] == '.' || buf[a-1] == '-'); a-- {
	}
	return a, min(len(buf), i+112), true
}
