package http

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/camada/camada/internal/flock"
)

// Expire removes what was not used since before from the cache in dir, and returns how many
// files and bytes that were. What somebody works on stays.
func Expire(dir string, before time.Time, dryRun bool) (files int, bytes int64, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("expire downloads: %w", err)
	}
	for _, d := range entries {
		name := filepath.Join(dir, d.Name())
		lock, err := os.OpenFile(filepath.Join(name, lockName), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			continue
		}
		if ok, err := flock.TryExclusive(lock); err == nil && ok {
			if info, err := lock.Stat(); err == nil && info.ModTime().Before(before) {
				if body, err := os.Lstat(filepath.Join(name, bodyName)); err == nil {
					bytes += body.Size()
				}
				files++
				if !dryRun {
					os.RemoveAll(name)
				}
			}
		}
		lock.Close()
	}
	return files, bytes, nil
}

func inode(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
