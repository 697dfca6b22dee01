package compose

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/camada/camada/errdefs"
)

// maxEnvFile is the largest file of variables, in bytes.
const maxEnvFile = 1 << 20

// envFile is a file of variables.
type envFile struct {
	name string
	// optional ones may be missing.
	optional bool
}

func optional(name string) envFile { return envFile{name, true} }

// withEnvFiles adds the variables of files to those of getenv, which win; of the files the last one does.
func withEnvFiles(getenv Lookup, files ...envFile) (Lookup, error) {
	values := map[string]string{}
	lookup := func(key string) (string, bool) {
		if v, ok := getenv(key); ok {
			return v, true
		}
		v, ok := values[key]
		return v, ok
	}
	for _, f := range files {
		data, err := readFile(f.name, maxEnvFile)
		if err != nil {
			if f.optional && (errdefs.IsNotFound(err) || errdefs.IsInvalid(err)) {
				continue
			}
			return nil, fmt.Errorf("variables: %w", err)
		}
		if err := parseEnv(string(data), lookup, values); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return lookup, nil
}

// parseEnv reads NAME=VALUE lines (Compose Specification, 12-interpolation.md, env file syntax) into values. Variables in
// values are expanded, unless single quotes are around them; double and single quotes go over lines.
func parseEnv(src string, lookup Lookup, values map[string]string) error {
	src = strings.TrimPrefix(strings.ReplaceAll(src, "\r\n", "\n"), "\ufeff")
	for line := 1; src != ""; {
		text, rest, _ := strings.Cut(src, "\n")
		trimmed := strings.TrimSpace(text)
		if trimmed == "" || trimmed[0] == '#' {
			src, line = rest, line+1
			continue
		}
		if after, ok := strings.CutPrefix(trimmed, "export"); ok && after != "" && unicode.IsSpace(rune(after[0])) {
			trimmed = strings.TrimSpace(after)
		}
		name, _, given := cutAny(trimmed, "=:")
		name = strings.TrimSpace(name)
		if name == "" || strings.ContainsFunc(name, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !strings.ContainsRune("_.-[]", r)
		}) {
			return errdefs.Invalid("line %d: want NAME=VALUE", line)
		}
		if !given { // a name alone is that of the environment
			if v, ok := lookup(name); ok {
				values[name] = v
			}
			src, line = rest, line+1
			continue
		}
		_, raw, _ := cutAny(src, "=:")
		v, left, err := envValue(strings.TrimLeft(raw, " \t"), lookup)
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", line, name, err)
		}
		values[name] = v
		line += strings.Count(src[:len(src)-len(left)], "\n")
		src = left
	}
	return nil
}

// cutAny cuts s at the first of the characters.
func cutAny(s, chars string) (before, after string, found bool) {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// envValue reads a value from the beginning of src, and returns what is left.
func envValue(src string, lookup Lookup) (v, left string, err error) {
	if src == "" || src[0] != '"' && src[0] != '\'' {
		v, left, _ = strings.Cut(src, "\n")
		v, _, _ = strings.Cut(v, " #")
		v, err = Expand(strings.TrimRightFunc(v, unicode.IsSpace), lookup)
		return v, left, err
	}
	quote := src[0]
	var b strings.Builder
	for i := 1; i < len(src); i++ {
		switch c := src[i]; {
		case c == '\\' && i+1 < len(src) && src[i+1] == quote:
			i++
			b.WriteByte(quote)
		case c == '\\' && i+1 < len(src):
			i++
			b.WriteString(src[i-1 : i+1])
		case c == quote:
			v = b.String()
			if quote == '"' {
				v, err = Expand(unescape(v), lookup)
			}
			_, left, _ = strings.Cut(src[i+1:], "\n") // what stands behind is a comment
			return v, left, err
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errdefs.Invalid("the quote has no end")
}

// unescape reads the escapes of a value in double quotes. A backslash before $ makes it an ordinary character.
func unescape(s string) string {
	var b strings.Builder
	for s != "" {
		if s[0] != '\\' || len(s) == 1 {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		if s[1] == '$' {
			b.WriteString("$$")
			s = s[2:]
			continue
		}
		if strings.IndexByte(`abcfnrtv\"`, s[1]) >= 0 {
			if r, _, rest, err := strconv.UnquoteChar(s, '"'); err == nil {
				b.WriteRune(r)
				s = rest
				continue
			}
		}
		b.WriteString(s[:2])
		s = s[2:]
	}
	return b.String()
}
