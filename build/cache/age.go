package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Each calls fn for each record that can be read, with the time when it was made or last
// used; an error of fn ends the walk.
func (c *Cache) Each(ctx context.Context, fn func(rec Record, used time.Time) error) error {
	return c.files(ctx, func(path string, info fs.FileInfo) error {
		if strings.HasSuffix(path, temporary) {
			return nil
		}
		var rec Record
		data, err := readFile(path)
		if err != nil || json.Unmarshal(data, &rec) != nil {
			return nil //nolint:nilerr // what cannot be read is the same as nothing
		}
		return fn(rec, info.ModTime())
	})
}

// Expire removes the records that were last used before a time, or only counts them.
func (c *Cache) Expire(ctx context.Context, before time.Time, dryRun bool) (n int, err error) {
	err = c.files(ctx, func(path string, info fs.FileInfo) error {
		if !info.ModTime().Before(before) {
			return nil
		}
		n++
		if dryRun {
			return nil
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("expire build cache: %w", err)
		}
		os.Remove(filepath.Dir(path)) // fails when it is not empty
		return nil
	})
	return n, err
}

// files walks the records' files. What vanishes meanwhile is passed over.
func (c *Cache) files(ctx context.Context, fn func(path string, info fs.FileInfo) error) error {
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it vanished
		}
		return fn(path, info)
	})
	if err != nil {
		return fmt.Errorf("walk the build cache: %w", err)
	}
	return nil
}
