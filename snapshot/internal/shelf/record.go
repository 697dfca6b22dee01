package shelf

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/snapshot"
)

// maxRecord bounds the size of a record; it holds the ids of at most some
// thousand layers.
const maxRecord = 1 << 20

// Record is what is kept of a snapshot.
type Record struct {
	snapshot.Info
	// Below is the line of parents, the nearest first.
	Below []string `json:"below,omitempty"`
	// Copied tells when a snapshot that began as a copy of its parent was complete.
	Copied *Copied `json:"copied,omitempty"`
}

// Copied is a moment by the clock of the file system, and what tells whether this
// clock can be compared with a later one.
type Copied struct {
	// UnixNano is the latest inode change time in the copy.
	UnixNano int64 `json:"unixNano"`
	// Boot and Offset are the boot, and how far the wall clock was ahead of
	// the time since, in nanoseconds.
	Boot   string `json:"boot"`
	Offset int64  `json:"offset"`
}

// On returns the snapshots that one on top of r is laid over.
func (r Record) On() []string { return append([]string{r.ID}, r.Below...) }

// Get pins a snapshot and reads its record: ErrNotFound when it is not there,
// ErrCorrupt when its record cannot be read.
func (s *Shelf) Get(ctx context.Context, id string) (Record, error) {
	if !validID(id) {
		return Record{}, errdefs.Invalid("snapshot %q: not an id", id)
	}
	if err := s.pins.Pin(ctx, lease.Snapshot(id)); err != nil {
		return Record{}, err
	}
	return s.read(id)
}

func (s *Shelf) read(id string) (Record, error) {
	f, err := os.Open(s.path(id, recordFile))
	if err != nil {
		if _, err2 := os.Lstat(s.path(id)); err2 == nil && errors.Is(err, fs.ErrNotExist) {
			return Record{}, errdefs.Corrupt("snapshot %s: its record is missing", id)
		}
		return Record{}, class(err, "snapshot %s", id)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return Record{}, class(err, "snapshot %s: read record", id)
	}
	return parseRecord(id, b)
}

func parseRecord(id string, b []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, errdefs.Corrupt("snapshot %s: record: %w", id, err)
	}
	ok := r.ID == id && (r.Parent == "" || validID(r.Parent))
	for _, b := range r.Below {
		ok = ok && validID(b)
	}
	if !ok {
		return Record{}, errdefs.Corrupt("snapshot %s: record: it is not of this snapshot", id)
	}
	return r, nil
}

// writeRecord puts a record into a directory that nobody sees yet.
func writeRecord(path string, r Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}

// update replaces a record.
func (s *Shelf) update(r Record) error {
	tmp := s.path(r.ID, recordFile+"."+newID())
	err := writeRecord(tmp, r)
	if err == nil {
		err = os.Rename(tmp, s.path(r.ID, recordFile))
	}
	if err != nil {
		os.Remove(tmp) //nolint:errcheck // the first error tells
		return class(err, "write record of snapshot %s", r.ID)
	}
	return nil
}
