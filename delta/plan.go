package delta

import (
	"context"

	"github.com/camada/camada/delta/patch"
	"github.com/opencontainers/go-digest"
)

// Lacking is a layer that a machine has not got.
type Lacking struct {
	// Digest and Size of its blob, and its diffID.
	Digest, DiffID digest.Digest
	Size           int64
}

// Here is what a machine has.
type Here struct {
	// Has reports whether the layer of a diffID is here.
	Has func(digest.Digest) bool
	// Find returns layers that are here and have contents of wanted sums (the first eight bytes of their SHA-256), and which sums they have. It may
	// be nil. It is asked only when a source of the document is not here.
	Find func(ctx context.Context, wanted map[uint64]bool) (map[uint64]digest.Digest, error)
	// Pack reads a piece of the pack into memory.
	Pack func(ctx context.Context, at Range) ([]byte, error)
}

// Plan says which layers are made from what is here.
type Plan struct {
	Layers []LayerPlan
	doc    *Document
	// found are layers that have contents of sources that are not here.
	found map[uint64]digest.Digest
	has   []bool // of each source
}

// LayerPlan is how one layer is made.
type LayerPlan struct {
	*Layer
	// Bytes of the pack that it takes, and Plain of its blob.
	Bytes, Plain int64
	rest, fresh  []*Way // of each unit
	sums         *sums  // nil when all sources are here
}

// Plan chooses the layers that take fewer bytes than their blobs.
func (d *Document) Plan(ctx context.Context, lacking []Lacking, here Here) (*Plan, error) {
	p := &Plan{doc: d, found: map[uint64]digest.Digest{}, has: make([]bool, len(d.Sources))}
	for i, id := range d.Sources {
		p.has[i] = here.Has(id)
	}
	for _, want := range lacking {
		for i := range d.Layers {
			l := &d.Layers[i]
			if l.Digest != want.Digest || l.DiffID != want.DiffID {
				continue
			}
			lp := LayerPlan{Layer: l, Plain: want.Size}
			if err := p.lookElsewhere(ctx, &lp, here); err != nil {
				return nil, err
			}
			if p.choose(&lp) && lp.Bytes < want.Size {
				p.Layers = append(p.Layers, lp)
			}
			break
		}
	}
	return p, nil
}

// Bytes of the pack that the plan takes, and Plain what the blobs of its layers take.
func (p *Plan) Bytes() (n, plain int64) {
	for i := range p.Layers {
		n, plain = n+p.Layers[i].Bytes, plain+p.Layers[i].Plain
	}
	return n, plain
}

// sums knows the sums of the contents of sources: those of runs in order, and those of members that units refer to.
type sums struct {
	runs []uint64
	refs map[Ref]uint64
}

// sums takes apart what Layer.Sums has; nil when it has another number of sums.
func (l *Layer) sums(all []uint64) *sums {
	s := &sums{refs: map[Ref]uint64{}}
	n := 0
	for _, r := range l.Runs {
		if r.Source >= 0 {
			n += r.Count
		}
	}
	if len(all) < n {
		return nil
	}
	s.runs, all = all[:n], all[n:]
	for _, units := range [][]Unit{l.Rest, l.Fresh} {
		for i := range units {
			for _, w := range units[i].Ways {
				for _, r := range w.Refs {
					if r.Member == 0 {
						continue
					}
					if len(all) == 0 {
						return nil
					}
					s.refs[r], all = all[0], all[1:]
				}
			}
		}
	}
	return s
}

// lookElsewhere asks for what sources have that are not here.
func (p *Plan) lookElsewhere(ctx context.Context, lp *LayerPlan, here Here) error {
	missing := false
	for _, r := range lp.Runs {
		missing = missing || r.Source >= 0 && !p.has[r.Source]
	}
	// Sums that cost more than they can save are left alone.
	if !missing || here.Find == nil || lp.Sums.Length == 0 || lp.Sums.Length > lp.Plain/4 {
		return nil
	}
	data, err := here.Pack(ctx, lp.Sums)
	if err != nil {
		return err
	}
	if lp.sums = lp.Layer.sums(shortSums(data)); lp.sums == nil {
		return nil
	}
	lp.Bytes += lp.Sums.Length
	wanted := map[uint64]bool{}
	at := 0
	for _, r := range lp.Runs {
		if r.Source < 0 {
			continue
		}
		for _, sum := range lp.sums.runs[at : at+r.Count] {
			if !p.has[r.Source] {
				wanted[sum] = true
			}
		}
		at += r.Count
	}
	for r, sum := range lp.sums.refs {
		if !p.has[r.Source] {
			wanted[sum] = true
		}
	}
	found, err := here.Find(ctx, wanted)
	for sum, id := range found {
		p.found[sum] = id
	}
	return err
}

// choose takes the smallest way to each unit, and reports whether the layer can be made.
func (p *Plan) choose(lp *LayerPlan) bool {
	at := 0
	for _, r := range lp.Runs {
		if r.Source < 0 {
			continue
		}
		if !p.has[r.Source] {
			if lp.sums == nil {
				return false
			}
			for _, sum := range lp.sums.runs[at : at+r.Count] {
				if _, ok := p.found[sum]; !ok {
					return false
				}
			}
		}
		at += r.Count
	}
	for _, s := range []struct {
		units []Unit
		ways  *[]*Way
	}{{lp.Rest, &lp.rest}, {lp.Fresh, &lp.fresh}} {
		for i := range s.units {
			w := p.way(lp, s.units[i].Ways)
			if w == nil {
				return false
			}
			*s.ways = append(*s.ways, w)
			lp.Bytes += w.Range.Length
		}
	}
	return true
}

// way returns the smallest way that can be gone from here; nil for none.
func (p *Plan) way(lp *LayerPlan, ways []Way) (best *Way) {
	for i := range ways {
		w := &ways[i]
		ok := w.Range.Length <= 2*patch.Max && (best == nil || w.Range.Length < best.Range.Length)
		for _, r := range w.Refs {
			ok = ok && p.reachable(lp, r)
		}
		if ok {
			best = w
		}
	}
	return best
}

func (p *Plan) reachable(lp *LayerPlan, r Ref) bool {
	if p.has[r.Source] {
		return true
	}
	if lp.sums == nil || r.Member == 0 {
		return false
	}
	_, ok := p.found[lp.sums.refs[r]]
	return ok
}
