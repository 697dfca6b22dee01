package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// maxText is how long a text may become, in bytes.
const maxText = 1 << 20

// interpolate expands the variables in all texts of a document, in place, and returns it.
func interpolate(v any, getenv Lookup, depth int) (any, error) {
	if depth > 250 {
		return nil, errdefs.Limit("more than 250 levels of nesting")
	}
	switch v := v.(type) {
	case string:
		return Expand(v, getenv)
	case []any:
		for i, e := range v {
			var err error
			if v[i], err = interpolate(e, getenv, depth+1); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			x, err := interpolate(v[k], getenv, depth+1)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			v[k] = x
		}
	}
	return v, nil
}

// Expand expands variables (Compose Specification, 12-interpolation.md): $NAME, ${NAME}, and ${NAME:-WORD} with -, ?, + and
// their forms with a colon, which take an empty value for none. In WORD they are expanded as well. $$ is a dollar sign, and
// so is one in front of what is no name. A variable that is not set is empty.
func Expand(s string, getenv Lookup) (string, error) {
	e := expander{getenv: getenv, left: maxText}
	return e.expand(s, 0)
}

// expander bounds what the expansion of one text makes.
type expander struct {
	getenv Lookup
	left   int
}

func (e *expander) expand(s string, depth int) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	if depth > maxDepth {
		return "", errdefs.Limit("variables are nested more than %d deep", maxDepth)
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		var v string
		switch rest := s[i+1:]; {
		case rest[0] == '$':
			v, i = "$", i+1
		case rest[0] == '{':
			end := closing(rest)
			if end < 0 {
				return "", errdefs.Invalid("%q: ${ without }", s)
			}
			var err error
			if v, err = e.braced(rest[1:end], depth); err != nil {
				return "", err
			}
			i += 1 + end
		case nameLen(rest) > 0:
			n := nameLen(rest)
			v, _ = e.getenv(rest[:n])
			i += n
		default:
			v = "$"
		}
		if e.left -= len(v); e.left < 0 {
			return "", errdefs.Limit("a text of more than %d bytes", maxText)
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// closing finds the brace that closes the one at the beginning.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func nameLen(s string) int {
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] >= 'a' && s[n] <= 'z' || s[n] >= 'A' && s[n] <= 'Z' || n > 0 && s[n] >= '0' && s[n] <= '9') {
		n++
	}
	return n
}

// braced expands what is between the braces.
func (e *expander) braced(inner string, depth int) (string, error) {
	n := nameLen(inner)
	name, rest := inner[:n], inner[n:]
	word, orEmpty := strings.CutPrefix(rest, ":")
	if n == 0 || word == "" && rest != "" || word != "" && !strings.ContainsRune("-+?", rune(word[0])) {
		return "", errdefs.Invalid("${%s}: not a variable; a $ that is none is written $$", inner)
	}
	v, set := e.getenv(name)
	if rest == "" {
		return v, nil
	}
	missing := !set || orEmpty && v == ""
	op := word[0]
	if missing == (op == '+') {
		if op == '+' {
			return "", nil
		}
		return v, nil
	}
	word, err := e.expand(word[1:], depth+1)
	if err == nil && op == '?' {
		if word == "" {
			word = "it has no value"
		}
		err = errdefs.Invalid("the variable %s must be set: %s", name, word)
	}
	return word, err
}
