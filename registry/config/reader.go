package config

import (
	"net/netip"
	"path/filepath"

	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/internal/yamltree"
)

// section is a map of the text, in which paths begin at a directory.
type section struct {
	*yamltree.Section
	dir string
}

// section returns the map below a key, an empty one when there is none.
func (s *section) section(key string) *section { return &section{s.Section.Section(key), s.dir} }

// sections returns the maps of a list.
func (s *section) sections(key string) []*section {
	var out []*section
	for _, e := range s.Sections(key) {
		out = append(out, &section{e, s.dir})
	}
	return out
}

// file is a path; one that is not absolute begins at the directory of the text.
func (s *section) file(key string) string {
	return s.join(s.Text(key))
}

// join is a path from the directory of the text.
func (s *section) join(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(s.dir, p)
}

// patterns is a list of patterns, at least one.
func (s *section) patterns(key string) []string {
	list := s.Texts(key)
	if len(list) == 0 {
		s.Bad(s.Path, "%s is missing", key)
	}
	for _, p := range list {
		if err := pattern.Check(p); err != nil {
			s.Bad(s.Sub(key), "%w", err)
		}
	}
	return list
}

// networks are addresses or networks.
func (s *section) networks(key string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range s.Texts(key) {
		if a, err := netip.ParseAddr(t); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(t)
		if err != nil {
			s.Bad(s.Sub(key), "%q is neither an address nor a network", t)
			continue
		}
		out = append(out, p.Masked())
	}
	return out
}
