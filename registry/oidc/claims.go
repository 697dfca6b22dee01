package oidc

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
)

// lookup finds a claim by its name, or by a JSON pointer (RFC 6901): "/kubernetes.io/namespace". nil when it is not there.
func lookup(claims map[string]any, claim string) any {
	if !strings.HasPrefix(claim, "/") {
		return claims[claim]
	}
	var v any = claims
	for part := range strings.SplitSeq(claim[1:], "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch at := v.(type) {
		case map[string]any:
			v = at[part]
		case []any:
			n, err := strconv.ParseUint(part, 10, 16)
			if err != nil || n >= uint64(len(at)) {
				return nil
			}
			v = at[n]
		default:
			return nil
		}
	}
	return v
}

// textOf is a value as text; false for what has none.
func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case json.Number:
		return v.String(), true
	default:
		return "", false
	}
}

// holds reports whether the condition holds. A claim that is not there matches nothing, not even "**".
func (c *Condition) holds(claims map[string]any) bool {
	v := lookup(claims, c.Claim)
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, e := range list {
		if s, ok := textOf(e); ok && pattern.Any(c.Patterns, s) {
			return true
		}
	}
	return false
}

// template is a text with claims in it.
type template []piece

// piece is a text, or a claim.
type piece struct {
	text  string
	claim bool
}

// parseTemplate reads "{repository}@{ref}".
func parseTemplate(s string) (template, error) {
	var t template
	for s != "" {
		before, rest, open := strings.Cut(s, "{")
		if strings.Contains(before, "}") {
			return nil, errdefs.Invalid("a } without its {")
		}
		if before != "" {
			t = append(t, piece{text: before})
		}
		if !open {
			break
		}
		claim, after, closed := strings.Cut(rest, "}")
		if !closed || claim == "" || strings.Contains(claim, "{") {
			return nil, errdefs.Invalid("want {CLAIM}")
		}
		t = append(t, piece{claim, true})
		s = after
	}
	return t, nil
}

// expand puts the claims in.
func (t template) expand(claims map[string]any) (string, error) {
	var b strings.Builder
	for _, p := range t {
		s := p.text
		if p.claim {
			var ok bool
			if s, ok = textOf(lookup(claims, p.text)); !ok || s == "" {
				return "", errdefs.Permission("the token has no %.100q, which would name its user", p.text)
			}
		}
		b.WriteString(s)
	}
	return b.String(), nil
}
