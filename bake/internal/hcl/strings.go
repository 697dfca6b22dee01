package hcl

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// textual are the functions of strings.
func textual(name string) Func {
	switch name {
	case "upper":
		return text1(strings.ToUpper)
	case "lower":
		return text1(strings.ToLower)
	case "title":
		return text1(title)
	case "trimspace":
		return text1(strings.TrimSpace)
	case "chomp":
		return text1(func(s string) string { return strings.TrimRight(s, "\r\n") })
	case "strrev":
		return text1(func(s string) string { r := []rune(s); slices.Reverse(r); return string(r) })
	case "basename":
		return text1(path.Base)
	case "dirname":
		return text1(path.Dir)
	case "sanitize":
		return text1(sanitize)
	case "trimprefix":
		return text2(func(a, b string) any { return strings.TrimPrefix(a, b) })
	case "trimsuffix":
		return text2(func(a, b string) any { return strings.TrimSuffix(a, b) })
	case "trim":
		return text2(func(a, b string) any { return strings.Trim(a, b) })
	case "startswith":
		return text2(func(a, b string) any { return strings.HasPrefix(a, b) })
	case "endswith":
		return text2(func(a, b string) any { return strings.HasSuffix(a, b) })
	case "split":
		return text2(func(sep, s string) any { return anys(strings.Split(s, sep)) })
	case "join":
		return join
	case "replace":
		return replace
	case "regex_replace", "regexreplace":
		return regexReplace
	case "regex":
		return regex
	case "substr":
		return substr
	case "format":
		return format
	case "indent":
		return indent
	case "tostring":
		return text1(func(s string) string { return s })
	}
	return nil
}

// title begins each word with a capital.
func title(s string) string {
	up := true
	return strings.Map(func(r rune) rune {
		if up {
			r = []rune(strings.ToUpper(string(r)))[0]
		}
		up = r == ' '
		return r
	}, s)
}

// sanitize makes a name of any text, as bake does: what targets cannot have becomes an underscore.
func sanitize(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-') {
			return r
		}
		return '_'
	}, s)
}

func join(args []any) (any, error) {
	if err := count(args, 2, -1); err != nil {
		return nil, err
	}
	sep, err := Text(args[0])
	if err != nil {
		return nil, err
	}
	var parts []string
	size := 0
	for _, a := range args[1:] {
		l, err := asList(a)
		if err != nil {
			return nil, err
		}
		for _, v := range l {
			s, err := Text(v)
			if err != nil {
				return nil, err
			}
			if size += len(s) + len(sep); size > maxText {
				return nil, errdefs.Limit("a string of more than %d bytes", maxText)
			}
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, sep), nil
}

func replace(args []any) (any, error) {
	s, err := texts(args, 3, 3)
	if err != nil {
		return nil, err
	}
	if n := strings.Count(s[0], s[1]); len(s[0])+n*len(s[2]) > maxText {
		return nil, errdefs.Limit("a string of more than %d bytes", maxText)
	}
	return strings.ReplaceAll(s[0], s[1], s[2]), nil
}

func regexReplace(args []any) (any, error) {
	s, err := texts(args, 3, 3)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(s[1])
	if err != nil {
		return nil, errdefs.Invalid("%q is not a regular expression: %w", s[1], err)
	}
	if len(re.FindAllStringIndex(s[0], -1))*(len(s[2])+len(s[0]))+len(s[0]) > maxText {
		return nil, errdefs.Limit("a string of more than %d bytes", maxText)
	}
	return re.ReplaceAllString(s[0], s[2]), nil
}

// regex returns what the expression matches: the whole match, or its groups as a list, or the named ones as a map.
func regex(args []any) (any, error) {
	s, err := texts(args, 2, 2)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(s[0])
	if err != nil {
		return nil, errdefs.Invalid("%q is not a regular expression: %w", s[0], err)
	}
	m := re.FindStringSubmatch(s[1])
	switch {
	case m == nil:
		return nil, errdefs.Invalid("%q does not match %q", s[0], kind(s[1]))
	case len(m) == 1:
		return m[0], nil
	case re.SubexpNames()[1] == "":
		return anys(m[1:]), nil
	}
	out := map[string]any{}
	for i, n := range re.SubexpNames() {
		if n != "" {
			out[n] = m[i]
		}
	}
	return out, nil
}

func substr(args []any) (any, error) {
	if err := count(args, 3, 3); err != nil {
		return nil, err
	}
	text, err := Text(args[0])
	if err != nil {
		return nil, err
	}
	from, err := number(args[1])
	if err != nil {
		return nil, err
	}
	n, err := number(args[2])
	if err != nil {
		return nil, err
	}
	r := []rune(text)
	start := int(from)
	if start < 0 {
		start += len(r)
	}
	start = min(max(start, 0), len(r))
	end := len(r)
	if n >= 0 {
		end = min(start+int(min(n, maxText)), len(r))
	}
	return string(r[start:end]), nil
}

// format knows %s, %d, %v, %q, %t, %f and widths, as Go has them.
func format(args []any) (any, error) {
	if err := count(args, 1, -1); err != nil {
		return nil, err
	}
	f, err := Text(args[0])
	if err != nil {
		return nil, err
	}
	var values []any
	for i, verb := range verbs(f) {
		if i+1 >= len(args) {
			return nil, errdefs.Invalid("format: %q wants more arguments", f)
		}
		v := args[i+1]
		switch verb {
		case 'd', 'x', 'X', 'o', 'b':
			n, err := number(v)
			if err != nil {
				return nil, err
			}
			v = int64(n)
		case 'f', 'e', 'g':
			n, err := number(v)
			if err != nil {
				return nil, err
			}
			v = n
		case 't':
			b, err := boolean(v)
			if err != nil {
				return nil, err
			}
			v = b
		case 's', 'q', 'v':
			s, err := Text(v)
			if err != nil {
				return nil, err
			}
			v = s
		default:
			return nil, errdefs.Invalid("format: %%%c is not known", verb)
		}
		values = append(values, v)
	}
	return fmt.Sprintf(f, values...), nil
}

// verbs are the letters of the directives in a format. A width of more than three digits is no directive.
func verbs(f string) []rune {
	var out []rune
	for i := 0; i < len(f); i++ {
		if f[i] != '%' {
			continue
		}
		j := i + 1
		for j < len(f) && j < i+6 && strings.ContainsRune("+-# 0123456789.", rune(f[j])) {
			j++
		}
		if j < len(f) && f[j] != '%' {
			out = append(out, rune(f[j]))
		}
		i = j
	}
	return out
}

func indent(args []any) (any, error) {
	if err := count(args, 2, 2); err != nil {
		return nil, err
	}
	n, err := number(args[0])
	if err != nil {
		return nil, err
	}
	text, err := Text(args[1])
	if err != nil {
		return nil, err
	}
	if n < 0 || n > 1000 || (strings.Count(text, "\n")*int(n)) > maxText {
		return nil, errdefs.Limit("indent: too much")
	}
	return strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", int(n))), nil
}
