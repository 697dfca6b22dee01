package remote

import (
	"strings"
)

// challenge is one way to prove who asks, of a WWW-Authenticate header (RFC 9110, 11.6.1).
type challenge struct {
	// scheme is in lower case: "bearer", "basic".
	scheme string
	params map[string]string
}

// maxChallenges bounds how many challenges, and how many parameters of one, are looked at.
const maxChallenges = 32

// parseChallenges reads the values of all WWW-Authenticate headers. What cannot be read is left out.
func parseChallenges(values []string) []challenge {
	var all []challenge
	for _, v := range values {
		p := challengeParser{rest: v}
		for len(all) < maxChallenges {
			c, ok := p.next()
			if !ok {
				break
			}
			all = append(all, c)
		}
	}
	return all
}

type challengeParser struct{ rest string }

// next reads a scheme and its parameters.
func (p *challengeParser) next() (challenge, bool) {
	p.rest = strings.TrimLeft(p.rest, " \t,")
	scheme := p.token()
	if scheme == "" {
		return challenge{}, false
	}
	c := challenge{scheme: strings.ToLower(scheme), params: map[string]string{}}
	for len(c.params) < maxChallenges {
		before := p.rest
		p.rest = strings.TrimLeft(p.rest, " \t,")
		key := p.token()
		after := strings.TrimLeft(p.rest, " \t")
		if key == "" || !strings.HasPrefix(after, "=") {
			p.rest = before // the next scheme, or the end
			break
		}
		p.rest = strings.TrimLeft(after[1:], " \t")
		value, ok := p.value()
		if !ok {
			return challenge{}, false
		}
		c.params[strings.ToLower(key)] = value
	}
	return c, true
}

// token reads a run of token characters (RFC 9110, 5.6.2).
func (p *challengeParser) token() string {
	i := 0
	for i < len(p.rest) && isToken(p.rest[i]) {
		i++
	}
	t := p.rest[:i]
	p.rest = p.rest[i:]
	return t
}

// value reads a token or a quoted string.
func (p *challengeParser) value() (string, bool) {
	if !strings.HasPrefix(p.rest, `"`) {
		i := strings.IndexAny(p.rest, ", \t")
		if i < 0 {
			i = len(p.rest)
		}
		v := p.rest[:i]
		p.rest = p.rest[i:]
		return v, true
	}
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '"':
			p.rest = p.rest[i+1:]
			return b.String(), true
		case '\\':
			if i++; i < len(p.rest) {
				b.WriteByte(p.rest[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

func isToken(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
