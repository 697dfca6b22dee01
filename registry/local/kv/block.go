package kv

import (
	"bytes"
	"encoding/binary"

	"github.com/camada/camada/errdefs"
)

// A block is entries in order, each written against the one before it:
//
//	shared  unshared  key[unshared]  flags                     of a deleted key, flags is flagDeleted
//	                                 flags  size  head[size]
//	                                 flags  size  head[size]  segment  offset  size       with flagBody
//
// All numbers are varints.
const (
	flagDeleted = 1
	flagBody    = 2
	blockSize   = 16 << 10
)

func appendEntry(buf, last []byte, e *Entry) []byte {
	shared := 0
	for shared < len(last) && shared < len(e.Key) && last[shared] == e.Key[shared] {
		shared++
	}
	buf = binary.AppendUvarint(buf, uint64(shared))
	buf = appendBytes(buf, e.Key[shared:])
	switch {
	case e.deleted:
		return append(buf, flagDeleted)
	case e.BodySize < 0:
		return appendBytes(append(buf, 0), e.Head)
	}
	buf = appendBytes(append(buf, flagBody), e.Head)
	buf = binary.AppendUvarint(buf, e.body.segment)
	buf = binary.AppendUvarint(buf, uint64(e.body.offset))
	return binary.AppendUvarint(buf, uint64(e.BodySize))
}

// blockReader reads the entries of a block. What it returns shares no bytes with the key buffer of the next one.
type blockReader struct {
	parser
	last []byte
}

// next reads the next entry; false at the end, or when the block is bad. Its key is only good until the next call.
func (r *blockReader) next(e *Entry) bool {
	if r.bad || r.at >= len(r.buf) {
		return false
	}
	shared := r.uvarint()
	rest := r.bytes()
	if r.bad || shared > uint64(len(r.last)) || r.at >= len(r.buf) {
		r.bad = true
		return false
	}
	r.last = append(r.last[:shared], rest...)
	flags := r.buf[r.at]
	r.at++
	*e = Entry{Key: r.last, BodySize: -1, deleted: flags&flagDeleted != 0}
	if e.deleted {
		return true
	}
	e.Head = r.bytes()
	if flags&flagBody != 0 {
		e.body.segment, e.body.offset, e.BodySize = r.uvarint(), int64(r.uvarint()), int64(r.uvarint())
	}
	return !r.bad
}

// findIn looks for a key in a block.
func findIn(block, key []byte) (Entry, bool, error) {
	r := blockReader{parser: parser{buf: block}, last: make([]byte, 0, 128)}
	var e Entry
	for r.next(&e) {
		if c := bytes.Compare(e.Key, key); c >= 0 {
			e.Key = key
			return e, c == 0, nil
		}
	}
	if r.bad {
		return Entry{}, false, errdefs.Corrupt("a block of a table cannot be read")
	}
	return Entry{}, false, nil
}
