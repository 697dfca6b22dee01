package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// process names a process for good: the number alone is given out again.
type process struct {
	Pid   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"` // field 22 of /proc/<pid>/stat, in ticks since boot
}

func findProcess(pid int) (process, error) {
	start, state, err := startTime(pid)
	if err == nil && (state == 'Z' || state == 'X') {
		err = unix.ESRCH
	}
	if err != nil {
		return process{}, fmt.Errorf("find process %d: %w", pid, err)
	}
	return process{Pid: pid, Start: start}, nil
}

// alive tells whether the process is still there and more than a zombie: one of
// those has left its namespaces.
func (p process) alive() bool {
	if p.Pid <= 0 {
		return false
	}
	start, state, err := startTime(p.Pid)
	return err == nil && start == p.Start && state != 'Z' && state != 'X'
}

// startTime reads /proc/<pid>/stat. The second field, the name in parentheses, may
// hold anything, so counting begins behind the last parenthesis.
func startTime(pid int) (start uint64, state byte, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(f) < 20 {
		return 0, 0, fmt.Errorf("/proc/%d/stat: too few fields", pid)
	}
	start, err = strconv.ParseUint(string(f[19]), 10, 64)
	return start, f[0][0], err
}

// stop ends a helper: it is asked, and killed after a second.
func (p process) stop(ctx context.Context) error {
	if !p.alive() {
		return nil
	}
	fd, err := unix.PidfdOpen(p.Pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop process %d: %w", p.Pid, err)
	}
	defer unix.Close(fd)
	if !p.alive() { // the number was given out again before it was opened
		return nil
	}
	for _, step := range []struct {
		signal unix.Signal
		wait   time.Duration
	}{{unix.SIGTERM, time.Second}, {unix.SIGKILL, 5 * time.Second}} {
		if err := unix.PidfdSendSignal(fd, step.signal, nil, 0); errors.Is(err, unix.ESRCH) {
			return nil
		} else if err != nil {
			return fmt.Errorf("stop process %d: %w", p.Pid, err)
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, int(step.wait.Milliseconds())); n > 0 && err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return fmt.Errorf("stop process %d: it does not end", p.Pid)
}
