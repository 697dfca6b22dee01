// Package patch makes small patches between two versions of a file, and applies them.
//
//	m, err := patch.NewMaker()
//	p := m.Make(old, new)               // a few percent of new when it is the same program, compiled again
//	a, err := patch.NewApplier()
//	new, err := a.Apply(p, old, size)
//
// A patch is a list of steps: bytes that are those of the old file plus a difference, which is zero nearly everywhere, and bytes
// that are new. With an empty old file all are new, and the patch is the file, compressed. The format:
//
//	version (a byte, 1) | steps | new bytes | count of differences | differences
//
// Steps (for each: how many bytes are added, how many are inserted, how far the place in the old file moves after it) and new
// bytes are each: length, compressed length, a zstd frame (RFC 8878). Numbers are varints. The differences are what an arithmetic coder
// made of them with the predictions of a model (type model) that sees the old file too: half of what zstd makes of them.
//
// A patch says nothing of what it belongs to: whoever keeps it checks the digests of what comes out. Applying a patch that
// somebody forged does no harm: it takes memory for the old file and twice the new one, and makes something, or ends with ErrCorrupt.
package patch

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/camada/camada/errdefs"
	"github.com/klauspost/compress/zstd"
)

// Max is how many bytes the old and the new file may have each; bigger ones are patched in parts.
const Max = 32 << 20

// version is the first byte of a patch.
const version = 1

// Maker makes patches. It is used by one goroutine at a time.
type Maker struct {
	best *zstd.Encoder
	fast *zstd.Encoder // for what is so big that best would take too long

	tables *tables
}

// slow is how many bytes best compresses in a second or less.
const slow = 4 << 20

// NewMaker returns a Maker.
func NewMaker() (*Maker, error) {
	m := &Maker{tables: newTables()}
	for z, level := range map[**zstd.Encoder]zstd.EncoderLevel{&m.best: zstd.SpeedBestCompression, &m.fast: zstd.SpeedBetterCompression} {
		var err error
		*z, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(8<<20))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
	}
	return m, nil
}

// Make returns what makes fresh of old. Both have at most Max bytes.
func (m *Maker) Make(old, fresh []byte) []byte {
	var steps []placed
	if len(old) == 0 {
		steps = []placed{{step: step{insert: len(fresh)}}}
	} else {
		d := differ{old: old, new: fresh, places: newPlaces(old), emit: func(s step, at, from int) { steps = append(steps, placed{s, at, from}) }}
		d.run()
	}
	var control, inserted []byte
	differences := 0
	for _, s := range steps {
		control = binary.AppendUvarint(control, uint64(s.add))
		control = binary.AppendUvarint(control, uint64(s.insert))
		control = binary.AppendVarint(control, int64(s.seek))
		inserted = append(inserted, fresh[s.at+s.add:s.at+s.add+s.insert]...)
		differences += s.add
	}
	p := []byte{version}
	for i, part := range [][]byte{control, inserted} {
		z := m.best
		if i == 1 && len(part) > slow {
			z = m.fast
		}
		packed := z.EncodeAll(part, nil)
		p = binary.AppendUvarint(p, uint64(len(part)))
		p = binary.AppendUvarint(p, uint64(len(packed)))
		p = append(p, packed...)
	}
	p = binary.AppendUvarint(p, uint64(differences))
	if differences == 0 {
		return p
	}
	return append(p, encode(newModel(m.tables, differences), steps, old, fresh)...)
}

// placed is a step, and where it begins in the new and the old file.
type placed struct {
	step
	at, from int
}

// encode codes the differences of all steps.
func encode(m *model, steps []placed, old, fresh []byte) []byte {
	e := newEncoder()
	for _, s := range steps {
		for i := 0; i < s.add; {
			if m.skips(s.add - i) {
				zero := bytes.Equal(fresh[s.at+i:s.at+i+stride], old[s.from+i:s.from+i+stride])
				if m.skip(e, zero) {
					i += stride
					continue
				}
			}
			// What is no skip is coded one by one, up to where the next flag may come.
			m.difference(e, fresh[s.at+i]-old[s.from+i], old, s.from+i)
			i++
		}
	}
	return e.end()
}

// Applier applies patches. It is used by one goroutine at a time.
type Applier struct {
	z      *zstd.Decoder
	tables *tables
}

// NewApplier returns an Applier.
func NewApplier() (*Applier, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPart), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &Applier{z, newTables()}, nil
}

// maxPart bounds what one part of a patch may be when it is unpacked: the steps of the worst patch there can be take less.
const maxPart = 2 * Max

// Apply returns the file of size bytes that patch p makes of old. Anything else than that is ErrCorrupt.
func (a *Applier) Apply(p, old []byte, size int) ([]byte, error) {
	if size < 0 || size > Max || len(old) > Max {
		return nil, errdefs.Limit("apply a patch: more than %d bytes", Max)
	}
	if len(p) == 0 || p[0] != version {
		return nil, errdefs.Corrupt("no patch, or one of another version")
	}
	p = p[1:]
	var parts [2][]byte
	for i := range parts {
		var err error
		if parts[i], p, err = a.part(p, size); err != nil {
			return nil, err
		}
	}
	differences, n := binary.Uvarint(p)
	if n <= 0 || differences > uint64(size) || int(differences)+len(parts[1]) != size {
		return nil, errdefs.Corrupt("patch: it does not make %d bytes", size)
	}
	as := assembly{steps: parts[0], inserted: parts[1], old: old, out: make([]byte, 0, size), size: size}
	if differences > 0 {
		as.model, as.coder = newModel(a.tables, int(differences)), newDecoder(p[n:])
	} else if len(p) > n {
		return nil, errdefs.Corrupt("patch: more than it should be")
	}
	for len(as.steps) > 0 {
		if err := as.step(); err != nil {
			return nil, err
		}
	}
	if len(as.out) != size || as.coder != nil && !as.coder.ended() {
		return nil, errdefs.Corrupt("patch: it makes %d bytes instead of %d", len(as.out), size)
	}
	return as.out, nil
}

// part unpacks the first part of p, and returns the rest.
func (a *Applier) part(p []byte, size int) (part, rest []byte, err error) {
	n, used := binary.Uvarint(p)
	if used <= 0 || n > maxPart || n > uint64(size)*8+64 {
		return nil, nil, errdefs.Corrupt("patch: malformed")
	}
	p = p[used:]
	packed, used := binary.Uvarint(p)
	if used <= 0 || packed > uint64(len(p)-used) {
		return nil, nil, errdefs.Corrupt("patch: malformed")
	}
	p = p[used:]
	part, err = a.z.DecodeAll(p[:packed], nil)
	if err != nil {
		return nil, nil, errdefs.Corrupt("patch: %w", err)
	}
	if uint64(len(part)) != n {
		return nil, nil, errdefs.Corrupt("patch: a part has %d bytes instead of %d", len(part), n)
	}
	return part, p[packed:], nil
}

// assembly is a file that is being made.
type assembly struct {
	steps, inserted, old, out []byte
	size                      int
	place                     int64 // in the old file
	model                     *model
	coder                     *decoder
}

// step takes one step.
func (a *assembly) step() error {
	add, n := binary.Uvarint(a.steps)
	insert, m := binary.Uvarint(a.steps[max(n, 0):])
	seek, k := binary.Varint(a.steps[max(n, 0)+max(m, 0):])
	if n <= 0 || m <= 0 || k <= 0 || add > uint64(a.size-len(a.out)) || insert > uint64(len(a.inserted)) ||
		a.place < 0 || a.place > int64(len(a.old)) || add > uint64(int64(len(a.old))-a.place) || seek < -Max || seek > Max || add > 0 && a.model == nil {
		return errdefs.Corrupt("patch: a step leaves the files")
	}
	a.steps = a.steps[n+m+k:]
	a.add(int(add))
	a.out = append(a.out, a.inserted[:insert]...)
	a.inserted = a.inserted[insert:]
	a.place += int64(add) + seek
	return nil
}

// add appends bytes of the old file with their differences.
func (a *assembly) add(n int) {
	at := int(a.place)
	for end := at + n; at < end; {
		if a.model.skips(end-at) && a.model.skip(a.coder, false) {
			a.out = append(a.out, a.old[at:at+stride]...)
			at += stride
			continue
		}
		a.out = append(a.out, a.old[at]+a.model.difference(a.coder, 0, a.old, at))
		at++
	}
}
