package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/camada/camada/errdefs"
)

// A table is a file of entries in order that does not change:
//
//	blocks, each followed by the CRC-32C of it
//	index   of each block: size  last key  offset  size           varints; followed by its CRC-32C
//	bloom   followed by its CRC-32C
//	footer  index offset[8] index size[8] bloom offset[8] bloom size[8] entries[8] crc[4] zero[4] magic[8]
const (
	tableMagic = "camadat1"
	footerSize = 56
)

func tablePath(dir string, n uint64) string { return filepath.Join(dir, fmt.Sprintf("%016x.tab", n)) }

type blockRef struct {
	last         []byte
	offset, size int64
}

type table struct {
	number  uint64
	file    *os.File
	size    int64
	entries int64
	footer  [footerSize]byte
	refs    atomic.Int32
	remove  atomic.Bool // when nobody uses it any more

	mu    sync.Mutex // guards loading
	ready atomic.Bool
	index []blockRef
	bloom bloom
}

// openTable opens a table. Its index is read when it is first needed.
func openTable(dir string, n uint64) (*table, error) {
	f, err := os.Open(tablePath(dir, n))
	if err != nil {
		return nil, class("open a table", err)
	}
	t := &table{number: n, file: f}
	t.refs.Store(1)
	fi, err := f.Stat()
	if err == nil && fi.Size() < footerSize {
		err = errdefs.Corrupt("%s is too short for a table", f.Name())
	}
	if err == nil {
		t.size = fi.Size()
		_, err = f.ReadAt(t.footer[:], t.size-footerSize)
	}
	if err == nil && (string(t.footer[48:]) != tableMagic || sum(t.footer[:40]) != binary.LittleEndian.Uint32(t.footer[40:])) {
		err = errdefs.Corrupt("%s is no table", f.Name())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	t.entries = t.number64(4)
	return t, nil
}

// number64 is a number of the footer.
func (t *table) number64(i int) int64 {
	return int64(binary.LittleEndian.Uint64(t.footer[i*8:]))
}

func (t *table) acquire() { t.refs.Add(1) }

func (t *table) release() {
	if t.refs.Add(-1) == 0 {
		t.file.Close()
		if t.remove.Load() {
			os.Remove(t.file.Name())
		}
	}
}

// piece reads a piece of the file and checks it.
func (t *table) piece(offset, size int64) ([]byte, error) {
	if offset < 0 || size < 0 || offset > t.size || size > t.size-offset-4 {
		return nil, errdefs.Corrupt("%s: a piece lies outside of it", t.file.Name())
	}
	b := make([]byte, size+4)
	if _, err := t.file.ReadAt(b, offset); err != nil {
		return nil, class("read "+t.file.Name(), err)
	}
	if sum(b[:size]) != binary.LittleEndian.Uint32(b[size:]) {
		return nil, errdefs.Corrupt("%s: what is at %d has another checksum", t.file.Name(), offset)
	}
	return b[:size:size], nil
}

// load reads index and bloom filter.
func (t *table) load() error {
	if t.ready.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ready.Load() {
		return nil
	}
	raw, err := t.piece(t.number64(0), t.number64(1))
	if err != nil {
		return err
	}
	filter, err := t.piece(t.number64(2), t.number64(3))
	if err != nil {
		return err
	}
	p := parser{buf: raw}
	var index []blockRef
	for p.at < len(raw) && !p.bad {
		index = append(index, blockRef{last: p.bytes(), offset: int64(p.uvarint()), size: int64(p.uvarint())})
	}
	if p.bad {
		return errdefs.Corrupt("%s: its index cannot be read", t.file.Name())
	}
	t.index, t.bloom = slices.Clip(index), filter
	t.ready.Store(true)
	return nil
}

// seek finds the first block that may have a key or one behind it.
func (t *table) seek(key []byte) int {
	i, _ := slices.BinarySearchFunc(t.index, key, func(b blockRef, k []byte) int { return bytes.Compare(b.last, k) })
	return i
}

// get looks for a key.
func (t *table) get(c *cache, key []byte) (Entry, bool, error) {
	if err := t.load(); err != nil {
		return Entry{}, false, err
	}
	if !t.bloom.has(key) {
		return Entry{}, false, nil
	}
	i := t.seek(key)
	if i == len(t.index) {
		return Entry{}, false, nil
	}
	b, err := c.block(t, i)
	if err != nil {
		return Entry{}, false, err
	}
	return findIn(b, key)
}

// tableIter goes through a table.
type tableIter struct {
	t     *table
	cache *cache // nil reads blocks without keeping them
	block int
	count int
	r     blockReader
	entry Entry
	err   error
}

// newTableIter begins at the first key that is not below from.
func newTableIter(t *table, c *cache, from []byte) *tableIter {
	it := &tableIter{t: t, cache: c}
	if it.err = t.load(); it.err != nil {
		return it
	}
	it.block = t.seek(from) - 1
	it.r.last = make([]byte, 0, 128)
	for it.next() && bytes.Compare(it.entry.Key, from) < 0 {
	}
	return it
}

// next goes to the next entry; false at the end, or at an error.
func (it *tableIter) next() bool {
	for {
		if it.err != nil {
			return false
		}
		if it.r.next(&it.entry) {
			return true
		}
		if it.r.bad {
			it.err = errdefs.Corrupt("%s: a block cannot be read", it.t.file.Name())
			return false
		}
		if it.block++; it.block >= len(it.t.index) {
			it.entry = Entry{}
			return false
		}
		var b []byte
		if it.count++; it.cache != nil && it.count <= 4 { // a long way would leave nothing else in the cache
			b, it.err = it.cache.block(it.t, it.block)
		} else {
			b, it.err = it.t.piece(it.t.index[it.block].offset, it.t.index[it.block].size)
		}
		it.r = blockReader{parser: parser{buf: b}, last: it.r.last[:0]}
	}
}

func (it *tableIter) peek() *Entry {
	if it.entry.Key == nil {
		return nil
	}
	return &it.entry
}

func (it *tableIter) failed() error { return it.err }
