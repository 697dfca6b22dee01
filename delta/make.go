package delta

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/camada/camada/delta/patch"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// Target is a layer that is published.
type Target struct {
	Source
	// Digest of its blob, and the blob's first bytes: see compression.DetectLen.
	Digest digest.Digest
	Head   []byte
}

// MakeOptions shape a publication.
type MakeOptions struct {
	// Dir is where temporary files go: as much as all tars, uncompressed.
	Dir string
	// Unit is how much of a layer is patched at once, in bytes: publishing takes eight times as much memory, making the layer three times. 0 means
	// patch.Max, which is the most.
	Unit int
}

// Published is a document and its pack.
type Published struct {
	Document *Document
	// Skipped are layers without a delta, with the reason.
	Skipped []error
	pack    *spool
}

// Pack reads the pack.
func (p *Published) Pack() *io.SectionReader { return p.pack.section(Range{0, p.Document.Size}) }

// Close removes the pack.
func (p *Published) Close() error { return p.pack.Close() }

// Make works out how the targets are made from what earlier versions of the image have; of each version all layers, the base first, and the
// version that most machines have first. There are at most maxWays-1 versions. A target that is in all versions is left out, and so is one that cannot be made again
// to the bit (no recipe gives its blob's digest) or is no tar.
func Make(ctx context.Context, targets []Target, versions [][]Source, opts MakeOptions) (*Published, error) {
	m := &maker{doc: &Document{}, versions: make([][]int, len(versions)), most: int64(opts.Unit)}
	if m.most <= 0 || m.most > patch.Max {
		m.most = patch.Max
	}
	defer m.close()
	if len(versions) == 0 || len(versions) >= maxWays {
		return nil, errdefs.Invalid("make deltas: %d earlier versions, want 1 to %d", len(versions), maxWays-1)
	}
	for _, s := range []**spool{&m.contents, &m.rests, &m.made} {
		var err error
		if *s, err = newSpool(opts.Dir); err != nil {
			return nil, err
		}
	}
	var err error
	if m.patch, err = patch.NewMaker(); err != nil {
		return nil, err
	}
	if err := m.scanSources(ctx, versions); err != nil {
		return nil, fmt.Errorf("make deltas: %w", err)
	}
	pub := &Published{Document: m.doc}
	for i, t := range targets {
		if m.everywhere(t.DiffID) {
			continue
		}
		err := m.target(ctx, t)
		switch {
		case unfit(err):
			pub.Skipped = append(pub.Skipped, fmt.Errorf("layer %d, %s: %w", i+1, t.Digest, err))
		case err != nil:
			return nil, fmt.Errorf("make a delta of layer %s: %w", t.Digest, err)
		}
	}
	if pub.pack, err = newSpool(opts.Dir); err != nil {
		return nil, err
	}
	if err := m.pack(pub.pack); err != nil {
		pub.Close()
		return nil, err
	}
	return pub, nil
}

// unfit reports whether a layer cannot have a delta, whereas others can.
func unfit(err error) bool {
	return errdefs.IsUnsupported(err) || errdefs.IsLimit(err) || errdefs.IsCorrupt(err)
}

// maker makes deltas.
type maker struct {
	doc      *Document
	patch    *patch.Maker
	sources  []*scanned
	versions [][]int // the sources of each
	// contents, rests and made are what was scanned, and patches.
	contents, rests, made *spool
	sums                  [][]byte // of each layer
	most                  int64    // how big a unit may be
}

func (m *maker) close() {
	for _, s := range []*spool{m.contents, m.rests, m.made} {
		if s != nil {
			s.Close()
		}
	}
}

// scanSources takes the layers of the versions apart, each once. Of one that is no tar nothing is used.
func (m *maker) scanSources(ctx context.Context, versions [][]Source) error {
	known := map[digest.Digest]int{}
	for v, layers := range versions {
		for _, src := range layers {
			i, ok := known[src.DiffID]
			if !ok {
				if len(m.sources) == maxSources {
					return errdefs.Limit("more than %d layers", maxSources)
				}
				s, err := scan(ctx, src, m.contents, m.rests, io.Discard)
				if unfit(err) {
					s = &scanned{id: src.DiffID}
				} else if err != nil {
					return fmt.Errorf("read layer %s: %w", src.DiffID, err)
				}
				i = len(m.sources)
				known[src.DiffID] = i
				m.sources, m.doc.Sources = append(m.sources, s), append(m.doc.Sources, src.DiffID)
			}
			m.versions[v] = append(m.versions[v], i)
		}
	}
	return nil
}

// everywhere reports whether all versions have a layer.
func (m *maker) everywhere(id digest.Digest) bool {
	return !slices.ContainsFunc(m.versions, func(v []int) bool {
		return !slices.ContainsFunc(v, func(i int) bool { return m.doc.Sources[i] == id })
	})
}

// target works out one layer.
func (m *maker) target(ctx context.Context, t Target) error {
	contents, rests := m.contents.size, m.rests.size
	// What the spools got of it is of no more use when it is done.
	defer func() { m.contents.truncate(contents); m.rests.truncate(rests) }()
	s, recipe, err := m.scanTarget(ctx, t)
	if err != nil {
		return err
	}
	l := Layer{Digest: t.Digest, DiffID: t.DiffID, Size: s.size, Recipe: recipe}
	p := newPairs(m, t.DiffID)
	fresh := l.run(s.contents, p)
	if l.Fresh, err = m.fresh(ctx, s, fresh, p); err != nil {
		return err
	}
	if l.Rest, err = m.rest(ctx, s, &l, t.DiffID); err != nil {
		return err
	}
	m.doc.Layers = append(m.doc.Layers, l)
	m.sums = append(m.sums, m.sumsOf(&l))
	return nil
}

// scanTarget takes a layer apart and finds out its recipe.
func (m *maker) scanTarget(ctx context.Context, t Target) (s *scanned, recipe string, err error) {
	for _, recipe := range Candidates(t.Head) {
		sum := t.Digest.Algorithm().Hash()
		z, err := Compress(sum, recipe)
		if err != nil {
			return nil, "", err
		}
		if s == nil {
			s, err = scan(ctx, t.Source, m.contents, m.rests, z)
		} else {
			err = again(ctx, t.Source, z)
		}
		if err = errors.Join(err, z.Close()); err != nil {
			return nil, "", err
		}
		if digest.NewDigest(t.Digest.Algorithm(), sum) == t.Digest {
			return s, recipe, nil
		}
	}
	return nil, "", errdefs.Unsupported("its compression cannot be made again")
}

// again reads a tar once more.
func again(ctx context.Context, src Source, w io.Writer) error {
	tar, err := src.Open(ctx)
	if err != nil {
		return err
	}
	defer tar.Close()
	_, err = io.Copy(w, tar)
	return err
}

// run sets the runs of the contents, and returns those that no source has.
func (l *Layer) run(contents []file, p *pairs) (fresh []int) {
	for i := range contents {
		at, ok := p.same(&contents[i], l.Runs)
		if !ok {
			at = place{-1, 0}
			fresh = append(fresh, i)
		}
		if n := len(l.Runs) - 1; n >= 0 && l.Runs[n].Source == at.source && (!ok || l.Runs[n].First+l.Runs[n].Count == at.index) {
			l.Runs[n].Count++
			continue
		}
		l.Runs = append(l.Runs, Run{Count: 1, Source: at.source, First: at.index})
	}
	return fresh
}

// sumsOf are the sums of a layer: see Layer.Sums.
func (m *maker) sumsOf(l *Layer) (sums []byte) {
	for _, r := range l.Runs {
		for i := range r.Count {
			if r.Source >= 0 {
				sums = append(sums, m.sources[r.Source].contents[r.First+i].sum[:8]...)
			}
		}
	}
	for _, units := range [][]Unit{l.Rest, l.Fresh} {
		for i := range units {
			for _, w := range units[i].Ways {
				for _, r := range w.Refs {
					if r.Member > 0 {
						sums = append(sums, m.sources[r.Source].contents[r.Member-1].sum[:8]...)
					}
				}
			}
		}
	}
	return sums
}

// pack writes patches and sums in their order.
func (m *maker) pack(w *spool) error {
	var err error
	m.doc.ways(func(way *Way) {
		if err == nil {
			way.Range.Offset = w.size
			_, err = io.Copy(w, m.made.section(Range{way.made, way.Range.Length}))
		}
	})
	for i, sums := range m.sums {
		m.doc.Layers[i].Sums = Range{w.size, int64(len(sums))}
		if err == nil {
			_, err = w.Write(sums)
		}
	}
	m.doc.Size = w.size
	return err
}

// shortSums reads what sumsOf wrote.
func shortSums(b []byte) []uint64 {
	sums := make([]uint64, len(b)/8)
	for i := range sums {
		sums[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return sums
}
