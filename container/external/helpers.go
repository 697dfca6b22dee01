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

// reapHelpers waits for what a verb of the program has left running besides the process that it started: a server of files, which ends with the container,
// and the steps of a start that failed. They are our children now. One that nobody waits for stays in the container's PID namespace, whose first process
// cannot end before all others are gone. before are the children of before the verb.
func reapHelpers(before []int, started int) {
	for _, pid := range children() {
		if pid == started || slices.Contains(before, pid) || !left(pid) {
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

// left tells what the program has left running from what this process itself starts and waits for: that is in our session, and in our process group or, as
// the program itself is, the first of its own.
func left(pid int) bool {
	sid, err := unix.Getsid(pid)
	own, oerr := unix.Getsid(0)
	group, gerr := unix.Getpgid(pid)
	if err != nil || oerr != nil || gerr != nil {
		return false
	}
	return sid != own || group != pid && group != unix.Getpgrp()
}
