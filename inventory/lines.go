package inventory

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/harmless"
)

const (
	// maxLine is the length of a line of a database in bytes; the longest known are lists of
	// dependencies of some ten thousand.
	maxLine = 1 << 20
	// maxValue is the length of a name, version or any other text that is kept.
	maxValue = 1024
)

// eachLine calls fn with each line, without its end, and at last with an empty one, which ends a paragraph.
// The line is valid until fn returns.
func eachLine(r io.Reader, fn func(line []byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), maxLine)
	n := 0
	for s.Scan() {
		n++
		if err := fn(s.Bytes()); err != nil {
			return errdefs.Invalid("line %d: %w", n, err)
		}
	}
	if err := s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return errdefs.Limit("line %d is longer than %d bytes", n+1, maxLine)
		}
		return err
	}
	if err := fn(nil); err != nil {
		return errdefs.Invalid("line %d: %w", n, err)
	}
	return nil
}

// whole refuses a list that ends in the middle of a line: package managers end the last one as well, and themselves refuse another.
func whole(read func(Distribution, io.Reader) ([]Package, error)) func(Distribution, io.Reader) ([]Package, error) {
	return func(d Distribution, r io.Reader) ([]Package, error) {
		t := &tail{r: r, last: '\n'}
		pkgs, err := read(d, t)
		if err == nil && t.last != '\n' {
			return nil, errdefs.Invalid("it ends in the middle of a line, as if it had been cut off")
		}
		return pkgs, err
	}
}

// tail remembers the last byte that was read.
type tail struct {
	r    io.Reader
	last byte
}

// Read implements io.Reader.
func (t *tail) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n > 0 {
		t.last = p[n-1]
	}
	return n, err
}

// plain reports whether a text can be shown and compared: valid, not long, and without control characters.
func plain(s string) bool {
	return len(s) <= maxValue && utf8.ValidString(s) && !strings.ContainsFunc(s, harmless.Hidden)
}

// word reports whether a text is plain and without spaces, as names and versions are.
func word(s string) bool { return plain(s) && !strings.ContainsFunc(s, unicode.IsSpace) }

var errText = errors.New("a value with control characters, or a very long one")

// check is an error when a package that a database lists is none.
func (p *Package) check() error {
	switch {
	case p.Name == "":
		return errors.New("a package without a name")
	case p.Version == "":
		return errors.New("a package without a version")
	case !word(p.Name), !word(p.Version), !word(p.Arch), !word(p.Source), !word(p.SourceVersion):
		return errText
	}
	// These are texts for people only.
	if !plain(p.License) {
		p.License = ""
	}
	if !plain(p.Supplier) {
		p.Supplier = ""
	}
	return nil
}

// qualifiers writes those of a package URL, in order of their names.
type qualifiers struct {
	b         *strings.Builder
	separator byte
}

func (q *qualifiers) add(name, value string) {
	if value == "" {
		return
	}
	q.b.WriteByte(q.separator)
	q.separator = '&'
	q.b.WriteString(name + "=")
	escape(q.b, value)
}

// purl makes the package URL (purl-spec): type, namespace, name, version, and the qualifiers in order of their names.
func (p *Package) purl(d Distribution, namespace string) string {
	var b strings.Builder
	b.WriteString("pkg:" + p.Type + "/")
	escape(&b, strings.ToLower(namespace))
	b.WriteByte('/')
	escape(&b, strings.ToLower(p.Name))
	b.WriteByte('@')
	escape(&b, p.Version)
	q := qualifiers{b: &b, separator: '?'}
	q.add("arch", p.Arch)
	if d.ID != "" && d.VersionID != "" {
		q.add("distro", d.ID+"-"+d.VersionID)
	} else if d.ID != "" && d.Codename != "" {
		q.add("distro", d.Codename)
	}
	if p.Source != p.Name || p.SourceVersion != p.Version {
		up := p.Source
		if p.SourceVersion != p.Version {
			up += "@" + p.SourceVersion
		}
		q.add("upstream", up)
	}
	return b.String()
}

// escape writes s percent-encoded: all but letters, digits and the five marks that purl-spec leaves as they are.
func escape(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~:", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
}
