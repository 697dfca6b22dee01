package native

import (
	"os"
	"strings"
	"time"

	"github.com/camada/camada/snapshot/internal/shelf"
	"golang.org/x/sys/unix"
)

// maxTicks bounds the wait for the file system's clock to go on, in milliseconds; a
// tick is at most 10 of them.
const maxTicks = 1000

// clockSlack is how far the wall clock may drift from the time since boot before
// times of change are not compared any more.
const clockSlack = 100 * time.Millisecond

// copied waits until the clock of the file system has gone on, so that each later
// change of a file has a later time, and returns that time.
func copied(d *shelf.Draft) (*shelf.Copied, error) {
	path := d.Dir() + "/clock"
	defer os.Remove(path) //nolint:errcheck // an empty file does no harm
	first, err := stamp(path)
	if err != nil {
		return nil, err
	}
	for range maxTicks {
		now, err := stamp(path)
		if err != nil {
			return nil, err
		}
		if now > first {
			boot, offset := clocks()
			return &shelf.Copied{UnixNano: now, Boot: boot, Offset: offset}, nil
		}
		time.Sleep(time.Millisecond)
	}
	return nil, nil // this clock stands: Diff then compares all
}

// stamp makes an inode and returns its change time.
func stamp(path string) (int64, error) {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0, err
	}
	return st.Ctim.Nano(), os.Remove(path)
}

// clocks tells the boot, and how far the wall clock is ahead of the time since.
func clocks() (boot string, offset int64) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0
	}
	var wall, up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME, &wall) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return "", 0
	}
	return strings.TrimSpace(string(b)), wall.Nano() - up.Nano()
}

// since is the time for archive.DiffOptions.Since; zero when the clock was set meanwhile, so that
// change times tell nothing.
func since(c *shelf.Copied) time.Time {
	if c == nil || c.Boot == "" {
		return time.Time{}
	}
	boot, offset := clocks()
	if d := time.Duration(offset - c.Offset); boot != c.Boot || d.Abs() > clockSlack {
		return time.Time{}
	}
	return time.Unix(0, c.UnixNano)
}
