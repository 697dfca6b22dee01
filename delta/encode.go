package delta

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// magic begins a document. What follows is a zstd frame (RFC 8878) of varints and texts, which are a length and bytes:
//
//	size of the pack
//	count of sources, then each
//	count of layers, then each: digest, diffID, size, recipe, offset and length of its sums,
//	    count of runs, then each: count, source+1 (0: fresh), first as the difference to where the last run with this source ended
//	    rest and fresh, each: count of units, then each: size, count of ways, then each:
//	        rank, length in the pack, count of refs, then each: source, member, offset, length
//
// The patches lie in the pack by rank, and those of one rank in the order of the document, from its first byte on.
const magic = "camada delta 1\n"

// Marshal returns the document as a blob.
func (d *Document) Marshal() ([]byte, error) {
	b := binary.AppendUvarint(nil, uint64(d.Size))
	b = binary.AppendUvarint(b, uint64(len(d.Sources)))
	for _, s := range d.Sources {
		b = appendText(b, s.String())
	}
	b = binary.AppendUvarint(b, uint64(len(d.Layers)))
	for i := range d.Layers {
		b = d.Layers[i].append(b)
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return z.EncodeAll(b, []byte(magic)), nil
}

func (l *Layer) append(b []byte) []byte {
	b = appendText(appendText(b, l.Digest.String()), l.DiffID.String())
	b = binary.AppendUvarint(b, uint64(l.Size))
	b = appendText(b, l.Recipe)
	b = appendNumbers(b, l.Sums.Offset, l.Sums.Length, int64(len(l.Runs)))
	ended := map[int]int{}
	for _, r := range l.Runs {
		b = appendNumbers(b, int64(r.Count), int64(r.Source+1))
		if r.Source >= 0 {
			b = binary.AppendVarint(b, int64(r.First-ended[r.Source]))
			ended[r.Source] = r.First + r.Count
		}
	}
	return appendUnits(appendUnits(b, l.Rest), l.Fresh)
}

func appendUnits(b []byte, units []Unit) []byte {
	b = appendNumbers(b, int64(len(units)))
	for i := range units {
		b = appendNumbers(b, int64(units[i].Size), int64(len(units[i].Ways)))
		for _, w := range units[i].Ways {
			b = appendNumbers(b, int64(w.Rank), w.Range.Length, int64(len(w.Refs)))
			for _, r := range w.Refs {
				b = appendNumbers(b, int64(r.Source), int64(r.Member), r.Offset, r.Length)
			}
		}
	}
	return b
}

// appendNumbers appends numbers that are not negative.
func appendNumbers(b []byte, numbers ...int64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// ways calls f for all ways in the order of the pack.
func (d *Document) ways(f func(*Way)) {
	var all []*Way
	for i := range d.Layers {
		for _, units := range [][]Unit{d.Layers[i].Rest, d.Layers[i].Fresh} {
			for u := range units {
				for w := range units[u].Ways {
					all = append(all, &units[u].Ways[w])
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *Way) int { return a.Rank - b.Rank })
	for _, w := range all {
		f(w)
	}
}

// place gives all ways their offsets, and returns where the last one ends.
func (d *Document) place() int64 {
	var at int64
	d.ways(func(w *Way) {
		w.Range.Offset = at
		at += w.Range.Length
	})
	return at
}

// algorithms that digests of a document may have.
func known(d digest.Digest) bool {
	return d.Validate() == nil && (d.Algorithm() == digest.SHA256 || d.Algorithm() == digest.SHA512)
}
