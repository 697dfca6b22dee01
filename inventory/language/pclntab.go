package language

import (
	"bytes"
	"encoding/binary"
)

// The table of functions of a Go program, that a panic's stack trace is made from, and that no strip takes away (runtime/symtab.go, "pcHeader"). Its forms of Go 1.18
// and 1.20 are read; older programs tell nothing.
const (
	magic118, magic120 = 0xfffffff0, 0xfffffff1
	// Indices of what a function has in its lists (internal/abi/symtab.go).
	inlineIndexes, inlineTree = 2, 3
	// maxWork bounds how many bytes of tables are looked at, as many functions may share one.
	maxWork = 128 << 20
	// maxName is how long the name of a function may be.
	maxName = 16 << 10
)

// functionTable is the table of one program.
type functionTable struct {
	p     *program
	go120 bool
	count int
	// names are texts, pcs lists of numbers by place in the code, funcs the functions, with their index before them.
	names, pcs, funcs []byte
	// trees has the trees of what was inlined; nil when it is not found.
	trees []byte
	seen  []uint64 // bits of names
	work  int
}

// functionTable finds the table: in its section, or by its first bytes where sections were taken away. nil when there is none.
func (p *program) functionTable() *functionTable {
	for _, s := range p.sections {
		if s.name == ".gopclntab" || s.name == ".data.rel.ro.gopclntab" {
			if t := p.functionTableAt(s.data, s.offset); t != nil {
				return t
			}
		}
	}
	for _, magic := range []uint32{magic120, magic118} {
		mark := make([]byte, 4, 6)
		p.order.PutUint32(mark, magic)
		mark = append(mark, 0, 0)
		for from, tries := 0, 0; tries < maxMarks; tries++ {
			i := bytes.Index(p.data[from:], mark)
			if i < 0 {
				break
			}
			if t := p.functionTableAt(p.data[from+i:], uint64(from+i)); t != nil {
				return t
			}
			from += i + 1
		}
	}
	return nil
}

// wordSize is that of an address, in bytes.
func (p *program) wordSize() int {
	if p.wide {
		return 8
	}
	return 4
}

// number reads an address or size.
func (p *program) number(b []byte) uint64 {
	if p.wide {
		return p.order.Uint64(b)
	}
	return uint64(p.order.Uint32(b))
}

// functionTableAt reads the table that lies at an offset of the file; nil when it is none.
func (p *program) functionTableAt(b []byte, offset uint64) *functionTable {
	w := p.wordSize()
	if len(b) < 8+8*w || b[4] != 0 || b[5] != 0 || b[6] != 1 && b[6] != 2 && b[6] != 4 || int(b[7]) != w {
		return nil
	}
	magic := p.order.Uint32(b)
	if magic != magic118 && magic != magic120 {
		return nil
	}
	field := func(i int) uint64 { return p.number(b[8+i*w:]) }
	names, units, pcs, funcs, size := field(3), field(4), field(6), field(7), uint64(len(b))
	if names > units || units > size || pcs > size || funcs > size || field(0) > maxFunctions || 8*field(0) > size-funcs {
		return nil
	}
	t := &functionTable{p: p, go120: magic == magic120, count: int(field(0)), names: b[names:units], pcs: b[pcs:], funcs: b[funcs:], work: maxWork}
	t.seen = make([]uint64, (len(t.names)+63)/64)
	if address, ok := p.address(offset); ok {
		t.trees = t.findTrees(address, address+names)
	}
	return t
}

// address is where a place of the file lies when the program runs.
func (p *program) address(offset uint64) (uint64, bool) {
	for _, s := range p.segments {
		if offset >= s.offset && offset-s.offset < s.size {
			return s.address + (offset - s.offset), true
		}
	}
	return 0, false
}

// findTrees finds what the linker calls go:func.*, without the symbols that strip takes away: its address stands in the description of the program (runtime/symtab.go, "moduledata"), which
// begins with the addresses of the table and of its names.
func (t *functionTable) findTrees(table, names uint64) []byte {
	p, w := t.p, t.p.wordSize()
	index := 38
	if t.go120 {
		index = 40
	}
	mark := make([]byte, 2*w)
	if p.wide {
		p.order.PutUint64(mark, table)
		p.order.PutUint64(mark[w:], names)
	} else {
		p.order.PutUint32(mark, uint32(table))
		p.order.PutUint32(mark[w:], uint32(names))
	}
	for from, tries := 0, 0; tries < maxMarks; tries++ {
		i := bytes.Index(p.data[from:], mark)
		if i < 0 {
			break
		}
		from += i
		if len(p.data)-from >= (index+1)*w {
			if trees, ok := p.loaded(p.number(p.data[from+index*w:])); ok {
				return trees
			}
		}
		from++
	}
	return t.relocatedTrees(table, names, uint64(index*w))
}

// relocatedTrees looks for the same in the relocations (elf(5), of 24 bytes, with an addend) of a program that can lie at any address, and that another linker than Go's wrote.
func (t *functionTable) relocatedTrees(table, names, distance uint64) []byte {
	const size = 24
	list, ok := t.p.section(".rela.dyn")
	if !ok || !t.p.wide {
		return nil
	}
	word := func(i, at int) uint64 { return t.p.order.Uint64(list[i*size+at:]) }
	starts := map[uint64]bool{}
	n := len(list) / size
	for i := range n {
		if word(i, 16) == table && len(starts) < maxMarks {
			starts[word(i, 0)] = false
		}
	}
	for i := range n {
		if at := word(i, 0) - 8; word(i, 16) == names {
			if _, ok := starts[at]; ok {
				starts[at] = true
			}
		}
	}
	for i := range n {
		if starts[word(i, 0)-distance] {
			if trees, ok := t.p.loaded(word(i, 16)); ok {
				return trees
			}
		}
	}
	return nil
}

// each calls fn with the name of each function, once, until it returns false. It reports whether all were told: those that were inlined too, and none was damaged.
func (t *functionTable) each(fn func(name string) bool) bool {
	whole := t.trees != nil
	for i := range t.count {
		off := uint64(t.p.order.Uint32(t.funcs[8*i+4:]))
		if off >= uint64(len(t.funcs)) {
			whole = false
			continue
		}
		ok, more := t.function(t.funcs[off:], fn)
		if !more {
			return false
		}
		whole = whole && ok
	}
	return whole
}

// function tells of one function, and of those that were inlined into it.
func (t *functionTable) function(f []byte, fn func(string) bool) (ok, more bool) {
	fixed := 40
	if t.go120 {
		fixed = 44
	}
	if len(f) < fixed {
		return false, true
	}
	order := t.p.order
	if ok, more = t.name(uint64(order.Uint32(f[4:])), fn); !more {
		return ok, false
	}
	lists, trees := uint64(order.Uint32(f[28:])), int(f[fixed-1])
	if lists <= inlineIndexes || trees <= inlineTree {
		return ok, true
	}
	if uint64(len(f)-fixed) < 4*(lists+inlineTree+1) {
		return false, true
	}
	indexes, tree := order.Uint32(f[fixed+4*inlineIndexes:]), order.Uint32(f[uint64(fixed)+4*(lists+inlineTree):])
	if indexes == 0 || tree == ^uint32(0) {
		return ok, true
	}
	allOfTree, more := t.inlined(uint64(indexes), uint64(tree), fn)
	return ok && allOfTree, more
}

// inlined tells of a tree. How many calls it has, only the largest index of the places in the code says.
func (t *functionTable) inlined(indexes, tree uint64, fn func(string) bool) (ok, more bool) {
	count, ok := t.largest(indexes)
	if !ok || tree > uint64(len(t.trees)) {
		return false, true
	}
	size, at := uint64(20), 12
	if t.go120 {
		size, at = 16, 4
	}
	calls := t.trees[tree:]
	if count > uint64(len(calls))/size {
		return false, true
	}
	if t.work -= int(count * size); t.work < 0 {
		return false, false
	}
	for i := range count {
		told, more := t.name(uint64(t.p.order.Uint32(calls[i*size+uint64(at):])), fn)
		if !more {
			return false, false
		}
		ok = ok && told
	}
	return ok, true
}

// largest is one more than the largest value of a list of changes (runtime/symtab.go, "step").
func (t *functionTable) largest(offset uint64) (n uint64, ok bool) {
	if offset > uint64(len(t.pcs)) {
		return 0, false
	}
	rest := t.pcs[offset:]
	value, most := int32(-1), int32(-1)
	for first := true; ; first = false {
		change, n := binary.Uvarint(rest)
		if n <= 0 {
			return 0, false
		}
		if change == 0 && !first {
			return uint64(most + 1), true
		}
		rest = rest[n:]
		_, m := binary.Uvarint(rest)
		if m <= 0 {
			return 0, false
		}
		rest = rest[m:]
		if t.work -= n + m; t.work < 0 {
			return 0, false
		}
		step := int32(uint32(change) >> 1)
		if change&1 != 0 {
			step = ^step
		}
		value += step
		most = max(most, value)
	}
}

// name tells a name, the first time that it comes.
func (t *functionTable) name(offset uint64, fn func(string) bool) (ok, more bool) {
	if offset >= uint64(len(t.names)) {
		return false, true
	}
	bit := uint64(1) << (offset % 64)
	if t.seen[offset/64]&bit != 0 {
		return true, true
	}
	t.seen[offset/64] |= bit
	text := t.names[offset:]
	text = text[:min(len(text), maxName)]
	end := bytes.IndexByte(text, 0)
	if end < 0 { // all of it was looked at
		t.work -= len(text)
		return false, t.work >= 0
	}
	if t.work -= end + 1; t.work < 0 {
		return false, false
	}
	return true, fn(string(text[:end]))
}
