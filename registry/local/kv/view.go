package kv

import (
	"bytes"
	"os"
	"sync"
	"sync/atomic"
)

// version is the tables of a moment, the newest first. Who has one keeps them.
type version struct {
	tables []*table
	refs   atomic.Int32
}

func newVersion(tables []*table) *version {
	v := &version{tables: tables}
	v.refs.Store(1)
	for _, t := range tables {
		t.acquire()
	}
	return v
}

func (v *version) release() {
	if v.refs.Add(-1) == 0 {
		for _, t := range v.tables {
			t.release()
		}
	}
}

// memoryIter goes through a memory, some entries at a time.
type memoryIter struct {
	d       *DB
	m       *memory
	entries []Entry
	at      int
	want    int
	more    bool
}

func newMemoryIter(d *DB, m *memory, from []byte) *memoryIter {
	it := &memoryIter{d: d, m: m, want: 4}
	it.fill(from)
	return it
}

func (it *memoryIter) fill(from []byte) {
	it.entries, it.at = it.entries[:0], 0
	it.d.mu.RLock()
	defer it.d.mu.RUnlock()
	it.more = it.m.scan(from, nil, func(e *Entry) bool {
		it.entries = append(it.entries, *e)
		return len(it.entries) < it.want
	})
	it.want = min(4*it.want, 256)
}

func (it *memoryIter) peek() *Entry {
	if it.at >= len(it.entries) {
		return nil
	}
	return &it.entries[it.at]
}

func (it *memoryIter) next() bool {
	if it.at++; it.at >= len(it.entries) && it.more {
		it.fill(append(bytes.Clone(it.entries[it.at-1].Key), 0))
	}
	return it.at < len(it.entries)
}

func (it *memoryIter) failed() error { return nil }

// bodies are the files of segments, to read bodies from.
type bodies struct {
	dir   string
	mu    sync.Mutex
	files map[uint64]*os.File
}

// maxOpen is how many segments are open at once.
const maxOpen = 64

func (b *bodies) file(n uint64) (*os.File, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.files[n]; f != nil {
		return f, nil
	}
	f, err := os.Open(segmentPath(b.dir, n))
	if err != nil {
		return nil, class("read a body", err)
	}
	for old, o := range b.files {
		if len(b.files) < maxOpen {
			break
		}
		o.Close() // who reads from it opens it again
		delete(b.files, old)
	}
	b.files[n] = f
	return f, nil
}

func (b *bodies) read(p pointer, buf []byte) error {
	f, err := b.file(p.segment)
	if err != nil {
		return err
	}
	if _, err := f.ReadAt(buf, p.offset); err != nil {
		return class("read a body", err)
	}
	return nil
}

// drop removes a segment.
func (b *bodies) drop(n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.files[n]; f != nil {
		f.Close()
		delete(b.files, n)
	}
	os.Remove(segmentPath(b.dir, n))
}

func (b *bodies) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n, f := range b.files {
		f.Close()
		delete(b.files, n)
	}
}

// room is where writers wait while too much of memory is not in tables yet.
type room struct {
	mu      sync.Mutex
	cond    *sync.Cond
	waiting int   // memories that are frozen
	err     error // why the last one could not be written
}

// maxFrozen is how many memories may wait to be written.
const maxFrozen = 4

func (r *room) wait() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.waiting >= maxFrozen {
		if r.err != nil {
			return r.err
		}
		r.cond.Wait()
	}
	return nil
}

func (r *room) change(by int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting += by
	r.err = err
	r.cond.Broadcast()
}
