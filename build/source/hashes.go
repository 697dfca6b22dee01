package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Hashes remembers the SHA-256 of files, so that a later build reads only
// files that changed. It is a file that is read at once and replaced at once:
//
//	"camada file hashes 1\n" | records, sorted by device and inode | CRC-32C of all before
//
//	record: device 8, inode 8, size 8, mtime 8, ctime 8, SHA-256 32 (big endian)
//
// # Why the stat key can be trusted
//
// Who changes a file changes its ctime, which nobody can set. The exception is a change so
// soon after the file was hashed that the clock of the file system has not moved on: git
// calls such entries racy. A hash is therefore only remembered when mtime and ctime
// were well before the tree was opened; a file that was just written is hashed
// again in the next build.
//
// A nil *Hashes remembers nothing. A damaged file is the same as none.
type Hashes struct {
	path string

	mu      sync.Mutex
	old     []byte   // the records of the file
	used    []uint64 // bit set of the old records that were looked up
	fresh   []record
	changed bool
}

const (
	hashesMagic = "camada file hashes 1\n"
	recordSize  = 5*8 + sha256.Size
	keySize     = 16
	statSize    = 40
	// maxHashes is the largest file that is read, in bytes: some 14 million records.
	maxHashes = 1 << 30
	// racy is how much older than the opening of the tree a file's times must be: more than a tick
	// of the kernel's coarse clock.
	racy = 20 * time.Millisecond
	// racyCoarse is the same for file systems with times of whole seconds, or two.
	racyCoarse = 3 * time.Second
)

type record [recordSize]byte

// OpenHashes reads what is remembered of the context at contextDir in the
// directory cacheDir.
func OpenHashes(cacheDir, contextDir string) (*Hashes, error) {
	abs, err := filepath.Abs(contextDir)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	sum := sha256.Sum256([]byte(abs))
	h := &Hashes{path: filepath.Join(cacheDir, hex.EncodeToString(sum[:16]))}
	info, err := os.Stat(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return nil, classify(err)
	}
	if info.Size() > maxHashes {
		return h, nil
	}
	data, err := os.ReadFile(h.path)
	if err != nil {
		return nil, classify(err)
	}
	h.old = parseHashes(data)
	h.used = make([]uint64, len(h.old)/recordSize/64+1)
	return h, nil
}

// parseHashes returns the records, nil when the file is damaged.
func parseHashes(data []byte) []byte {
	body, ok := bytes.CutPrefix(data, []byte(hashesMagic))
	if !ok || len(body) < 4 || (len(body)-4)%recordSize != 0 {
		return nil
	}
	n := len(body) - 4
	if crc32.Checksum(data[:len(data)-4], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(body[n:]) {
		return nil
	}
	return body[:n]
}

// statKey encodes what a file is recognised by.
func (e *Entry) statKey() (k [statSize]byte) {
	binary.BigEndian.PutUint64(k[0:], e.Dev)
	binary.BigEndian.PutUint64(k[8:], e.Ino)
	binary.BigEndian.PutUint64(k[16:], uint64(e.Size))
	binary.BigEndian.PutUint64(k[24:], uint64(e.Mtime))
	binary.BigEndian.PutUint64(k[32:], uint64(e.Ctime))
	return k
}

// lookup fills in the hash of e when it is known.
func (h *Hashes) lookup(e *Entry) bool {
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := e.statKey()
	lo, hi := 0, len(h.old)/recordSize
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if bytes.Compare(h.old[mid*recordSize:mid*recordSize+keySize], key[:keySize]) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo*recordSize >= len(h.old) {
		return false
	}
	r := h.old[lo*recordSize : (lo+1)*recordSize]
	if !bytes.Equal(r[:statSize], key[:]) {
		return false
	}
	h.used[lo/64] |= 1 << (lo % 64)
	copy(e.sha256[:], r[statSize:])
	e.hashed = true
	return true
}

// add remembers the hash of e, unless a change of the file could go unseen.
func (h *Hashes) add(e *Entry, opened time.Time) {
	if h == nil || !e.hashed {
		return
	}
	slack := racy
	if e.Mtime%1e9 == 0 && e.Ctime%1e9 == 0 {
		slack = racyCoarse
	}
	if max(e.Mtime, e.Ctime) >= opened.Add(-slack).UnixNano() {
		return
	}
	var r record
	key := e.statKey()
	copy(r[:], key[:])
	copy(r[statSize:], e.sha256[:])
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fresh = append(h.fresh, r)
	h.changed = true
}

// Save writes what was learnt. Builds that end at the same time do not
// disturb each other: the last one's file stays.
func (h *Hashes) Save() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.changed {
		return nil
	}
	records := h.merge()
	data := make([]byte, 0, len(hashesMagic)+len(records)*recordSize+4)
	data = append(data, hashesMagic...)
	for i := range records {
		data = append(data, records[i][:]...)
	}
	data = binary.BigEndian.AppendUint32(data, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
	if err := os.MkdirAll(filepath.Dir(h.path), 0o755); err != nil {
		return classify(err)
	}
	if err := replace(h.path, data); err != nil {
		return classify(err)
	}
	h.changed = false
	return nil
}

// merge returns the fresh records and the old ones that are worth keeping:
// all that were used, and of the others at most as many again, for builds that
// use another part of the context.
func (h *Hashes) merge() []record {
	records := slices.Clone(h.fresh)
	n := len(h.old) / recordSize
	spare := len(h.fresh) + n/2 + 1000
	for i := range n {
		if h.used[i/64]&(1<<(i%64)) == 0 {
			if spare == 0 {
				continue
			}
			spare--
		}
		records = append(records, record(h.old[i*recordSize:]))
	}
	// Stable, so that of two records of one inode the fresh one comes first.
	slices.SortStableFunc(records, func(a, b record) int { return bytes.Compare(a[:keySize], b[:keySize]) })
	return slices.CompactFunc(records, func(a, b record) bool { return bytes.Equal(a[:keySize], b[:keySize]) })
}

// replace writes a file beside path and renames it over path. It is not synced, and
// two processes may write the same file beside it: damage is noticed by the checksum, and
// a killed process leaves no more than one file, which the next one takes over.
func replace(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
