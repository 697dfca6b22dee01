package slim

import (
	"bytes"
	"encoding/binary"
	"io"
)

// binaryFile is what a program or library (elf(5)) says that it needs.
type binaryFile struct {
	// class and machine are those of e_ident and e_machine: only what is alike can be linked.
	class   byte
	machine uint16
	// interp is the program that starts it; "" for none.
	interp string
	// needed are names of libraries, paths where they are looked for: DT_RUNPATH and DT_RPATH.
	needed []string
	paths  []string
}

const (
	maxSegments = 512
	maxDynamic  = 1 << 20 // bytes of the dynamic section
	maxStrings  = 16 << 20
	maxNeeded   = 4096
)

// The numbers of elf(5).
const (
	ptLoad, ptDynamic, ptInterp                     = 1, 2, 3
	dtNeeded, dtStrtab, dtStrsz, dtRpath, dtRunpath = 1, 5, 10, 15, 29
)

// elfReader reads numbers of a file.
type elfReader struct {
	r     io.ReaderAt
	order binary.ByteOrder
	wide  bool
}

func (x *elfReader) bytes(off uint64, n int) ([]byte, bool) {
	if off > 1<<62 || n < 0 {
		return nil, false
	}
	b := make([]byte, n)
	_, err := x.r.ReadAt(b, int64(off))
	return b, err == nil
}

// word is a number of the class's size, at the place that it has in each class.
func (x *elfReader) word(b []byte, narrow, wide int) uint64 {
	if x.wide {
		return x.order.Uint64(b[wide:])
	}
	return uint64(x.order.Uint32(b[narrow:]))
}

// segment is a program header.
type segment struct{ kind, off, addr, size uint64 }

// readELF reads what a file needs. Not ok when it is no such file, or damaged where that is said.
func readELF(r io.ReaderAt) (binaryFile, bool) {
	var f binaryFile
	x := &elfReader{r: r, order: binary.LittleEndian}
	head, ok := x.bytes(0, 64)
	if !ok || !bytes.HasPrefix(head, []byte("\x7fELF")) || head[4] != 1 && head[4] != 2 || head[5] != 1 && head[5] != 2 {
		return f, false
	}
	if head[5] == 2 {
		x.order = binary.BigEndian
	}
	x.wide, f.class = head[4] == 2, head[4]
	f.machine = x.order.Uint16(head[18:])
	segments := x.segments(head)
	for _, s := range segments {
		switch s.kind {
		case ptInterp:
			if b, ok := x.bytes(s.off, int(min(s.size, maxPath))); ok {
				f.interp = cString(b)
			}
		case ptDynamic:
			x.dynamic(&f, s, segments)
		}
	}
	return f, true
}

func (x *elfReader) segments(head []byte) []segment {
	phoff, size, count := x.word(head, 28, 32), 32, int(x.order.Uint16(head[44:]))
	if x.wide {
		size, count = 56, int(x.order.Uint16(head[56:]))
	}
	var out []segment
	for i := range min(count, maxSegments) {
		b, ok := x.bytes(phoff+uint64(i*size), size)
		if !ok {
			break
		}
		s := segment{kind: uint64(x.order.Uint32(b)), off: x.word(b, 4, 8), addr: x.word(b, 8, 16), size: x.word(b, 16, 32)}
		out = append(out, s)
	}
	return out
}

// dynamic reads the dynamic section.
func (x *elfReader) dynamic(f *binaryFile, s segment, segments []segment) {
	b, ok := x.bytes(s.off, int(min(s.size, maxDynamic)))
	if !ok {
		return
	}
	step := 8
	if x.wide {
		step = 16
	}
	var needed, paths []uint64
	var table, length uint64
	for ; len(b) >= step; b = b[step:] {
		v := x.word(b, 4, 8)
		switch x.word(b, 0, 0) {
		case dtNeeded:
			needed = append(needed, v)
		case dtRpath, dtRunpath:
			paths = append(paths, v)
		case dtStrtab:
			table = v
		case dtStrsz:
			length = v
		}
	}
	for _, l := range segments { // the table is said by its address in memory
		if l.kind != ptLoad || table < l.addr || table-l.addr >= l.size {
			continue
		}
		text, ok := x.bytes(l.off+table-l.addr, int(min(length, l.size-(table-l.addr), maxStrings)))
		if !ok {
			return
		}
		for _, off := range needed {
			if name := stringAt(text, off); name != "" && len(f.needed) < maxNeeded {
				f.needed = append(f.needed, name)
			}
		}
		for _, off := range paths {
			if p := stringAt(text, off); p != "" && len(f.paths) < maxNeeded {
				f.paths = append(f.paths, p)
			}
		}
		return
	}
}

func stringAt(table []byte, off uint64) string {
	if off >= uint64(len(table)) {
		return ""
	}
	return cString(table[off:])
}

// cString is the text before the first NUL; "" when it is longer than a path can be.
func cString(b []byte) string {
	i := bytes.IndexByte(b[:min(len(b), maxPath)], 0)
	if i < 0 {
		return ""
	}
	return string(b[:i])
}
