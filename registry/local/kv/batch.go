package kv

import (
	"bytes"
	"encoding/binary"

	"github.com/camada/camada/errdefs"
)

// Batch is a list of changes. A later change of a key wins.
type Batch struct {
	ops    []op
	bodies bool
}

type op struct {
	kind byte
	key  []byte
	head []byte
	body []byte
}

// Kinds of changes, as they stand in a journal.
const (
	opPut    = 1 // key, head
	opBody   = 2 // key, head, body
	opDelete = 3 // key
)

// Put sets the head of a key; a body that it had is gone. The bytes must not change until Write has returned.
func (b *Batch) Put(key, head []byte) { b.ops = append(b.ops, op{kind: opPut, key: key, head: head}) }

// PutBody sets head and body of a key.
func (b *Batch) PutBody(key, head, body []byte) {
	b.bodies = true
	b.ops = append(b.ops, op{kind: opBody, key: key, head: head, body: body})
}

// Delete removes a key; it need not be there.
func (b *Batch) Delete(key []byte) { b.ops = append(b.ops, op{kind: opDelete, key: key}) }

// Len is how many changes there are.
func (b *Batch) Len() int { return len(b.ops) }

// encode appends the changes to buf, and returns the entries that they make; the offsets of bodies count from the start of buf.
func (b *Batch) encode(buf []byte, seq uint64) ([]byte, []Entry) {
	entries := make([]Entry, len(b.ops))
	for i, o := range b.ops {
		e := &entries[i]
		e.Key, e.BodySize, e.seq = bytes.Clone(o.key), -1, seq
		buf = append(buf, o.kind)
		buf = appendBytes(buf, o.key)
		if o.kind == opDelete {
			e.deleted = true
			continue
		}
		e.Head = bytes.Clone(o.head)
		buf = appendBytes(buf, o.head)
		if o.kind == opBody {
			buf = binary.AppendUvarint(buf, uint64(len(o.body)))
			e.BodySize, e.body.offset = int64(len(o.body)), int64(len(buf))
			buf = append(buf, o.body...)
		}
	}
	return buf, entries
}

func appendBytes(buf, b []byte) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(b))), b...)
}

// decode is the reverse of encode, for a buf whose changes begin at an offset.
func decode(buf []byte, at int, seq uint64) ([]Entry, error) {
	var entries []Entry
	p := parser{buf: buf, at: at}
	for p.at < len(buf) && !p.bad {
		kind := buf[p.at]
		p.at++
		e := Entry{Key: bytes.Clone(p.bytes()), BodySize: -1, seq: seq}
		switch kind {
		case opDelete:
			e.deleted = true
		case opPut:
			e.Head = bytes.Clone(p.bytes())
		case opBody:
			e.Head = bytes.Clone(p.bytes())
			b := p.bytes()
			e.BodySize, e.body.offset = int64(len(b)), int64(p.at-len(b))
		default:
			p.bad = true
		}
		entries = append(entries, e)
	}
	if p.bad {
		return nil, errdefs.Corrupt("a record of the journal cannot be read")
	}
	return entries, nil
}

// parser reads what appendBytes and the like wrote.
type parser struct {
	buf []byte
	at  int
	bad bool
}

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(p.buf[p.at:])
	if n <= 0 {
		p.bad = true
		return 0
	}
	p.at += n
	return v
}

func (p *parser) bytes() []byte {
	n := p.uvarint()
	if p.bad || n > uint64(len(p.buf)-p.at) {
		p.bad = true
		return nil
	}
	p.at += int(n)
	return p.buf[p.at-int(n) : p.at : p.at]
}
