package build

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/camada/camada/mount"
	"golang.org/x/sys/unix"
)

// settle makes files that are younger than the epoch as old as they are in the layer. So later steps, and containers of the
// image, see the same whether the step was run here or its layer unpacked. Nobody else uses the tree now.
func settle(root mount.Mount, epoch time.Time) error {
	top := root.Upper
	if top == "" {
		top = root.Source
	}
	if top == "" {
		return nil
	}
	at, err := unix.TimeToTimespec(epoch)
	if err != nil {
		return fmt.Errorf("the build's epoch: %w", err)
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, at}
	return filepath.WalkDir(top, func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, unix.ENAMETOOLONG) { // deeper than a path can be: it keeps its time
			return nil
		}
		if err != nil {
			return fmt.Errorf("look at what the step wrote: %w", err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); errors.Is(err, unix.ENAMETOOLONG) {
			return nil
		} else if err != nil {
			return fmt.Errorf("look at %s: %w", path, err)
		}
		if !time.Unix(st.Mtim.Unix()).After(epoch) {
			return nil
		}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("set the time of %s: %w", path, err)
		}
		return nil
	})
}
