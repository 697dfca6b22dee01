package delta

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/camada/camada/delta/patch"
	"github.com/camada/camada/errdefs"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// Parse reads a document and checks all of it; ErrCorrupt when anything is wrong. It keeps nothing of data.
func Parse(data []byte) (*Document, error) {
	if len(data) > MaxDocument {
		return nil, errdefs.Limit("delta: a document of %d bytes", len(data))
	}
	frame, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		return nil, errdefs.Corrupt("delta: no document, or one of another version")
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody), zstd.WithDecoderMaxWindow(maxBody))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	defer z.Close()
	body, err := z.DecodeAll(frame, nil)
	if err != nil {
		return nil, errdefs.Corrupt("delta: document: %w", err)
	}
	d := &decoder{b: body}
	doc := &Document{Size: d.number(maxPack)}
	doc.Sources = make([]digest.Digest, d.count(maxSources))
	for i := range doc.Sources {
		doc.Sources[i] = d.digest()
	}
	doc.Layers = make([]Layer, d.count(maxLayers))
	for i := range doc.Layers {
		d.layer(&doc.Layers[i], doc)
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail()
	}
	if d.err == nil && doc.place() > doc.Size {
		d.fail()
	}
	if d.err != nil {
		return nil, d.err
	}
	return doc, nil
}

// decoder reads the fields of a document. After its first error it reads nothing.
type decoder struct {
	b    []byte
	refs int
	err  error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errdefs.Corrupt("delta: malformed document")
	}
	d.b = nil
}

// number reads a number of at most limit.
func (d *decoder) number(limit int64) int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > uint64(limit) {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return int64(v)
}

// count reads how many of something follow, each of which takes a byte at least.
func (d *decoder) count(limit int) int { return int(d.number(int64(min(limit, len(d.b))))) }

func (d *decoder) signed() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) text(limit int) string {
	n := d.count(limit)
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) digest() digest.Digest {
	dgst := digest.Digest(d.text(200))
	if d.err == nil && !known(dgst) {
		d.fail()
	}
	return dgst
}

func (d *decoder) layer(l *Layer, doc *Document) {
	l.Digest, l.DiffID = d.digest(), d.digest()
	l.Size = d.number(maxTar)
	l.Recipe = d.text(40)
	l.Sums = Range{d.number(doc.Size), d.number(doc.Size)}
	if l.Sums.Offset+l.Sums.Length > doc.Size || l.Sums.Length > maxSums {
		d.fail()
	}
	l.Runs = make([]Run, d.count(maxMembers))
	ended := make(map[int]int64)
	total := 0
	for i := range l.Runs {
		r := Run{Count: int(d.number(maxMembers)), Source: int(d.number(int64(len(doc.Sources)))) - 1}
		if r.Source >= 0 {
			first := ended[r.Source] + d.signed()
			ended[r.Source] = first + int64(r.Count)
			if first < 0 || ended[r.Source] > maxMembers {
				d.fail()
			}
			r.First = int(first)
		}
		if total += r.Count; total > maxMembers || r.Count == 0 {
			d.fail()
		}
		if d.err != nil {
			return
		}
		l.Runs[i] = r
	}
	l.Rest = d.units(doc, l.Size)
	l.Fresh = d.units(doc, l.Size)
}

// units reads the units of a stream that has at most size bytes.
func (d *decoder) units(doc *Document, size int64) []Unit {
	units := make([]Unit, d.count(maxUnits))
	var total int64
	for i := range units {
		u := &units[i]
		u.Size = int(d.number(patch.Max))
		if total += int64(u.Size); total > size || u.Size == 0 {
			d.fail()
		}
		u.Ways = make([]Way, d.count(maxWays))
		for w := range u.Ways {
			d.way(&u.Ways[w], doc)
		}
		if d.err != nil {
			return nil
		}
	}
	return units
}

func (d *decoder) way(w *Way, doc *Document) {
	w.Rank = int(d.number(maxWays))
	w.Range.Length = d.number(doc.Size)
	w.Refs = make([]Ref, d.count(maxRefs))
	if d.refs += len(w.Refs); d.refs > maxRefs {
		d.fail()
	}
	var total int64
	for i := range w.Refs {
		if d.err != nil {
			return
		}
		r := Ref{Source: int(d.number(maxSources)), Member: int(d.number(maxMembers)), Offset: d.number(maxTar), Length: d.number(patch.Max)}
		if total += r.Length; total > patch.Max || r.Source >= len(doc.Sources) {
			d.fail()
		}
		w.Refs[i] = r
	}
}
