package external

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// children are the child processes of this one; none where the kernel does not tell.
func children() []int {
	var pids []int
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, name := range lists {
		b, _ := os.ReadFile(name)
		for _, text := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(text); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// reapHelpers waits for the helpers of a container that has just been created: what runs besides its first process, as a server of files does, is our child
// now, and ends with the container. Nothing else was started since the children before were looked at.
func reapHelpers(before []int, first int) {
	for _, pid := range children() {
		if pid == first || slices.Contains(before, pid) || !ownSession(pid) {
			continue
		}
		go func() {
			for {
				if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
					return
				}
			}
		}()
	}
}

// ownSession tells helpers from what this process itself starts and waits for.
func ownSession(pid int) bool {
	sid, err := unix.Getsid(pid)
	own, oerr := unix.Getsid(0)
	return err == nil && oerr == nil && sid != own
}
