package container

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// KillSession ends a process that Exec made, and all that it started and that are still in its session. Killing what has ended is no
// error. What made a session of its own is not found.
func (p *Process) KillSession() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped { // its id may be another's
		return nil
	}
	const rounds = 10 // what is found can fork meanwhile
	for range rounds {
		if !killSession(p.pid) {
			break
		}
	}
	if err := unix.Kill(p.pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
		return os.NewSyscallError("kill", err)
	}
	return nil
}

// killSession kills the members of a session but for its leader, which keeps the session's id from being used again; false when
// there were none.
func killSession(leader int) bool {
	proc, err := os.Open("/proc")
	if err != nil {
		return false
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	found := false
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == leader {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if sessionOf(pid) == leader && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
			found = true
		}
		unix.Close(fd)
	}
	return found
}

// sessionOf is field 6 of /proc/<pid>/stat (proc_pid_stat(5)), 0 for what has ended.
func sessionOf(pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // begins with field 3
	if len(f) < 4 || f[0][0] == 'Z' {
		return 0
	}
	n, err := strconv.Atoi(string(f[3]))
	if err != nil {
		return 0
	}
	return n
}
