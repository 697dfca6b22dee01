package delta

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// piece is a part of a content that is fresh.
type piece struct {
	index          int // of the content
	offset, length int64
}

// group cuts the fresh contents into the pieces of units: small ones together, those that are too big in parts.
func group(contents []file, fresh []int, most int64) (units [][]piece) {
	var cur []piece
	var size int64
	flush := func() {
		if len(cur) > 0 {
			units = append(units, cur)
		}
		cur, size = nil, 0
	}
	for _, i := range fresh {
		n := contents[i].at.Length
		if size+n > unitSize {
			flush()
		}
		if n <= most {
			cur, size = append(cur, piece{i, 0, n}), size+n
			continue
		}
		for at := int64(0); at < n; at += most / 4 {
			units = append(units, []piece{{i, at, min(most/4, n-at)}})
		}
	}
	flush()
	return units
}

// fresh makes the units of the contents that no source has.
func (m *maker) fresh(ctx context.Context, s *scanned, fresh []int, p *pairs) ([]Unit, error) {
	var units []Unit
	for _, pieces := range group(s.contents, fresh, m.most) {
		var data []byte
		for _, f := range pieces {
			var err error
			if data, err = read(m.contents, Range{s.contents[f.index].at.Offset + f.offset, f.length}, data); err != nil {
				return nil, err
			}
		}
		refs := make([][]Ref, len(m.versions))
		for v := range refs {
			room := m.most
			for _, f := range pieces {
				if r, ok := m.old(p, v, &s.contents[f.index], f); ok && r.Length <= room {
					refs[v], room = append(refs[v], r), room-r.Length
				}
			}
		}
		u, err := m.unit(ctx, data, refs)
		if err != nil {
			return nil, err
		}
		units = append(units, u)
	}
	return units, nil
}

// old is what a version has in the place of a piece: all of the file, or, when it is too big, what is around the same place.
func (m *maker) old(p *pairs, version int, c *file, f piece) (Ref, bool) {
	at, ok := p.before(version, c)
	if !ok {
		return Ref{}, false
	}
	n := m.sources[at.source].contents[at.index].at.Length
	offset, length := m.around(f.offset, f.length, c.at.Length, n)
	return Ref{Source: at.source, Member: at.index + 1, Offset: offset, Length: length}, length > 0
}

// around is the part of an old file of so many bytes that corresponds to a part of a fresh one, with some before it and after it.
func (m *maker) around(offset, length, fresh, old int64) (from, n int64) {
	if old <= m.most {
		return 0, old
	}
	middle := int64(float64(offset+length/2) / float64(max(fresh, 1)) * float64(old))
	from = min(max(middle-m.most/2, 0), old-m.most)
	return from, m.most
}

// rest makes the units of a tar's rest, from those of the layers that most of its contents come from.
func (m *maker) rest(ctx context.Context, s *scanned, l *Layer, but digest.Digest) ([]Unit, error) {
	count := make([]int, len(m.sources))
	for _, r := range l.Runs {
		if r.Source >= 0 {
			count[r.Source] += r.Count
		}
	}
	best := make([]int, len(m.versions))
	for v, sources := range m.versions {
		best[v] = -1
		for _, i := range slices.Backward(sources) {
			if m.sources[i].id != but && m.sources[i].rest.Length > 0 && (best[v] < 0 || count[i] > count[best[v]]) {
				best[v] = i
			}
		}
	}
	var units []Unit
	for at := int64(0); at < s.rest.Length; at += m.most / 4 {
		n := min(m.most/4, s.rest.Length-at)
		data, err := read(m.rests, Range{s.rest.Offset + at, n}, nil)
		if err != nil {
			return nil, err
		}
		refs := make([][]Ref, len(m.versions))
		for v, i := range best {
			if i >= 0 {
				offset, length := m.around(at, n, s.rest.Length, m.sources[i].rest.Length)
				refs[v] = []Ref{{Source: i, Offset: offset, Length: length}}
			}
		}
		u, err := m.unit(ctx, data, refs)
		if err != nil {
			return nil, err
		}
		units = append(units, u)
	}
	return units, nil
}

// unit makes the ways to some bytes: from nothing, and from what each version has.
func (m *maker) unit(ctx context.Context, data []byte, refs [][]Ref) (Unit, error) {
	u := Unit{Size: len(data)}
	whole, err := m.way(nil, len(refs), nil, data)
	if err != nil {
		return u, err
	}
	for v := range refs {
		if err := ctx.Err(); err != nil {
			return u, err
		}
		if len(refs[v]) == 0 || slices.ContainsFunc(refs[:v], func(r []Ref) bool { return slices.Equal(r, refs[v]) }) {
			continue
		}
		var old []byte
		for _, r := range refs[v] {
			if old, err = m.read(r, old); err != nil {
				return u, err
			}
		}
		w, err := m.way(refs[v], v, old, data)
		if err != nil {
			return u, err
		}
		// What saves little is not worth its place.
		if w.Range.Length < whole.Range.Length*9/10 {
			u.Ways = append(u.Ways, w)
		}
	}
	u.Ways = append(u.Ways, whole)
	return u, nil
}

// way makes and keeps a patch.
func (m *maker) way(refs []Ref, rank int, old, data []byte) (Way, error) {
	p := m.patch.Make(old, data)
	w := Way{Rank: rank, Refs: refs, Range: Range{0, int64(len(p))}, made: m.made.size}
	_, err := m.made.Write(p)
	return w, err
}

// read appends what a ref names.
func (m *maker) read(r Ref, to []byte) ([]byte, error) {
	s := m.sources[r.Source]
	if r.Member == 0 {
		return read(m.rests, Range{s.rest.Offset + r.Offset, r.Length}, to)
	}
	return read(m.contents, Range{s.contents[r.Member-1].at.Offset + r.Offset, r.Length}, to)
}

// read appends a piece of a spool.
func read(s *spool, at Range, to []byte) ([]byte, error) {
	n := len(to)
	to = slices.Grow(to, int(at.Length))[:n+int(at.Length)]
	if m, err := s.ReadAt(to[n:], at.Offset); m < int(at.Length) {
		return nil, fmt.Errorf("read a temporary file: %w", err)
	}
	return to, nil
}
