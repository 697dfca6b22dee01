package cachemount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/internal/flock"
)

// trash begins the names of what is being made or removed.
const trash = ".trash-"

// Info is one directory of a cache.
type Info struct {
	Key Key
	// Dir is its absolute path. It may be used only while an Acquire of the Key lasts.
	Dir string
	// Used is when it was used last.
	Used time.Time
	// Busy tells that somebody uses it now.
	Busy bool
}

// Each calls fn for each directory; an error of fn ends the walk. What vanishes meanwhile is passed over.
func (s *Store) Each(ctx context.Context, fn func(Info) error) error {
	keys, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list the cache mounts: %w", err)
	}
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		if strings.HasPrefix(k.Name(), trash) {
			continue
		}
		dir := filepath.Join(s.dir, k.Name())
		var key Key
		if data, err := os.ReadFile(filepath.Join(dir, "key.json")); err != nil || json.Unmarshal(data, &key) != nil {
			key = Key{}
		}
		for _, info := range lookAll(dir) {
			info.Key = key
			if err := fn(info); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookAll tells of the directories of one key. Trying their locks must not make anybody who chooses one take another, so that it
// is done while nobody chooses; otherwise they count as busy.
func lookAll(dir string) (infos []Info) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	alone := false
	if selection, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0); err == nil {
		defer selection.Close()
		alone, _ = flock.TryExclusive(selection)
	}
	for _, l := range names {
		if info, ok := look(filepath.Join(dir, l.Name()), alone); ok {
			infos = append(infos, info)
		}
	}
	return infos
}

// look tells of the directory that a lock file is for.
func look(name string, alone bool) (Info, bool) {
	n, ok := strings.CutSuffix(name, ".lock")
	if !ok {
		return Info{}, false
	}
	if _, err := strconv.Atoi(filepath.Base(n)); err != nil {
		return Info{}, false
	}
	f, err := os.Open(name)
	if err != nil {
		return Info{}, false
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Info{}, false
	}
	if _, err := os.Lstat(n); err != nil {
		return Info{}, false
	}
	free := false
	if alone {
		free, _ = flock.TryExclusive(f)
	}
	return Info{Dir: n, Used: st.ModTime(), Busy: !free}, true
}

// Expire removes the directories that nobody uses and that were last used before a time, or only counts them, and
// what killed processes have left. bytes is what measure, which may be nil, says of each.
func (s *Store) Expire(ctx context.Context, before time.Time, dryRun bool, measure func(dir string) int64) (n int, bytes int64, err error) {
	err = s.Each(ctx, func(i Info) error {
		if i.Busy || !i.Used.Before(before) {
			return nil
		}
		var size int64
		if measure != nil {
			size = measure(i.Dir)
		}
		if !dryRun {
			gone, err := s.discard(ctx, i.Dir, before)
			if err != nil || !gone {
				return err
			}
		}
		n, bytes = n+1, bytes+size
		return nil
	})
	if err != nil || dryRun {
		return n, bytes, err
	}
	return n, bytes, s.empty()
}

// discard makes a directory vanish if it is still unused. Its files go with the trash.
func (s *Store) discard(ctx context.Context, dir string, before time.Time) (bool, error) {
	keyDir := filepath.Dir(dir)
	selection, err := os.OpenFile(filepath.Join(keyDir, "lock"), os.O_RDWR, 0)
	if err != nil {
		return false, nil //nolint:nilerr // another one removes it
	}
	defer selection.Close()
	if err := flock.Exclusive(ctx, selection); err != nil || !isCurrent(selection) {
		return false, err
	}
	f, err := os.OpenFile(dir+".lock", os.O_RDWR, 0)
	if err != nil {
		return false, nil //nolint:nilerr // another one removes it
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.ModTime().Before(before) {
		return false, err
	}
	if free, err := flock.TryExclusive(f); err != nil || !free {
		return false, err
	}
	tmp, err := os.MkdirTemp(s.dir, trash+"*")
	if err != nil {
		return false, fmt.Errorf("remove a cache mount: %w", err)
	}
	if err := os.Rename(dir, filepath.Join(tmp, "gone")); err != nil {
		return false, fmt.Errorf("remove a cache mount: %w", err)
	}
	os.Remove(f.Name())
	if left, err := os.ReadDir(keyDir); err == nil && len(left) <= 2 { // key.json and the lock that is held
		os.Remove(filepath.Join(keyDir, "key.json"))
		os.Remove(selection.Name())
		os.Remove(keyDir)
	}
	return true, nil
}

// trashAge is how old a directory of the trash is before it counts as left by a killed process: filling one takes a while.
const trashAge = 24 * time.Hour

// empty removes the trash.
func (s *Store) empty() error {
	list, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cache mounts: %w", err)
	}
	for _, e := range list {
		dir := filepath.Join(s.dir, e.Name())
		if !strings.HasPrefix(e.Name(), trash) {
			continue
		}
		_, gone := os.Lstat(filepath.Join(dir, "gone"))
		if st, err := e.Info(); err != nil || gone != nil && time.Since(st.ModTime()) < trashAge {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove cache mounts: %w", err)
		}
	}
	return nil
}
