package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// A segment is a file of records:
//
//	magic[8] number[8]   then records: length[4] crc[4] sequence[8] changes[length]
//
// All numbers are little-endian. crc is CRC-32C of sequence and changes. A length of 0 ends the segment.
const (
	magic        = "camadaj1"
	fileHeader   = 16
	recHeader    = 16
	maxRecord    = 64 << 20
	firstSegment = 1 << 20
)

func segmentPath(dir string, n uint64) string { return filepath.Join(dir, fmt.Sprintf("%016x.log", n)) }

// segment is a file of the journal. Its blocks are written once before they are used: then fdatasync has no metadata to write.
type segment struct {
	file   *os.File
	number uint64
	size   int64
}

// journal is where batches are written.
type journal struct {
	db     *DB
	synced atomic.Uint64

	mu     sync.Mutex // guards all below
	now    segment
	spare  *segment // the next one, when it is made already
	end    int64
	bodies bool
	seq    uint64
	buf    []byte
	failed error

	files sync.RWMutex // held shared while a file is synced, alone to close one

	syncMu  sync.Mutex // guards the three below
	cond    *sync.Cond
	syncing bool
	waiting int
	before  int // how many waited for the last sync
}

// newJournal begins a journal whose first record follows seq.
func newJournal(d *DB, seq uint64) (*journal, error) {
	var s *segment
	err := d.withReserve(func() (err error) {
		s, err = d.makeSegment(min(firstSegment, d.opts.SegmentBytes))
		return err
	})
	if err != nil {
		return nil, err
	}
	j := &journal{db: d, now: *s, end: fileHeader, seq: seq}
	j.cond = sync.NewCond(&j.syncMu)
	j.synced.Store(seq)
	return j, nil
}

// makeSegment makes an empty segment, durably.
func (d *DB) makeSegment(size int64) (*segment, error) {
	s := &segment{number: d.next.Add(1), size: size}
	path := segmentPath(d.dir, s.number)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, class("make a segment of the journal", err)
	}
	s.file = f
	_, err = f.Write(binary.LittleEndian.AppendUint64([]byte(magic), s.number))
	zeros := make([]byte, 256<<10)
	for at := int64(fileHeader); err == nil && at < size; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at)
	}
	if err == nil {
		err = errors.Join(f.Sync(), syncDir(d.dir))
	}
	if err != nil {
		f.Close()
		os.Remove(path)
		return nil, class("make a segment of the journal", err)
	}
	return s, nil
}

func (j *journal) close() error {
	j.mu.Lock()
	seq := j.seq
	j.mu.Unlock()
	err := j.sync(seq)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed == nil {
		j.failed = errdefs.Unavailable("the registry's map is closed")
	}
	j.files.Lock()
	defer j.files.Unlock()
	j.now.file.Close()
	if j.spare != nil {
		j.spare.file.Close()
		os.Remove(j.spare.file.Name())
	}
	return err
}

// append writes a batch at the end and puts its entries into memory, in the order of the journal, unless check says that it is not wanted any more.
func (j *journal) append(b *Batch, check func() (bool, error)) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return 0, j.failed
	}
	if check != nil {
		if ok, err := check(); !ok || err != nil {
			return 0, err
		}
	}
	if j.full() {
		if err := j.rotate(); err != nil {
			return 0, err
		}
	}
	seq := j.seq + 1
	buf := append(j.buf[:0], make([]byte, recHeader)...)
	buf, entries := b.encode(buf, seq)
	if len(buf) > maxRecord {
		return 0, errdefs.Limit("a change of %d bytes at once, more than the limit of %d", len(buf), maxRecord)
	}
	if cap(buf) <= 1<<20 {
		j.buf = buf
	}
	binary.LittleEndian.PutUint32(buf, uint32(len(buf)-recHeader))
	binary.LittleEndian.PutUint64(buf[8:], seq)
	binary.LittleEndian.PutUint32(buf[4:], sum(buf[8:]))
	// A piece that was written before an error is written over by the next record, or found torn.
	if _, err := j.now.file.WriteAt(buf, j.end); err != nil {
		return 0, class("write the journal", err)
	}
	for i := range entries {
		entries[i].body.segment = j.now.number
		entries[i].body.offset += j.end
		j.bodies = j.bodies || entries[i].BodySize >= 0
	}
	j.end += int64(len(buf))
	j.seq = seq
	j.db.apply(entries)
	if j.spare == nil && j.half() {
		j.db.rouse()
	}
	return seq, nil
}

// half reports whether the time has come to think of the next segment.
func (j *journal) half() bool {
	j.db.mu.RLock()
	defer j.db.mu.RUnlock()
	return j.end >= j.now.size/2 || j.db.mem.bytes >= j.db.opts.MemoryBytes/2
}

// nextSize is how big the next segment is to be: it grows with what is written, and does not when memory is full before the segment is.
func (j *journal) nextSize() int64 {
	return min(max(4*j.end, min(firstSegment, j.db.opts.SegmentBytes)), j.db.opts.SegmentBytes)
}

// full reports whether the next record goes to a new segment: this one is full, or memory is.
func (j *journal) full() bool {
	j.db.mu.RLock()
	defer j.db.mu.RUnlock()
	return j.end >= j.now.size || j.db.mem.bytes >= j.db.opts.MemoryBytes
}

// rotate ends a segment, and freezes the memory that has its entries.
func (j *journal) rotate() error {
	next := j.spare
	if next == nil {
		var err error
		if next, err = j.makeNext(); err != nil {
			return err
		}
	}
	// All but the last segment are on the disk.
	if err := errors.Join(j.now.file.Truncate(j.end), fdatasync(j.now.file)); err != nil {
		return j.fail(err)
	}
	old := j.now
	j.db.freeze(segmentInfo{old.number, j.bodies}, j.seq, next.number)
	j.now, j.spare, j.end, j.bodies = *next, nil, fileHeader, false
	go func() {
		j.files.Lock()
		defer j.files.Unlock()
		old.file.Close()
	}()
	return nil
}

// makeNext makes a segment that is bigger than this one.
func (j *journal) makeNext() (*segment, error) {
	var s *segment
	err := j.db.withReserve(func() (err error) {
		s, err = j.db.makeSegment(j.nextSize())
		return err
	})
	return s, err
}

// prepare makes the next segment before it is needed.
func (j *journal) prepare() {
	j.mu.Lock()
	size, want := j.nextSize(), j.spare == nil && j.half()
	j.mu.Unlock()
	if !want {
		return
	}
	s, err := j.db.makeSegment(size)
	if err != nil {
		return // the one who needs it tries again and tells
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.spare != nil || s.number < j.now.number {
		// Somebody could not wait. Numbers of segments grow in the order of their records.
		s.file.Close()
		os.Remove(s.file.Name())
		return
	}
	j.spare = s
}

// fail ends the journal, which is locked.
func (j *journal) fail(err error) error {
	// What the kernel could not write it may have dropped: nothing that follows can be trusted to be whole.
	j.failed = errdefs.Unavailable("the journal cannot be written to the disk, nothing is taken any more until a restart: %w", err)
	return j.failed
}

// patience is how long a sync waits for others that waited for the last one, too: they have just been let go and come back soon.
const patience = 400 * time.Microsecond

// sync waits until the record seq is on the disk. One of those who wait syncs for all.
func (j *journal) sync(seq uint64) error {
	if seq <= j.synced.Load() {
		return nil
	}
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	j.waiting++
	defer func() { j.waiting-- }()
	for j.synced.Load() < seq {
		if j.syncing {
			j.cond.Wait()
			continue
		}
		j.syncing = true
		for end := time.Now().Add(patience); j.waiting < j.before && time.Now().Before(end); {
			j.syncMu.Unlock()
			time.Sleep(patience / 8)
			j.syncMu.Lock()
		}
		j.before = j.waiting
		j.syncMu.Unlock()
		err := j.flush()
		j.syncMu.Lock()
		j.syncing = false
		j.cond.Broadcast()
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *journal) flush() error {
	j.files.RLock()
	defer j.files.RUnlock()
	j.mu.Lock()
	seq, file, failed := j.seq, j.now.file, j.failed
	j.mu.Unlock()
	if failed != nil {
		return failed
	}
	if err := fdatasync(file); err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.fail(err)
	}
	j.synced.Store(seq)
	return nil
}

// record reads the record at an offset of a segment; io.EOF when there is no whole one.
func record(r io.ReaderAt, at int64, size int64) (buf []byte, seq uint64, err error) {
	var head [recHeader]byte
	if at+recHeader > size {
		return nil, 0, io.EOF
	}
	if _, err := r.ReadAt(head[:], at); err != nil {
		return nil, 0, class("read the journal", err)
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n == 0 || n > maxRecord || at+recHeader+n > size {
		return nil, 0, io.EOF
	}
	buf = make([]byte, recHeader+n)
	if _, err := r.ReadAt(buf, at); err != nil {
		return nil, 0, class("read the journal", err)
	}
	if sum(buf[8:]) != binary.LittleEndian.Uint32(buf[4:]) {
		return nil, 0, io.EOF
	}
	return buf, binary.LittleEndian.Uint64(buf[8:]), nil
}

func sum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func fdatasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
