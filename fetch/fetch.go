// Package fetch says how people name what a build takes from other places: files by URL and
// git repositories. It parses names and describes results; it fetches nothing itself.
//
//	g, ok, err := fetch.ParseGit("https://example.com/app.git#v1:docker")
//	if !ok && fetch.IsHTTP(s) { ... }
//
// fetch/http gets files, fetch/git gets repositories. Both are for the engine, which gives them to the
// builder; the builder knows this package only, and so talks to nobody.
package fetch

import (
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/opencontainers/go-digest"
)

// Unnamed is the name of a file whose URL has none, as BuildKit has it.
const Unnamed = "__unnamed__"

// Progress is told how many bytes of a fetch have come, and of how many; total is 0 when
// that is not known. It may be nil.
type Progress func(current, total int64)

// URL is a file on a web server.
type URL struct {
	// URL is http:// or https://. It may hold a password: show it with Redact only.
	URL string
	// Checksum is what the content has to be; "" takes what comes.
	Checksum digest.Digest
}

// File is a file that was fetched.
type File struct {
	// Path is where it is: a regular file of mode 0600 whose time is ModTime. It is not to be changed.
	Path string
	// Digest is of the content, SHA-256, or of the algorithm of URL.Checksum when there is one.
	Digest digest.Digest
	// Size is in bytes.
	Size int64
	// ModTime is what the server says in Last-Modified, or 1970.
	ModTime time.Time
}

// Name is what a copy into a directory calls the file: the last component of the URL's path.
func (u URL) Name() string {
	p, err := url.Parse(u.URL)
	if err != nil {
		return Unnamed
	}
	base := path.Base(p.Path)
	if base == "." || base == "/" || base == ".." || strings.ContainsFunc(base, unicode.IsControl) {
		return Unnamed
	}
	return base
}

// IsHTTP reports whether s is the URL of a web server, and not of a git repository there.
func IsHTTP(s string) bool {
	if !hasHTTPScheme(s) {
		return false
	}
	_, isGit, _ := ParseGit(s)
	return !isGit
}

func hasHTTPScheme(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// Redact returns s for messages: a URL without its user name and password, other strings as they are.
func Redact(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 {
		return s
	}
	user := ""
	if scheme == "ssh" { // the name is no secret there, and a part of the address
		if name, _, hasPassword := strings.Cut(rest[:at], ":"); !hasPassword {
			user = name + "@"
		}
	}
	return scheme + "://" + user + rest[at+1:]
}
