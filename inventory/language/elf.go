package language

import (
	"bytes"
	"encoding/binary"
	"errors"
)

var errELF = errors.New("a program (ELF) that is damaged")

// program is an ELF file (elf(5)), of which sections by name and bytes by address are of interest. Package debug/elf would do as well, but what it imports works at each start.
type program struct {
	data     []byte
	order    binary.ByteOrder
	wide     bool // of 64 bits
	segments []segment
	sections []section
}

// segment is a part of the file that is loaded at an address; section one that has a name.
type segment struct{ offset, address, size uint64 }

type section struct {
	name string
	// offset is where data begins in the file.
	offset uint64
	data   []byte
}

// maxSections bounds what a file may say it has.
const maxSections = 1 << 16

func openProgram(data []byte) (*program, error) {
	if len(data) < 64 || !isProgram(data) || data[4] != 1 && data[4] != 2 || data[5] != 1 && data[5] != 2 {
		return nil, errELF
	}
	p := &program{data: data, order: binary.LittleEndian, wide: data[4] == 2}
	if data[5] == 2 {
		p.order = binary.BigEndian
	}
	phoff, phsize, phnum := p.word(data, 28, 32), uint64(p.half(data, 42, 54)), uint64(p.half(data, 44, 56))
	shoff, shsize, shnum, names := p.word(data, 32, 40), uint64(p.half(data, 46, 58)), uint64(p.half(data, 48, 60)), int(p.half(data, 50, 62))
	for i := range phnum {
		h, ok := p.slice(phoff+i*phsize, 56)
		if !ok {
			break // some programs are cut off there on purpose
		}
		if p.order.Uint32(h) == 1 { // PT_LOAD
			p.segments = append(p.segments, segment{p.word(h, 4, 8), p.word(h, 8, 16), p.word(h, 16, 32)})
		}
	}
	var at []uint32
	for i := range min(shnum, maxSections) {
		h, ok := p.slice(shoff+i*shsize, 40)
		if !ok || p.wide && len(h) < 64 {
			break
		}
		kind := p.order.Uint32(h[4:])
		content, ok := p.slice(p.word(h, 16, 24), 0)
		if size := p.word(h, 20, 32); !ok || kind == 8 || size > uint64(len(content)) { // SHT_NOBITS has nothing in the file
			content = nil
		} else {
			content = content[:size]
		}
		at = append(at, p.order.Uint32(h))
		p.sections = append(p.sections, section{offset: p.word(h, 16, 24), data: content})
	}
	if names < len(p.sections) {
		table := p.sections[names].data
		for i, n := range at {
			if int64(n) < int64(len(table)) {
				name, _, _ := bytes.Cut(table[n:min(len(table), int(n)+64)], []byte{0})
				p.sections[i].name = string(name)
			}
		}
	}
	return p, nil
}

// slice is what lies from an offset on, of at least so many bytes.
func (p *program) slice(offset, least uint64) ([]byte, bool) {
	if offset > uint64(len(p.data)) || uint64(len(p.data))-offset < least {
		return nil, false
	}
	return p.data[offset:], true
}

// word is an address or size, which has other places in files of 32 and of 64 bits.
func (p *program) word(b []byte, at32, at64 int) uint64 {
	if p.wide {
		return p.order.Uint64(b[at64:])
	}
	return uint64(p.order.Uint32(b[at32:]))
}

func (p *program) half(b []byte, at32, at64 int) uint16 {
	if p.wide {
		return p.order.Uint16(b[at64:])
	}
	return p.order.Uint16(b[at32:])
}

// section returns what a section has in the file.
func (p *program) section(name string) ([]byte, bool) {
	for _, s := range p.sections {
		if s.name == name {
			return s.data, true
		}
	}
	return nil, false
}

// loaded is what lies at an address when the program runs, up to the end of its segment.
func (p *program) loaded(address uint64) ([]byte, bool) {
	for _, s := range p.segments {
		if address < s.address || address-s.address >= s.size {
			continue
		}
		b, ok := p.slice(s.offset, 0)
		if !ok || address-s.address >= uint64(len(b)) {
			return nil, false
		}
		return b[address-s.address : min(s.size, uint64(len(b)))], true
	}
	return nil, false
}
