package index

import (
	"encoding/binary"
	"math"
	"strings"
	"unsafe"

	"github.com/camada/camada/errdefs"
)

// decoder reads the fields of an index. After its first error it reads nothing.
type decoder struct {
	b     []byte
	slab  []byte // texts that were read
	total int64  // bytes of all texts
	err   error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errdefs.Corrupt("layer index: malformed")
	}
	d.b = nil
}

// number reads a varint of at most limit.
func (d *decoder) number(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > limit {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) signed() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

// take returns the next n bytes, which are part of the input.
func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) text(limit uint64) string {
	return d.keep("", d.take(d.number(limit)))
}

// keep joins two texts into one that stays.
func (d *decoder) keep(head string, tail []byte) string {
	n := len(head) + len(tail)
	if n == 0 {
		return ""
	}
	if d.total += int64(n); d.total > maxText {
		d.fail()
		return ""
	}
	if cap(d.slab)-len(d.slab) < n {
		d.slab = make([]byte, 0, max(64<<10, n))
	}
	at := len(d.slab)
	d.slab = append(append(d.slab, head...), tail...)
	// The slab is only ever appended to, within its capacity: what is in it does not change.
	return unsafe.String(&d.slab[at], n)
}

// entry reads one entry, which comes after last.
func (d *decoder) entry(e, last *Entry) {
	n := d.number(uint64(len(last.Path)))
	rest := d.take(d.number(maxPath))
	if d.err == nil {
		e.Path = d.keep(last.Path[:n], rest)
	}
	kind := d.byte()
	if int(kind&kindMask) >= len(kinds) || !cleanPath(e.Path) {
		d.fail()
		return
	}
	e.Kind = Kind(kinds[kind&kindMask])
	e.Mode = uint32(d.number(0o7777))
	if e.UID, e.GID = last.UID, last.GID; kind&flagOwner == 0 {
		e.UID, e.GID = uint32(d.number(math.MaxUint32)), uint32(d.number(math.MaxUint32))
	}
	if e.Sec, e.Nsec = last.Sec, last.Nsec; kind&flagTime == 0 {
		e.Sec, e.Nsec = d.signed(), uint32(d.number(999_999_999))
	}
	e.HasSum = kind&flagSum != 0
	switch e.Kind {
	case Reg:
		e.Size = int64(d.number(math.MaxInt64))
		if e.HasSum {
			copy(e.Sum[:], d.take(uint64(len(e.Sum))))
		}
	case Link, Symlink:
		e.Link = d.text(maxPath)
	case Char, Block:
		e.Major, e.Minor = uint32(d.number(math.MaxUint32)), uint32(d.number(math.MaxUint32))
	}
	if e.HasSum && e.Kind != Reg {
		d.fail()
	}
	if kind&flagXattrs != 0 {
		d.xattrs(e)
	}
}

func (d *decoder) xattrs(e *Entry) {
	n := d.number(uint64(len(d.b)))
	if n == 0 {
		d.fail()
	}
	e.Xattrs = make(map[string]string, min(n, 16))
	for range n {
		k := d.text(maxText)
		v := d.text(maxText)
		if d.err != nil {
			return
		}
		e.Xattrs[k] = v
	}
	if uint64(len(e.Xattrs)) != n {
		d.fail()
	}
}

// cleanPath reports whether a path is as Entry.Path promises.
func cleanPath(p string) bool {
	if p == "." {
		return true
	}
	if p == "" || p[0] == '/' || p[len(p)-1] == '/' || len(p) > maxPath || strings.IndexByte(p, 0) >= 0 {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}
