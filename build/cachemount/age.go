package cachemount

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/camada/camada/internal/hostile"
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
	// Other steps may use the directory at the same time, and may be hostile.
	err = hostile.Each(dir, func(in int, name string, st *unix.Stat_t) error {
		if st.Mode&unix.S_IFMT != unix.S_IFREG || !time.Unix(st.Mtim.Unix()).After(at) {
			return nil
		}
		return unix.UtimesNanoAt(in, name, times, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return fmt.Errorf("age the cache mount: %w", err)
	}
	return nil
}
