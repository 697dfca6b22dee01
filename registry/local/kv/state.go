package kv

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// state is the file of that name: what of the directory counts.
type state struct {
	Format int `json:"format"`
	// Sequence is the last record that is in a table.
	Sequence uint64 `json:"sequence"`
	// Replay is the first segment whose records are in no table.
	Replay uint64 `json:"replay"`
	// Next is a number that no file had yet.
	Next uint64 `json:"next"`
	// Tables, the newest first.
	Tables []uint64 `json:"tables"`
	// Segments before Replay that hold bodies.
	Segments []uint64 `json:"segments"`
}

const format = 1

func readState(dir string) (state, error) {
	b, err := os.ReadFile(filepath.Join(dir, "state"))
	if errors.Is(err, fs.ErrNotExist) {
		return state{Format: format}, nil
	}
	if err != nil {
		return state{}, class("read the state", err)
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return state{}, errdefs.Corrupt("%s/state cannot be read: %w", dir, err)
	}
	if s.Format != format {
		return state{}, errdefs.Unsupported("%s has format %d; this program knows %d", dir, s.Format, format)
	}
	return s, nil
}

// saveState makes s the state; stateMu is held.
func (d *DB) saveState(s state) error {
	s.Format, s.Next = format, d.next.Load()+1
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(d.dir, "state")
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return class("write the state", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(d.dir)
	}
	if err != nil {
		return class("write the state", err)
	}
	d.state = s
	return nil
}

// files lists the numbers of files with a suffix, sorted, and removes what a killed process left.
func (d *DB) files(suffix string) ([]uint64, error) {
	list, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, class("list the map", err)
	}
	var numbers []uint64
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".new") {
			os.Remove(filepath.Join(d.dir, e.Name()))
		}
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(name, 16, 64)
		if err != nil {
			return nil, errdefs.Corrupt("%s/%s is no file of a map", d.dir, e.Name())
		}
		d.next.Store(max(d.next.Load(), n))
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, nil
}

// reserveBytes are kept so that a full disk can be made less full.
const reserveBytes = 8 << 20

// reserve is a file that takes room until there is none left. While it is gone only what makes room is taken.
type reserve struct {
	path string
	mu   sync.Mutex
	gone atomic.Bool
}

// keep makes the reserve, when there is room for it.
func (r *reserve) keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := os.Lstat(r.path); err == nil {
		return
	}
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		defer f.Close()
		err = unix.Fallocate(int(f.Fd()), 0, 0, reserveBytes)
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil // then there is none
	} else if err != nil {
		os.Remove(r.path)
	}
	r.gone.Store(err != nil)
}

// spend gives the room of the reserve back; false when it was gone already.
func (r *reserve) spend() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone.Store(true)
	return os.Remove(r.path) == nil
}

// withReserve does something, with the reserve's room when there is no other.
func (d *DB) withReserve(do func() error) error {
	err := do()
	if errors.Is(err, unix.ENOSPC) && d.reserve.spend() {
		err = do()
	}
	return err
}

// Room is an error when the disk is so full that only what makes room is taken: changes without bodies.
func (d *DB) Room() error {
	if !d.reserve.gone.Load() {
		return nil
	}
	if d.reserve.keep(); !d.reserve.gone.Load() {
		return nil
	}
	return class("nothing new is taken until there is room again", unix.ENOSPC)
}
