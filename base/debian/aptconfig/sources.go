package aptconfig

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/camada/camada/base/debian/control"
	"github.com/camada/camada/errdefs"
)

// ParseList reads the one-line form:
//
//	deb [ signed-by=FILE ] URI suite component...
//
// Errors are of class ErrInvalid.
func ParseList(r io.Reader) ([]Source, error) {
	var all []Source
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		typ, rest, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), " ")
		if typ == "" || typ == "deb-src" {
			continue
		}
		if typ != "deb" {
			return nil, errdefs.Invalid("line %d: %q is no type of source", n, typ)
		}
		var s Source
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			opts, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				return nil, errdefs.Invalid("line %d: no ] after [", n)
			}
			s.setOptions(opts)
			rest = after
		}
		words := strings.Fields(rest)
		if len(words) < 2 {
			return nil, errdefs.Invalid("line %d: want deb URI suite component...", n)
		}
		s.URIs, s.Suites, s.Components = words[:1:1], words[1:2:2], words[2:]
		all = append(all, s)
	}
	if err := lines.Err(); err != nil {
		return nil, errdefs.With(errdefs.ErrInvalid, err)
	}
	return all, nil
}

func (s *Source) setOptions(opts string) {
	for opt := range strings.FieldsSeq(opts) {
		k, v, _ := strings.Cut(opt, "=")
		values := strings.Split(v, ",")
		switch strings.ToLower(strings.TrimRight(k, "+-")) {
		case "arch":
			s.Architectures = values
		case "signed-by":
			s.addKeys(values)
		case "check-valid-until":
			s.NoValidUntil = isNo(v)
		}
	}
}

// ParseSources reads the form of .sources files (deb822). Errors are of class
// ErrInvalid or ErrLimit.
func ParseSources(r io.Reader) ([]Source, error) {
	var all []Source
	paragraphs := control.NewReader(r)
	for {
		p, err := paragraphs.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(p) == 0 || !slices.Contains(p.Words("Types"), "deb") || isNo(p.Get("Enabled")) {
			continue
		}
		s := Source{
			URIs:          p.Words("URIs"),
			Suites:        p.Words("Suites"),
			Components:    p.Words("Components"),
			Architectures: p.Words("Architectures"),
			NoValidUntil:  isNo(p.Get("Check-Valid-Until")),
		}
		if len(s.URIs) == 0 || len(s.Suites) == 0 {
			return nil, errdefs.Invalid("a source without URIs or Suites")
		}
		if by := p.Get("Signed-By"); strings.Contains(by, "-----BEGIN") {
			s.Key = inlineKey(by)
		} else {
			s.addKeys(strings.FieldsFunc(by, func(r rune) bool { return r == ',' || r <= ' ' }))
		}
		all = append(all, s)
	}
}

func (s *Source) addKeys(values []string) {
	for _, v := range values {
		if strings.HasPrefix(v, "/") {
			s.SignedBy = append(s.SignedBy, v)
		} else if v != "" {
			s.Fingerprints = append(s.Fingerprints, strings.ToUpper(strings.TrimSuffix(v, "!")))
		}
	}
}

// inlineKey undoes what a field's form does to a key: a space before each line, and
// a dot for an empty line.
func inlineKey(field string) string {
	lines := strings.Split(strings.TrimSpace(field), "\n")
	for i, l := range lines {
		if lines[i] = strings.TrimSpace(l); lines[i] == "." {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func isNo(v string) bool {
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "no", "false", "without", "off", "disable", "0":
		return true
	}
	return false
}
