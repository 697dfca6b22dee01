package remote

import (
	"slices"
	"strings"
)

// nextLink finds the address of the next page in Link headers: <address>; rel="next" (RFC 8288, section 3); "" when there is none.
func nextLink(values []string) string {
	for _, v := range values {
		for {
			_, rest, ok := strings.Cut(v, "<")
			addr, params, closed := strings.Cut(rest, ">")
			if !ok || !closed {
				break
			}
			var next bool
			if next, v = isNext(params); next {
				return addr
			}
		}
	}
	return ""
}

// isNext reads the parameters of a link up to the comma that ends them, and tells whether it leads to the next page. rest is what follows.
func isNext(params string) (next bool, rest string) {
	begin, quoted := 0, false
	for i := range len(params) {
		switch c := params[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ';' || c == ',':
			next = next || relNext(params[begin:i])
			if begin = i + 1; c == ',' {
				return next, params[begin:]
			}
		}
	}
	return next || relNext(params[begin:]), ""
}

// relNext reports whether a parameter is rel=next, or a list of relations with next in it.
func relNext(param string) bool {
	key, value, _ := strings.Cut(param, "=")
	value = strings.Trim(strings.TrimSpace(value), `"`)
	return strings.EqualFold(strings.TrimSpace(key), "rel") && slices.Contains(strings.Fields(strings.ToLower(value)), "next")
}
