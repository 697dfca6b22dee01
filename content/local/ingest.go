package local

import (
	"context"
	"crypto/rand"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// ingestWait is how long a Writer waits for the lock of an ingest: collectors
// and listings hold it for a moment, another Writer for long.
const ingestWait = 100 * time.Millisecond

// maxState bounds the size of a state file in bytes.
const maxState = 64 << 10

// ingest is a directory of ingest/ under an exclusive flock.
type ingest struct {
	path string
	ref  string
	lock *os.File
}

// state is what is kept beside the bytes. The hash spares a rehash of the bytes up
// to Offset; it is believed only as long as the machine runs on, because
// nothing syncs the bytes.
type state struct {
	Ref       string           `json:"ref,omitempty"`
	Algorithm digest.Algorithm `json:"algorithm"`
	Boot      string           `json:"boot,omitempty"`
	Offset    int64            `json:"offset,omitempty"`
	Hash      []byte           `json:"hash,omitempty"`
}

// openIngest opens and locks the ingest of a name, or makes one without a name.
func (s *Store) openIngest(ctx context.Context, ref string) (*ingest, error) {
	dir := filepath.Join(s.root, "ingest")
	id := "t-" + strings.ToLower(rand.Text())
	if ref != "" {
		id = "r-" + digest.FromString(ref).Encoded()[:40]
	}
	path := filepath.Join(dir, id)
	ctx, cancel := context.WithTimeout(ctx, ingestWait)
	defer cancel()
	for {
		if err := os.Mkdir(path, 0o700); errors.Is(err, fs.ErrNotExist) {
			if err := makeDir(dir); err != nil {
				return nil, err
			}
			continue
		} else if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, class("make ingest", err)
		}
		lock, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, class("open ingest", err)
		}
		if err := flock.Exclusive(ctx, lock); err != nil {
			lock.Close()
			return nil, errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("ingest %q is in use by another writer: %w", ref, err))
		}
		// It may have been removed between the open and the lock.
		if same(lock, path) {
			return &ingest{path: path, ref: ref, lock: lock}, nil
		}
		lock.Close()
	}
}

func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

func (in *ingest) data() string { return filepath.Join(in.path, "data") }

func (in *ingest) openData() (*os.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | unix.O_NOFOLLOW
	f, err := os.OpenFile(in.data(), flags, 0o600)
	if errors.Is(err, fs.ErrPermission) && os.Chmod(in.data(), 0o600) == nil {
		// A commit ended between its change of mode and its rename.
		f, err = os.OpenFile(in.data(), flags, 0o600)
	}
	if err != nil {
		return nil, class("open ingest", err)
	}
	return f, nil
}

// loadHash sets h to a saved state and returns the offset that it stands for; 0
// when there is none that can be used.
func (in *ingest) loadHash(h hash.Hash, alg digest.Algorithm, size int64) int64 {
	st, err := readState(in.path)
	if err != nil || st.Algorithm != alg || st.Offset <= 0 || st.Offset > size || st.Boot == "" || st.Boot != bootID() {
		return 0
	}
	u, ok := h.(encoding.BinaryUnmarshaler)
	if !ok {
		return 0
	}
	if err := u.UnmarshalBinary(st.Hash); err != nil {
		h.Reset()
		return 0
	}
	return st.Offset
}

// saveHash keeps the state of h for loadHash.
func (in *ingest) saveHash(h hash.Hash, alg digest.Algorithm, offset int64) error {
	st := state{Algorithm: alg, Offset: offset, Boot: bootID()}
	if m, ok := h.(encoding.BinaryMarshaler); ok {
		b, err := m.MarshalBinary()
		if err != nil {
			return fmt.Errorf("save ingest %q: %w", in.ref, err)
		}
		st.Hash = b
	}
	return in.saveState(st)
}

// saveState replaces the state. It is lost without harm, so nothing is synced.
func (in *ingest) saveState(st state) error {
	if in.ref == "" {
		return nil
	}
	st.Ref = in.ref
	b, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("save ingest %q: %w", in.ref, err)
	}
	tmp := filepath.Join(in.path, "state.tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return class("save ingest", err)
	}
	if err := os.Rename(tmp, filepath.Join(in.path, "state")); err != nil {
		return class("save ingest", err)
	}
	return nil
}

func (in *ingest) close() { in.lock.Close() }

// remove removes the ingest and ends its lock.
func (in *ingest) remove() error {
	defer in.lock.Close()
	if err := os.RemoveAll(in.path); err != nil {
		return class("remove ingest", err)
	}
	return nil
}

func readState(dir string) (state, error) {
	var st state
	b, err := os.ReadFile(filepath.Join(dir, "state"))
	if err == nil && len(b) > maxState {
		err = errdefs.Limit("state of %d bytes", len(b))
	}
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	return st, err
}

// Ingest describes an ingest on disk.
type Ingest struct {
	// ID is the name of its directory.
	ID string
	// Ref is the writer's name for it, "" when there is none.
	Ref string
	// Size of its bytes so far.
	Size int64
	// Updated is when it was last written.
	Updated time.Time
	// Active tells whether a Writer has it open.
	Active bool
}

// Ingests lists the ingests on disk.
func (s *Store) Ingests(ctx context.Context) ([]Ingest, error) {
	var all []Ingest
	err := s.eachIngest(ctx, func(in Ingest, _ *os.File) error {
		all = append(all, in)
		return nil
	})
	return all, err
}

// RemoveIngests removes the ingests that no Writer has open and that were last
// written before the time given, or only counts them for a dry run. It
// returns how many they are and how many bytes they have.
func (s *Store) RemoveIngests(ctx context.Context, before time.Time, dryRun bool) (n int, size int64, err error) {
	err = s.eachIngest(ctx, func(in Ingest, lock *os.File) error {
		if in.Active || !in.Updated.Before(before) {
			return nil
		}
		if !dryRun {
			if err := os.RemoveAll(lock.Name()); err != nil {
				return class("remove ingest", err)
			}
		}
		n++
		size += in.Size
		return nil
	})
	return n, size, err
}

// eachIngest calls fn with each ingest; lock is its directory, under an
// exclusive flock unless the ingest is active.
func (s *Store) eachIngest(ctx context.Context, fn func(in Ingest, lock *os.File) error) error {
	entries, err := os.ReadDir(filepath.Join(s.root, "ingest"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return class("list ingests", err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !e.IsDir() {
			continue
		}
		lock, err := os.Open(filepath.Join(s.root, "ingest", e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return class("open ingest", err)
		}
		err = oneIngest(e.Name(), lock, fn)
		lock.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func oneIngest(id string, lock *os.File, fn func(in Ingest, lock *os.File) error) error {
	free, err := flock.TryExclusive(lock)
	if err != nil {
		return err
	}
	in := Ingest{ID: id, Active: !free}
	if st, err := readState(lock.Name()); err == nil {
		in.Ref = st.Ref
	}
	fi, err := os.Lstat(filepath.Join(lock.Name(), "data"))
	if errors.Is(err, fs.ErrNotExist) {
		fi, err = lock.Stat()
	} else if err == nil {
		in.Size = fi.Size()
	}
	if err != nil {
		return class("look at ingest", err)
	}
	in.Updated = fi.ModTime()
	return fn(in, lock)
}
