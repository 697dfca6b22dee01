package index

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

const (
	magic = "camada layer index 1\n"
	// maxEntries is how many entries an index may have. A layer with more has none.
	maxEntries = 2 << 20
	// maxPath is how long a path or a link target may be, in bytes.
	maxPath = 4096
	// maxText bounds all paths, targets and attributes of an index together, in bytes.
	maxText = 512 << 20
	// maxBytes bounds the files of a layer together.
	maxBytes = 256 << 30
	// maxFile is how big the file of an index may be, in bytes.
	maxFile = 1 << 30
)

// The kind byte: the kind's number below, flags above.
const (
	kindMask   = 0x0f
	flagSum    = 0x10
	flagXattrs = 0x20
	flagOwner  = 0x40 // uid and gid are those of the entry before
	flagTime   = 0x80 // the time is that of the entry before
)

// kinds gives each kind its number. The order is part of the format.
const kinds = string(Reg) + string(Link) + string(Symlink) + string(Char) + string(Block) + string(Dir) + string(Fifo) + string(Whiteout) + string(Opaque)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Marshal encodes the index of the layer diffID.
func (x *Index) Marshal(diffID digest.Digest) []byte {
	b := make([]byte, 0, len(magic)+100+72*len(x.Entries))
	b = append(b, magic...)
	b = appendText(b, string(diffID))
	b = binary.AppendUvarint(b, uint64(len(x.Entries)))
	last := &Entry{}
	for i := range x.Entries {
		b = appendEntry(b, &x.Entries[i], last)
		last = &x.Entries[i]
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendEntry(b []byte, e, last *Entry) []byte {
	n := shared(last.Path, e.Path)
	b = binary.AppendUvarint(b, uint64(n))
	b = appendText(b, e.Path[n:])
	kind := byte(0)
	for i := range len(kinds) {
		if kinds[i] == byte(e.Kind) {
			kind = byte(i)
		}
	}
	if e.HasSum {
		kind |= flagSum
	}
	if len(e.Xattrs) > 0 {
		kind |= flagXattrs
	}
	if e.UID == last.UID && e.GID == last.GID {
		kind |= flagOwner
	}
	if e.Sec == last.Sec && e.Nsec == last.Nsec {
		kind |= flagTime
	}
	b = append(b, kind)
	b = binary.AppendUvarint(b, uint64(e.Mode))
	if kind&flagOwner == 0 {
		b = binary.AppendUvarint(b, uint64(e.UID))
		b = binary.AppendUvarint(b, uint64(e.GID))
	}
	if kind&flagTime == 0 {
		b = binary.AppendVarint(b, e.Sec)
		b = binary.AppendUvarint(b, uint64(e.Nsec))
	}
	switch e.Kind {
	case Reg:
		b = binary.AppendUvarint(b, uint64(e.Size))
		if e.HasSum {
			b = append(b, e.Sum[:]...)
		}
	case Link, Symlink:
		b = appendText(b, e.Link)
	case Char, Block:
		b = binary.AppendUvarint(b, uint64(e.Major))
		b = binary.AppendUvarint(b, uint64(e.Minor))
	}
	if len(e.Xattrs) > 0 {
		b = appendXattrs(b, e.Xattrs)
	}
	return b
}

func appendXattrs(b []byte, xattrs map[string]string) []byte {
	names := make([]string, 0, len(xattrs))
	for k := range xattrs {
		names = append(names, k)
	}
	slices.Sort(names)
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, k := range names {
		b = appendText(appendText(b, k), xattrs[k])
	}
	return b
}

func shared(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// Parse decodes an index and checks all of it: form, order and checksum; ErrCorrupt
// when anything is wrong. It keeps nothing of data. An empty diffID is not compared.
func Parse(data []byte, diffID digest.Digest) (*Index, error) {
	if len(data) < len(magic)+4 || string(data[:len(magic)]) != magic {
		return nil, errdefs.Corrupt("no layer index, or one of another version")
	}
	body, sum := data[:len(data)-4], data[len(data)-4:]
	if crc32.Checksum(body, castagnoli()) != binary.BigEndian.Uint32(sum) {
		return nil, errdefs.Corrupt("layer index: the checksum is wrong")
	}
	d := &decoder{b: body[len(magic):]}
	if of := digest.Digest(d.text(maxPath)); diffID != "" && of != diffID {
		return nil, errdefs.Corrupt("layer index: it is that of %.100q", of)
	}
	count := d.number(maxEntries)
	// The smallest entry takes five bytes, so a count that lies reserves little.
	if d.err == nil && count > uint64(len(d.b))/5 {
		d.fail()
	}
	if d.err != nil {
		return nil, d.err
	}
	x := &Index{Entries: make([]Entry, count)}
	// One block of text for most paths: nearly all are shorter than what is stored of an entry twice.
	d.slab = make([]byte, 0, min(len(d.b)+int(count)*24, maxText))
	last := &Entry{}
	for i := range x.Entries {
		e := &x.Entries[i]
		d.entry(e, last)
		if i > 0 && compare(last, e) >= 0 {
			d.fail()
		}
		if d.err != nil {
			return nil, d.err
		}
		last = e
	}
	if len(d.b) != 0 {
		return nil, errdefs.Corrupt("layer index: %d bytes too many", len(d.b))
	}
	return x, nil
}
