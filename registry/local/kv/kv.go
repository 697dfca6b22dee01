// Package kv keeps an ordered map in a directory: small keys with small heads, and bodies of some tens of kilobytes beside them.
//
//	db, err := kv.Open(dir, kv.Options{})
//	defer db.Close()
//	var b kv.Batch
//	b.Put([]byte("name"), []byte("value"))
//	seq, err := db.Write(&b) // others see it now; a killed process does not undo it
//	err = db.Sync(seq)       // and now no power cut does
//	e, ok, err := db.Get([]byte("name"))
//	err = db.Scan([]byte("a"), []byte("b"), func(e kv.Entry) error { ... })
//
// What is written goes to the end of a journal and into memory; who waits for the disk waits together with all others, for one fdatasync. When
// memory is full its keys and heads become a sorted table on the disk, and tables are merged in the background. Bodies stay where the journal has
// them. One process owns a directory; the caller sees to that. docs/registry-store.md has the format.
package kv

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/camada/camada/errdefs"
)

// Options of a DB; zero values are sensible. Tests use less.
type Options struct {
	// SegmentBytes is how big a segment of the journal gets; 32 MiB.
	SegmentBytes int64
	// MemoryBytes is how much is kept in memory before it becomes a table; 4 MiB. Up to four times as much waits to be written.
	MemoryBytes int
}

// Entry is a key with what belongs to it. Its bytes must not be changed.
type Entry struct {
	Key  []byte
	Head []byte
	// BodySize is the size of the body, in bytes; -1 when there is none.
	BodySize int64
	body     pointer
	seq      uint64 // 0 of one that is in a table
	deleted  bool
}

// pointer says where a body lies.
type pointer struct {
	segment uint64
	offset  int64
}

// DB is an open map. It is safe for use by many goroutines.
type DB struct {
	dir  string
	opts Options

	mu      sync.RWMutex // guards the three below
	mem     *memory
	frozen  []*memory // the newest first; they do not change
	version *version

	journal *journal
	cache   *cache
	room    room
	reserve reserve
	next    atomic.Uint64 // the number of the next file
	bodies  bodies

	stateMu sync.Mutex // guards state
	state   state

	wake    chan struct{}
	stop    chan struct{}
	stopped sync.WaitGroup
}

// Open opens the map in a directory, which is made when it is not there.
func Open(dir string, opts Options) (*DB, error) {
	if opts.SegmentBytes == 0 {
		opts.SegmentBytes = 32 << 20
	}
	if opts.MemoryBytes == 0 {
		opts.MemoryBytes = 4 << 20
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, class("open the map", err)
	}
	d := &DB{dir: dir, opts: opts, mem: newMemory(), version: newVersion(nil), cache: newCache(), wake: make(chan struct{}, 1), stop: make(chan struct{})}
	d.bodies = bodies{dir: dir, files: map[uint64]*os.File{}}
	d.reserve.path = filepath.Join(dir, "reserve")
	d.room.cond = sync.NewCond(&d.room.mu)
	if err := d.load(); err != nil {
		d.close()
		return nil, err
	}
	d.stopped.Go(d.work)
	return d, nil
}

// Close ends the use of the map. What was written is synced.
func (d *DB) Close() error {
	select {
	case <-d.stop:
		return nil
	default:
	}
	close(d.stop)
	d.stopped.Wait()
	d.room.change(maxFrozen, errdefs.Unavailable("the registry's map is closed"))
	return d.close()
}

func (d *DB) close() error {
	var err error
	if d.journal != nil {
		err = d.journal.close()
	}
	d.bodies.close()
	d.version.release()
	return err
}

// view returns what to read: memories and tables, the newest first. The version must be released.
func (d *DB) view() ([]*memory, *version) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	d.version.refs.Add(1)
	return append([]*memory{d.mem}, d.frozen...), d.version
}

// Get returns the entry of a key; false when there is none.
func (d *DB) Get(key []byte) (Entry, bool, error) {
	d.mu.RLock()
	e := d.mem.find(key)
	for i := 0; e == nil && i < len(d.frozen); i++ {
		e = d.frozen[i].find(key)
	}
	if e != nil {
		defer d.mu.RUnlock()
		return *e, !e.deleted, nil
	}
	v := d.version
	v.refs.Add(1)
	d.mu.RUnlock()
	defer v.release()
	for _, t := range v.tables {
		e, ok, err := t.get(d.cache, key)
		if ok || err != nil {
			return e, ok && !e.deleted, err
		}
	}
	return Entry{}, false, nil
}

// Settle waits until an entry is on the disk, for who will tell others of it.
func (d *DB) Settle(e Entry) error { return d.Sync(e.seq) }

// Body reads the body of an entry; nil when it has none.
func (d *DB) Body(e Entry) ([]byte, error) {
	for try := 0; ; try++ {
		if e.BodySize < 0 {
			return nil, nil
		}
		b := make([]byte, e.BodySize)
		err := d.bodies.read(e.body, b)
		if err == nil {
			return b, nil
		}
		// It may have been moved meanwhile.
		now, ok, gerr := d.Get(e.Key)
		if gerr != nil {
			return nil, gerr
		}
		if !ok {
			return nil, errdefs.NotFound("the body of a key: it was removed")
		}
		if try > 2 || now.body == e.body && !errors.Is(err, os.ErrClosed) {
			return nil, err
		}
		e = now
	}
}

// Scan calls fn for the entries from one key on, up to and without another (nil is the end), in order. It holds no lock while fn runs; what is
// written meanwhile may be seen or not. An error of fn ends the scan.
func (d *DB) Scan(from, to []byte, fn func(Entry) error) error {
	memories, v := d.view()
	defer v.release()
	var sources []source
	for _, m := range memories {
		sources = append(sources, newMemoryIter(d, m, from))
	}
	for _, t := range v.tables {
		sources = append(sources, newTableIter(t, d.cache, from))
	}
	return merge(sources, func(e *Entry) (bool, error) {
		if to != nil && bytes.Compare(e.Key, to) >= 0 {
			return false, nil
		}
		if e.deleted {
			return true, nil
		}
		found := *e
		found.Key = bytes.Clone(e.Key)
		return true, fn(found)
	})
}

// Write writes a batch, wholly or not at all, and returns the number by which Sync knows it. While there is no Room, none with bodies is taken.
func (d *DB) Write(b *Batch) (uint64, error) {
	if len(b.ops) == 0 {
		return 0, nil
	}
	if b.bodies {
		if err := d.Room(); err != nil {
			return 0, err
		}
	}
	if err := d.room.wait(); err != nil {
		return 0, err
	}
	return d.journal.append(b, nil)
}

// apply puts a batch that is in the journal into memory.
func (d *DB) apply(entries []Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range entries {
		d.mem.put(&entries[i])
	}
}

// Sync waits until a batch is on the disk, and all that were written before.
func (d *DB) Sync(seq uint64) error { return d.journal.sync(seq) }

// class gives an error of the file system its class.
func class(doing string, err error) error {
	err = fmt.Errorf("%s: %w", doing, err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errdefs.With(errdefs.ErrNotFound, err)
	case errors.Is(err, fs.ErrPermission):
		return errdefs.With(errdefs.ErrPermission, err)
	}
	return errdefs.With(errdefs.ErrUnavailable, err)
}
