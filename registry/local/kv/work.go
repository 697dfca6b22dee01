package kv

import (
	"errors"
	"slices"
	"time"
)

// rouse lets the background see what there is to do.
func (d *DB) rouse() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// work makes tables of memories, merges tables and prepares segments, until the map is closed.
func (d *DB) work() {
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-d.wake:
		case <-retry.C:
		}
		d.journal.prepare()
		err := d.flushAll()
		if err == nil {
			err = d.compact()
		}
		if err != nil && !errors.Is(err, errStopped) {
			retry.Reset(time.Second)
		}
	}
}

var errStopped = errors.New("stopped")

// freeze makes the memory one that waits to become a table, under the journal's lock.
func (d *DB) freeze(s segmentInfo, seq, before uint64) {
	d.mu.Lock()
	m := d.mem
	m.segments, m.seq, m.before = []segmentInfo{s}, seq, before
	d.frozen = slices.Concat([]*memory{m}, d.frozen)
	d.mem = newMemory()
	d.mu.Unlock()
	d.room.change(1, nil)
	d.rouse()
}

// flushAll makes tables of all that is frozen.
func (d *DB) flushAll() error {
	for {
		d.mu.RLock()
		var m *memory
		if n := len(d.frozen); n > 0 {
			m = d.frozen[n-1]
		}
		d.mu.RUnlock()
		if m == nil {
			return nil
		}
		if err := d.withReserve(func() error { return d.flushMemory(m) }); err != nil {
			d.room.change(0, err)
			return err
		}
		d.reserve.keep()
	}
}

// flushMemory makes a table of the oldest frozen memory.
func (d *DB) flushMemory(m *memory) error {
	t, err := d.buildTable(m.entries, func(b *builder) error {
		for n := m.head.next[0]; n != nil; n = n.next[0] {
			if err := b.add(n.entry); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return class("write a table", err)
	}
	defer t.release()
	d.stateMu.Lock()
	defer d.stateMu.Unlock()
	s := d.state
	s.Tables = slices.Concat([]uint64{t.number}, s.Tables)
	s.Segments = slices.Clone(s.Segments)
	for _, seg := range m.segments {
		if seg.bodies {
			s.Segments = append(s.Segments, seg.number)
		}
	}
	s.Sequence, s.Replay = m.seq, m.before
	if err := d.saveState(s); err != nil {
		t.remove.Store(true)
		return err
	}
	v := newVersion(slices.Concat([]*table{t}, d.version.tables))
	d.mu.Lock()
	old := d.version
	d.version = v
	d.frozen = slices.Clone(d.frozen[:len(d.frozen)-1])
	d.mu.Unlock()
	old.release()
	d.room.change(-1, nil)
	for _, seg := range m.segments {
		if !seg.bodies {
			d.bodies.drop(seg.number)
		}
	}
	return nil
}

// buildTable writes a table and opens it.
func (d *DB) buildTable(keys int, fill func(*builder) error) (t *table, err error) {
	n := d.next.Add(1)
	b, err := newBuilder(d.dir, n, keys)
	if err != nil {
		return nil, err
	}
	defer func() { b.close(err) }()
	if err = fill(b); err == nil {
		err = b.finish()
	}
	if err == nil {
		err = syncDir(d.dir)
	}
	if err != nil {
		return nil, err
	}
	return openTable(d.dir, n)
}

// Tables of about one size are merged when there are this many of them.
const mergeAt = 4

// compact merges tables until there are few: each is bigger than all newer ones together.
func (d *DB) compact() error {
	for {
		d.mu.RLock()
		tables := d.version.tables
		d.mu.RUnlock()
		n := mergeable(tables)
		if n == 0 {
			return nil
		}
		if err := d.mergeTables(tables[:n], n == len(tables)); err != nil {
			return err
		}
	}
}

// mergeable returns how many of the newest tables are worth merging.
func mergeable(tables []*table) int {
	if len(tables) < mergeAt {
		return 0
	}
	n, size := 1, tables[0].size
	for n < len(tables) && tables[n].size <= 2*size {
		size += tables[n].size
		n++
	}
	if n >= mergeAt || len(tables) > 3*mergeAt {
		return max(n, 2)
	}
	return 0
}

// mergeTables makes one table of some of the newest. When there is none behind them, deleted keys are left out.
func (d *DB) mergeTables(tables []*table, all bool) error {
	keys := 0
	var sources []source
	for _, t := range tables {
		keys += int(t.entries)
		sources = append(sources, newTableIter(t, nil, nil))
	}
	t, err := d.buildTable(keys, func(b *builder) error {
		done := 0
		return merge(sources, func(e *Entry) (bool, error) {
			if done++; done%1024 == 0 {
				if err := d.pause(); err != nil {
					return false, err
				}
			}
			if e.deleted && all {
				return true, nil
			}
			return true, b.add(e)
		})
	})
	if err != nil {
		if errors.Is(err, errStopped) {
			return err
		}
		return class("merge tables", err)
	}
	defer t.release()
	d.stateMu.Lock()
	defer d.stateMu.Unlock()
	// Newer tables may have come before them.
	now := slices.Clone(d.version.tables)
	at := slices.Index(now, tables[0])
	now = slices.Replace(now, at, at+len(tables), t)
	s := d.state
	s.Tables = nil
	for _, t := range now {
		s.Tables = append(s.Tables, t.number)
	}
	if err := d.saveState(s); err != nil {
		t.remove.Store(true)
		return err
	}
	for _, t := range tables {
		t.remove.Store(true)
	}
	d.install(now)
	return nil
}

// pause lets a long merge do what is more urgent.
func (d *DB) pause() error {
	select {
	case <-d.stop:
		return errStopped
	default:
	}
	d.mu.RLock()
	urgent := len(d.frozen) > 0
	d.mu.RUnlock()
	if !urgent {
		return nil
	}
	d.journal.prepare()
	return d.flushAll()
}
