package engine

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// leanAfter is when a monitor gives its memory back: what its start needed is not needed any more, and a container that ended by
// then was not worth it.
const leanAfter = time.Second

// leanGC makes the collector run early: a monitor makes little garbage, and lives long.
const leanGC = 20 // percent

// lean gives back what memory this process does not need to wait for the end of a container. The program's own text stays in the page
// cache, which all monitors share; only its place in this process's tables is given up, and taken again page by page when it is used.
func lean() {
	debug.SetGCPercent(leanGC)
	debug.FreeOSMemory()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	for _, r := range ownText(string(maps), self) { // an error means that it stays as it was
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, r[0], r[1]-r[0], unix.MADV_DONTNEED)
	}
}

// ownText reads /proc/self/smaps (proc_pid_smaps(5)) and returns the beginnings and ends of what is mapped of the program's file and was never
// written to, so that it can be read from there again.
func ownText(smaps, self string) (ranges [][2]uintptr) {
	const fields = 6 // range, rights, offset, device, inode, path
	var at [2]uintptr
	for line := range strings.Lines(smaps) {
		f := strings.Fields(line)
		switch {
		case len(f) >= fields && strings.HasSuffix(f[1], "p") && f[0] != "VmFlags:":
			at = [2]uintptr{}
			if f[5] == self && (f[1] == "r-xp" || f[1] == "r--p") {
				at = addresses(f[0])
			}
		case len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0" && at[0] < at[1]:
			ranges = append(ranges, at)
		case len(f) > 1 && strings.Contains(f[0], "-"): // a mapping without a file
			at = [2]uintptr{}
		}
	}
	return ranges
}

// addresses reads two hexadecimal numbers; nothing for what is none.
func addresses(text string) (at [2]uintptr) {
	from, to, _ := strings.Cut(text, "-")
	a, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return at
	}
	b, err := strconv.ParseUint(to, 16, 64)
	if err != nil {
		return at
	}
	return [2]uintptr{uintptr(a), uintptr(b)}
}
