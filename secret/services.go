package secret

import (
	_ "embed" // the rules
	"slices"
	"strings"
	"sync"

	"github.com/camada/camada/errdefs"
	"github.com/pelletier/go-toml/v2"
)

//go:embed rules/services.toml
var serviceRules []byte

// serviceRule finds what stands behind the name of a service and a word such as key.
const serviceRule = "service-credential"

// catalog is what services say of their tokens: see rules/services.toml.
type catalog struct {
	Tokens   map[string][]string `toml:"tokens"`
	Services struct {
		Names string `toml:"names"`
	} `toml:"services"`
}

// tokenEnd is what can follow a token.
const tokenEnd = `(?:[^\w=+-]|$)`

func loadCatalog() (rules []*rule, names string, err error) {
	var c catalog
	if err := toml.Unmarshal(serviceRules, &c); err != nil {
		return nil, "", errdefs.Corrupt("services.toml: %w", err)
	}
	for id, f := range c.Tokens {
		if len(f) < 3 {
			return nil, "", errdefs.Corrupt("services.toml: %s: want a description, an expression and keywords", id)
		}
		r := &rule{ID: id, Description: f[0], Keywords: strings.Fields(f[2]), catalog: true, weak: strings.HasPrefix(f[1], "(?i:")}
		if len(f) > 3 {
			r.Near, r.Within = strings.Fields(f[3]), 64
		}
		switch {
		case strings.Contains(strings.ReplaceAll(f[1], "(?", ""), "("): // it has a group for what of it is secret
			r.Regex = f[1] + tokenEnd
		default:
			r.Regex = `\b(` + f[1] + `)` + tokenEnd
		}
		rules = append(rules, r)
	}
	return rules, c.Services.Names, nil
}

// services are names of services, by their first letter.
type services struct {
	once  sync.Once
	text  string
	first [256][]string
}

// names reports whether a text has the name of a service where a word begins.
func (s *services) names(text string) bool {
	s.once.Do(func() {
		for _, n := range strings.Fields(s.text) {
			s.first[n[0]] = append(s.first[n[0]], n)
		}
	})
	l := lowerASCII(text)
	for i := range len(l) {
		if i > 0 && isLetter(l[i-1]) && (!isLower(text[i-1]) || isLower(text[i])) {
			continue
		}
		if slices.ContainsFunc(s.first[l[i]], func(n string) bool { return strings.HasPrefix(l[i:], n) }) {
			return true
		}
	}
	return false
}

// lowerASCII makes letters of ASCII small. Of others, and of bytes that are no text, the length stays as it is, too: a place in what it returns is the same place in s.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// named reports whether the name of a service stands soon before a secret, in the same line.
func (s *Scanner) named(c *candidate) bool {
	i := strings.Index(c.line, c.match)
	if i < 0 {
		return s.services.names(c.before)
	}
	return s.services.names(c.line[max(0, i-maxNamed):i] + c.before)
}

// maxNamed is how far before a word such as key a service may be named, in bytes.
const maxNamed = 40

// credential is the window of a word such as key at buf[start:stop] behind which, without a sign for an assignment, something follows that may be random.
func credential(buf []byte, start, stop int) (a, b int, ok bool) {
	end := min(len(buf), stop+60)
	for i := stop; i < end && buf[i] != '\n'; {
		j, digits := i, 0
		for j < len(buf) && j-i < 300 && (wordChar(buf[j]) || strings.IndexByte("+/=.~-", buf[j]) >= 0) {
			if buf[j] >= '0' && buf[j] <= '9' {
				digits++
			}
			j++
		}
		if j-i >= 14 && digits >= 3 {
			for a = start; a > 0 && start-a < maxNamed && buf[a-1] != '\n'; a-- {
			}
			return a, min(len(buf), j+2), true
		}
		i = j + 1
	}
	return 0, 0, false
}

// credentialOf reports whether what stands behind the name of a service is one of its keys.
func (s *Scanner) credentialOf(c *candidate) bool {
	v := c.secret
	digits, small := 0, 0
	for i := range len(v) {
		switch {
		case v[i] >= '0' && v[i] <= '9':
			digits++
		case isLetter(v[i]):
			small++
		}
	}
	least := 3.2
	if isHex(strings.ReplaceAll(v, "-", "")) {
		least = 2.8
	}
	return digits >= 3 && small >= 3 && entropy(v) > least && s.named(c) && !s.ordinary(c)
}
