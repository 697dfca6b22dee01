package delta

import (
	"crypto/sha256"
	"slices"

	"github.com/opencontainers/go-digest"
)

// place is a content of a source.
type place struct{ source, index int }

// pairs finds for the contents of a layer what the sources have in their place.
type pairs struct {
	m     *maker
	sums  map[[sha256.Size]byte]place
	names []map[string]place // of each version: by name, and by name without digits
}

// newPairs prepares the sources, without the layer itself: it may be in some version.
func newPairs(m *maker, but digest.Digest) *pairs {
	p := &pairs{m: m, sums: make(map[[sha256.Size]byte]place), names: make([]map[string]place, len(m.versions))}
	for v, sources := range m.versions {
		names := make(map[string]place)
		// The topmost layer first: that is the file that a container sees.
		for _, s := range slices.Backward(sources) {
			if m.sources[s].id == but {
				continue
			}
			for i := range m.sources[s].contents {
				c, at := &m.sources[s].contents[i], place{s, i}
				if _, ok := p.sums[c.sum]; !ok {
					p.sums[c.sum] = at
				}
				for _, key := range []string{c.name, "\x00" + undigited(c.name)} {
					if _, ok := names[key]; !ok {
						names[key] = at
					}
				}
			}
		}
		p.names[v] = names
	}
	return p
}

// same finds a content with the same bytes; where the last run goes on, if it is there.
func (p *pairs) same(c *file, runs []Run) (place, bool) {
	if n := len(runs) - 1; n >= 0 && runs[n].Source >= 0 {
		at := place{runs[n].Source, runs[n].First + runs[n].Count}
		if s := p.m.sources[at.source].contents; at.index < len(s) && s[at.index].sum == c.sum {
			return at, true
		}
	}
	at, ok := p.sums[c.sum]
	return at, ok
}

// before finds what a version has in the place of a content: a file of the same name, or of nearly the same.
func (p *pairs) before(version int, c *file) (place, bool) {
	at, ok := p.names[version][c.name]
	if !ok {
		at, ok = p.names[version]["\x00"+undigited(c.name)]
	}
	return at, ok
}
