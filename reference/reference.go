// Package reference parses the names of images: [host/]repository[:tag][@digest].
//
//	ref, err := reference.Parse("app:1.2")
//	ref.String()   // docker.io/library/app:1.2
//	ref.Familiar() // app:1.2
//
// The grammar is the one of the OCI distribution-spec ("Pulling manifests")
// and of Docker: the first component is a host when it has a dot or a colon
// or is "localhost"; otherwise the host is docker.io, and a repository there of
// one component lies in "library/".
package reference

import (
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// DefaultHost and DefaultTag are what is meant when a name has none.
const (
	DefaultHost = "docker.io"
	DefaultTag  = "latest"

	officialPrefix = "library/"
	maxName        = 255
	maxTag         = 128
)

// Reference is a parsed name. The zero value is not valid.
type Reference struct {
	// Host is the registry's host with an optional port.
	Host string
	// Repository is the path in the registry.
	Repository string
	// Tag is "" only when Digest is set.
	Tag string
	// Digest is "" when the name has none.
	Digest digest.Digest
}

// Parse reads a name as users write it. A name with neither tag nor digest gets
// the tag "latest". Errors are of class ErrInvalid and say what is wrong.
func Parse(name string) (Reference, error) {
	r, rest, err := cutEnd(name, name)
	if err != nil {
		return Reference{}, err
	}
	r.Host, r.Repository = DefaultHost, rest
	if i := strings.IndexByte(rest, '/'); i >= 0 && isHost(rest[:i]) {
		r.Host, r.Repository = rest[:i], rest[i+1:]
	}
	if r.Host == "index.docker.io" {
		r.Host = DefaultHost
	}
	if r.Host == DefaultHost && !strings.Contains(r.Repository, "/") && r.Repository != "" {
		r.Repository = officialPrefix + r.Repository
	}
	if err := checkHost(r.Host); err != nil {
		return Reference{}, errdefs.Invalid("image name %q: %w", name, err)
	}
	if err := checkRepository(r.Repository); err != nil {
		return Reference{}, errdefs.Invalid("image name %q: %w", name, err)
	}
	if len(r.Host)+1+len(r.Repository) > maxName {
		return Reference{}, errdefs.Invalid("image name %q: longer than %d characters", name, maxName)
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = DefaultTag
	}
	return r, nil
}

// cutEnd takes tag and digest off a name, which is text or the end of it.
func cutEnd(name, text string) (r Reference, rest string, err error) {
	rest = name
	if i := strings.IndexByte(rest, '@'); i >= 0 {
		d, err := digest.Parse(rest[i+1:])
		if err != nil {
			return Reference{}, "", errdefs.Invalid("image name %q: digest %q: %w", text, rest[i+1:], err)
		}
		r.Digest, rest = d, rest[:i]
	}
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		r.Tag, rest = rest[i+1:], rest[:i]
		if !ValidTag(r.Tag) {
			return Reference{}, "", errdefs.Invalid("image name %q: %q is not a tag (letters, digits, '_', '.', '-', at most %d, not starting with '.' or '-')", text, r.Tag, maxTag)
		}
	}
	return r, rest, nil
}

// Name returns host/repository.
func (r Reference) Name() string { return r.Host + "/" + r.Repository }

// String returns the whole name, which Parse reads back to the same value.
func (r Reference) String() string { return r.Name() + r.suffix() }

// Familiar returns the name as users write it: without docker.io/ and library/.
func (r Reference) Familiar() string { return r.FamiliarName() + r.suffix() }

// FamiliarName is Familiar without tag and digest.
func (r Reference) FamiliarName() string {
	if r.Host != DefaultHost {
		return r.Name()
	}
	if first, _, ok := strings.Cut(r.Repository, "/"); ok && isHost(first) {
		return r.Name() // without its host it would be the name of an image of another one
	}
	if short, ok := strings.CutPrefix(r.Repository, officialPrefix); ok && !strings.Contains(short, "/") {
		return short
	}
	return r.Repository
}

// WithTag returns r with another tag and no digest.
func (r Reference) WithTag(tag string) Reference {
	r.Tag, r.Digest = tag, ""
	return r
}

func (r Reference) suffix() string {
	s := ""
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// isHost tells a host from the first component of a repository.
func isHost(s string) bool {
	return s == "localhost" || strings.ContainsAny(s, ".:") || strings.ToLower(s) != s
}

func checkHost(h string) error {
	if h == "" {
		return errdefs.Invalid("the host is empty")
	}
	name, port := h, ""
	if strings.HasPrefix(h, "[") {
		i := strings.IndexByte(h, ']')
		if i < 0 {
			return errdefs.Invalid("host %q: '[' without ']'", h)
		}
		if strings.Trim(h[1:i], "0123456789abcdefABCDEF:.") != "" || i == 1 {
			return errdefs.Invalid("host %q: not an IPv6 address", h)
		}
		name, port = "v6", h[i+1:]
		if port != "" && port[0] != ':' {
			return errdefs.Invalid("host %q: unexpected text after ']'", h)
		}
		port = strings.TrimPrefix(port, ":")
	} else if i := strings.IndexByte(h, ':'); i >= 0 {
		name, port = h[:i], h[i+1:]
		if port == "" {
			return errdefs.Invalid("host %q: no port after ':'", h)
		}
	}
	for _, c := range []byte(port) {
		if c < '0' || c > '9' {
			return errdefs.Invalid("host %q: %q is not a port", h, port)
		}
	}
	if len(port) > 5 {
		return errdefs.Invalid("host %q: %q is not a port", h, port)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return errdefs.Invalid("host %q: a part of it is empty or begins or ends with '-'", h)
		}
		for _, c := range []byte(label) {
			if !alnum(c) && c != '-' && (c < 'A' || c > 'Z') {
				return errdefs.Invalid("host %q: %q is not allowed in a host", h, string(rune(c)))
			}
		}
	}
	return nil
}

func checkRepository(p string) error {
	if p == "" {
		return errdefs.Invalid("the repository is empty")
	}
	for part := range strings.SplitSeq(p, "/") {
		if err := checkComponent(part); err != nil {
			return err
		}
	}
	return nil
}

// ValidRepository reports whether s is the path of a repository in a registry, at most 255 bytes long (distribution-spec, "Pulling manifests").
func ValidRepository(s string) bool {
	return len(s) <= maxName && checkRepository(s) == nil
}

// checkComponent follows [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*.
func checkComponent(s string) error {
	if s == "" {
		return errdefs.Invalid("a part of the repository is empty")
	}
	if !alnum(s[0]) || !alnum(s[len(s)-1]) {
		if strings.ToLower(s) != s {
			return errdefs.Invalid("%q: a repository is written in lower case", s)
		}
		return errdefs.Invalid("%q must begin and end with a lower-case letter or a digit", s)
	}
	for i := 0; i < len(s); {
		if alnum(s[i]) {
			i++
			continue
		}
		j := i
		for j < len(s) && !alnum(s[j]) {
			j++
		}
		switch sep := s[i:j]; {
		case sep == ".", sep == "_", sep == "__", strings.Trim(sep, "-") == "":
		case strings.ToLower(sep) != sep:
			return errdefs.Invalid("%q: a repository is written in lower case", s)
		default:
			return errdefs.Invalid("%q: %q is not allowed in a repository", s, sep)
		}
		i = j
	}
	return nil
}

// ValidTag reports whether s is a tag: [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}.
func ValidTag(s string) bool {
	if s == "" || len(s) > maxTag || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if !alnum(c) && (c < 'A' || c > 'Z') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

func alnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
