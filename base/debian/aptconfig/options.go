package aptconfig

import (
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/camada/camada/errdefs"
)

const maxScopes = 64

// parseOptions reads apt.conf(5) into a map from full names in lower case,
// "acquire::http::proxy", to values. Directives such as #include are not
// followed.
func parseOptions(r io.Reader, into map[string]string) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	t := tokens{rest: string(text)}
	var scopes []string
	var words []string
	statement := func() {
		if len(words) > 1 {
			name := strings.ToLower(strings.Join(append(scopes[:len(scopes):len(scopes)], words[0]), "::"))
			into[name] = words[1]
		}
		words = words[:0]
	}
	for {
		tok, quoted, ok := t.next()
		switch {
		case !ok:
			statement()
			return nil
		case quoted:
			words = append(words, tok)
		case tok == ";":
			statement()
		case tok == "{":
			name := ""
			if len(words) > 0 {
				name = words[0]
			}
			words = words[:0]
			if scopes = append(scopes, name); len(scopes) > maxScopes {
				return errdefs.Limit("more than %d nested scopes", maxScopes)
			}
		case tok == "}":
			statement()
			if len(scopes) == 0 {
				return errdefs.Invalid("a } without a {")
			}
			scopes = scopes[:len(scopes)-1]
		default:
			words = append(words, tok)
		}
	}
}

// tokens cuts apt.conf into words, quoted strings, braces and semicolons.
type tokens struct{ rest string }

func (t *tokens) next() (tok string, quoted, ok bool) {
	for {
		t.rest = strings.TrimLeft(t.rest, " \t\r\n")
		switch {
		case t.rest == "":
			return "", false, false
		case strings.HasPrefix(t.rest, "//"), t.rest[0] == '#':
			_, t.rest, _ = strings.Cut(t.rest, "\n")
		case strings.HasPrefix(t.rest, "/*"):
			_, t.rest, _ = strings.Cut(t.rest[2:], "*/")
		case t.rest[0] == '"':
			tok, t.rest, _ = strings.Cut(t.rest[1:], `"`)
			return tok, true, true
		case strings.IndexByte("{};", t.rest[0]) >= 0:
			tok, t.rest = t.rest[:1], t.rest[1:]
			return tok, false, true
		default:
			end := strings.IndexAny(t.rest, " \t\r\n{};\"")
			if end < 0 {
				end = len(t.rest)
			}
			tok, t.rest = t.rest[:end], t.rest[end:]
			return tok, false, true
		}
	}
}

// Proxy returns the function that chooses the proxy of a request, as
// http.Transport wants it: the one that apt.conf names for the host, then the one for
// the scheme, then the environment's (http_proxy, https_proxy, no_proxy).
// The word DIRECT in apt.conf means none.
func (c *Config) Proxy() func(*http.Request) (*url.URL, error) {
	return func(req *http.Request) (*url.URL, error) {
		prefix := "Acquire::" + req.URL.Scheme + "::Proxy"
		p := c.Option(prefix + "::" + req.URL.Hostname())
		if p == "" {
			p = c.Option(prefix)
		}
		if p == "" && req.URL.Scheme == "https" {
			p = c.Option("Acquire::http::Proxy")
		}
		switch {
		case p == "":
			return http.ProxyFromEnvironment(req)
		case strings.EqualFold(p, "DIRECT"), strings.EqualFold(p, "false"):
			return nil, nil
		}
		u, err := url.Parse(p)
		if err != nil || u.Host == "" {
			return nil, errdefs.Invalid("apt's proxy %q: not a URL", p)
		}
		return u, nil
	}
}
