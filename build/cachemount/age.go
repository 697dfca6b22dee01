package cachemount

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// maxNote is how long the text is that a lock file holds, in bytes.
const maxNote = 4096

// Age makes the files of the directory older than epoch when what they were made from may have changed: below names what the
// step of now starts from, and is remembered with the directory.
//
// Files that COPY puts into an image have the epoch as their time, whatever changed in them, and programs like make and
// cargo compare times: they would take everything in a cache that a former build filled for newer than its sources. So they
// find it older, and make it again. Caches by content are not disturbed.
func (h *Handle) Age(below string, epoch time.Time) error {
	note := make([]byte, maxNote)
	n, err := h.lock.ReadAt(note, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("cache mount: %w", err)
	}
	if string(note[:n]) == below {
		return nil
	}
	if n > 0 { // a directory that was never used holds nothing that was made from anything
		if err := age(h.dir, epoch.Add(-time.Second)); err != nil {
			return err
		}
	}
	// The note comes last: who is killed before has to do it again.
	if err = h.lock.Truncate(0); err == nil {
		_, err = h.lock.WriteAt([]byte(below), 0)
	}
	if err != nil {
		return fmt.Errorf("cache mount: %w", err)
	}
	return nil
}

// age sets the modification time of regular files that are younger to at.
func age(dir string, at time.Time) error {
	ts, err := unix.TimeToTimespec(at)
	if err != nil {
		return fmt.Errorf("age the cache mount: %w", err)
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, ts}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil // others may use the directory at the same time
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || !info.ModTime().After(at) {
			return nil //nolint:nilerr // it vanished
		}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW); err != nil && !errors.Is(err, unix.ENOENT) {
			return &fs.PathError{Op: "set the time of", Path: path, Err: err}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("age the cache mount: %w", err)
	}
	return nil
}
