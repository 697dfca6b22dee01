package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/cachemount"
)

// cacheMounts are the directories of RUN --mount=type=cache.
func (e *Engine) cacheMounts() *cachemount.Store {
	return cachemount.Open(e.mountDir())
}

func (e *Engine) mountDir() string { return filepath.Join(e.root, "cache", "mounts") }

// expireMounts removes the cache mounts that were last used before a time, and what is remembered of trees that steps mounted.
func (e *Engine) expireMounts(ctx context.Context, before time.Time, dryRun bool) (n int, bytes int64, err error) {
	n, bytes, err = e.cacheMounts().Expire(ctx, before, dryRun, func(dir string) int64 {
		size, _, _ := size(dir) // for people; what cannot be read counts nothing
		return size
	})
	if err != nil || dryRun {
		return n, bytes, err
	}
	trees := filepath.Join(e.root, "cache", build.TreeDigests)
	list, err := os.ReadDir(trees)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return n, bytes, err
	}
	for _, f := range list {
		if info, err := f.Info(); err == nil && info.ModTime().Before(before) {
			os.Remove(filepath.Join(trees, f.Name()))
		}
	}
	return n, bytes, nil
}

// mountUsage is what cache mounts take.
func (e *Engine) mountUsage(ctx context.Context) (UsageRow, error) {
	row := UsageRow{Type: "Cache mounts"}
	err := e.cacheMounts().Each(ctx, func(i cachemount.Info) error {
		bytes, _, err := size(i.Dir)
		if err != nil {
			return nil //nolint:nilerr // it vanished, or changes under the count, which is for people
		}
		row.Total++
		row.Bytes += bytes
		if i.Busy {
			row.Active++
		} else {
			row.Reclaimable += bytes
		}
		return nil
	})
	return row, err
}
