package kv

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"os"
)

// builder writes a table.
type builder struct {
	path    string
	file    *os.File
	w       *bufio.Writer
	offset  int64
	block   []byte
	last    []byte
	index   []byte
	bloom   bloom
	entries int64
}

// newBuilder begins a table of at most some number of entries.
func newBuilder(dir string, n uint64, keys int) (*builder, error) {
	path := tablePath(dir, n)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &builder{path: path, file: f, w: bufio.NewWriterSize(f, 256<<10), bloom: newBloom(keys)}, nil
}

// add adds an entry; they come in order.
func (b *builder) add(e *Entry) error {
	b.block = appendEntry(b.block, b.last, e)
	b.last = append(b.last[:0], e.Key...)
	b.bloom.add(e.Key)
	b.entries++
	if len(b.block) >= blockSize {
		return b.endBlock()
	}
	return nil
}

func (b *builder) endBlock() error {
	if len(b.block) == 0 {
		return nil
	}
	b.index = appendBytes(b.index, b.last)
	b.index = binary.AppendUvarint(b.index, uint64(b.offset))
	b.index = binary.AppendUvarint(b.index, uint64(len(b.block)))
	_, err := b.piece(b.block)
	b.block, b.last = b.block[:0], b.last[:0]
	return err
}

// piece writes bytes and their checksum, and returns where.
func (b *builder) piece(p []byte) (int64, error) {
	at := b.offset
	if _, err := b.w.Write(p); err != nil {
		return 0, err
	}
	_, err := b.w.Write(binary.LittleEndian.AppendUint32(nil, sum(p)))
	b.offset += int64(len(p)) + 4
	return at, err
}

// finish writes the rest and syncs the table.
func (b *builder) finish() error {
	if err := b.endBlock(); err != nil {
		return err
	}
	var footer []byte
	for _, p := range [][]byte{b.index, b.bloom} {
		at, err := b.piece(p)
		if err != nil {
			return err
		}
		footer = binary.LittleEndian.AppendUint64(footer, uint64(at))
		footer = binary.LittleEndian.AppendUint64(footer, uint64(len(p)))
	}
	footer = binary.LittleEndian.AppendUint64(footer, uint64(b.entries))
	footer = binary.LittleEndian.AppendUint32(footer, sum(footer))
	footer = append(footer, 0, 0, 0, 0)
	if _, err := b.w.Write(append(footer, tableMagic...)); err != nil {
		return err
	}
	if err := b.w.Flush(); err != nil {
		return err
	}
	return b.file.Sync()
}

// close ends the work; what is not finished is removed.
func (b *builder) close(err error) {
	b.file.Close()
	if err != nil {
		os.Remove(b.path)
	}
}

// source is something with entries in order. The key of what peek returns is good until next.
type source interface {
	peek() *Entry // nil at the end
	next() bool
	failed() error
}

// merge calls fn for each key of sources, with the entry of the first source that has it, deleted ones too. fn must not keep the entry.
func merge(sources []source, fn func(*Entry) (more bool, err error)) error {
	for {
		var low *Entry
		for _, s := range sources {
			if e := s.peek(); e != nil && (low == nil || bytes.Compare(e.Key, low.Key) < 0) {
				low = e
			}
			if err := s.failed(); err != nil {
				return err
			}
		}
		if low == nil {
			return nil
		}
		if more, err := fn(low); !more || err != nil {
			return err
		}
		key := low.Key
		for _, s := range sources {
			if e := s.peek(); e != nil && e != low && bytes.Equal(e.Key, key) {
				s.next()
			}
		}
		for _, s := range sources {
			if s.peek() == low {
				s.next()
				break
			}
		}
	}
}
