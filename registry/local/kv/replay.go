package kv

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/camada/camada/errdefs"
)

// load opens what is in the directory, and begins a new segment.
func (d *DB) load() error {
	s, err := readState(d.dir)
	if err != nil {
		return err
	}
	d.state = s
	if s.Next > 0 {
		d.next.Store(s.Next - 1)
	}
	if err := d.loadTables(); err != nil {
		return err
	}
	numbers, err := d.files(".log")
	if err != nil {
		return err
	}
	for _, n := range s.Segments {
		if !slices.Contains(numbers, n) {
			return errdefs.Corrupt("%s is gone", segmentPath(d.dir, n))
		}
	}
	seq, replayed := s.Sequence, []segmentInfo{}
	for _, n := range numbers {
		if n < s.Replay {
			if !slices.Contains(s.Segments, n) {
				os.Remove(segmentPath(d.dir, n))
			}
			continue
		}
		last, bodies, err := d.replaySegment(n, seq)
		if err != nil {
			return err
		}
		if last == seq {
			os.Remove(segmentPath(d.dir, n)) // nothing is in it
			continue
		}
		seq = last
		replayed = append(replayed, segmentInfo{n, bodies})
	}
	if d.journal, err = newJournal(d, seq); err != nil {
		return err
	}
	d.reserve.keep()
	if len(replayed) == 0 {
		return nil
	}
	m := d.mem
	m.segments, m.seq, m.before = replayed, seq, d.journal.now.number
	d.mem, d.frozen = newMemory(), []*memory{m}
	d.room.change(1, nil)
	return d.withReserve(func() error { return d.flushMemory(m) })
}

func (d *DB) loadTables() error {
	numbers, err := d.files(".tab")
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if !slices.Contains(d.state.Tables, n) {
			os.Remove(tablePath(d.dir, n))
		}
	}
	var tables []*table
	defer func() {
		for _, t := range tables {
			t.release()
		}
	}()
	for _, n := range d.state.Tables {
		t, err := openTable(d.dir, n)
		if err != nil {
			return err
		}
		tables = append(tables, t)
	}
	d.install(tables)
	return nil
}

// install makes tables the ones to read; d.mu is not held, or nobody else has the map yet.
func (d *DB) install(tables []*table) {
	v := newVersion(tables)
	d.mu.Lock()
	old := d.version
	d.version = v
	d.mu.Unlock()
	old.release()
}

// replaySegment reads one segment whose records follow seq.
func (d *DB) replaySegment(n, seq uint64) (last uint64, bodies bool, err error) {
	f, err := os.Open(segmentPath(d.dir, n))
	if err != nil {
		return 0, false, class("read the journal", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, false, class("read the journal", err)
	}
	var head [fileHeader]byte
	if fi.Size() < fileHeader {
		return seq, false, nil // killed while it was made
	}
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return 0, false, class("read the journal", err)
	}
	if string(head[:8]) != magic || binary.LittleEndian.Uint64(head[8:]) != n {
		return 0, false, errdefs.Corrupt("%s is no segment of a journal", f.Name())
	}
	for at := int64(fileHeader); ; {
		buf, have, err := record(f, at, fi.Size())
		if errors.Is(err, io.EOF) || err == nil && have <= seq && at > fileHeader {
			// Of what was written last the killed process may not have seen that it is on the disk.
			return seq, bodies, fdatasync(f)
		}
		if err != nil {
			return 0, false, err
		}
		if have != seq+1 {
			return 0, false, errdefs.Corrupt("%s goes on with record %d after %d: records are missing", f.Name(), have, seq)
		}
		seq = have
		entries, err := decode(buf, recHeader, seq)
		if err != nil {
			return 0, false, err
		}
		for i := range entries {
			entries[i].body.segment = n
			entries[i].body.offset += at
			bodies = bodies || entries[i].BodySize >= 0
		}
		d.apply(entries)
		at += int64(len(buf))
	}
}
