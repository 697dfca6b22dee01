// Package tasks knows the limits of processes and threads that a process is under.
//
//	if err := tasks.Room(16); err != nil { ... } // before anything is begun that needs them
//	return tasks.Explain(err)                    // of a fork that failed
//
// A Go program cannot catch that a thread is refused to it: its runtime prints the stacks and ends. So a program that is about to begin looks
// whether there is room. That costs the reading of two or three small files; only where a limit is near is it tried out.
package tasks

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// near is how many tasks a limit may be away to be called near.
const near = 8

// Room returns ErrLimit when this process cannot have need more threads and children at the same time. It starts no process, and is called early: where a
// limit is near, the calling thread makes that many threads for a moment, under each other.
func Room(need int) error {
	reached := limits(need)
	if len(reached) == 0 || !refused(need) {
		return nil
	}
	return errdefs.Limit("%d more processes and threads cannot be started: %s; end some, or raise the limit", need, strings.Join(reached, ", "))
}

// Explain adds to the error of a start of a process that the kernel refused (EAGAIN) which limits are near. Other errors, nil too, stay what they are.
func Explain(err error) error {
	if !errors.Is(err, unix.EAGAIN) || errdefs.IsLimit(err) {
		return err
	}
	reached := limits(near)
	if len(reached) == 0 {
		return err
	}
	return errdefs.Limit("%w: the limit of processes is reached: %s; end some, or raise the limit", err, strings.Join(reached, ", "))
}

// Crashed reports ErrLimit when what a Go program wrote as it ended is that a thread was refused to it. Nil for any other text.
func Crashed(text string) error {
	if !strings.Contains(text, "failed to create new OS thread") {
		return nil
	}
	reached := limits(2 * near)
	if len(reached) == 0 { // what was started has ended since
		reached = []string{"pids.max of the control group, or ulimit -u"}
	}
	return errdefs.Limit("a thread was refused to it: the limit of processes is reached: %s; end some, or raise the limit", strings.Join(reached, ", "))
}

// limits says which limits do not allow need more tasks, or perhaps not: how many a user has is told by nobody, so that there all of the machine count.
func limits(need int) (reached []string) {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return nil
	}
	all := uint64(info.Procs)
	var own unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NPROC, &own) == nil && own.Cur < all+uint64(need) {
		reached = append(reached, fmt.Sprintf("ulimit -u is %d", own.Cur))
	}
	for _, dir := range groups(read("/proc/self/cgroup")) {
		limit, ok := number(read(dir + "/pids.max"))
		if !ok || limit >= all+uint64(need) {
			continue
		}
		if used, ok := number(read(dir + "/pids.current")); ok && used+uint64(need) > limit {
			reached = append(reached, fmt.Sprintf("pids.max of %s is %d, of which %d are used", dir, limit, used))
		}
	}
	return reached
}

// groups are the directories of the control groups that count this process, from its own up: /proc/self/cgroup (cgroups(7)) names it in each hierarchy.
func groups(own string) (dirs []string) {
	const top = "/sys/fs/cgroup"
	at, group := "", ""
	for line := range strings.Lines(own) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(f) != 3 || !strings.HasPrefix(f[2], "/"):
		case f[1] == "pids":
			at, group = top+"/pids", f[2]
		case f[1] == "" && at == "":
			at, group = top, f[2]
		}
	}
	if at == "" {
		return nil
	}
	for group = path.Clean(group); group != "/"; group = path.Dir(group) {
		dirs = append(dirs, at+group)
	}
	return append(dirs, at) // which has a limit when this is a container's view
}

// number reads a number and its line end; false for "max" and for nothing.
func number(text string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	return n, err == nil
}

// read reads a small file of the kernel's; "" when it is not there. It is no os.File, for which a program makes more than it needs here.
func read(name string) string {
	const most = 4 << 10
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var b [most]byte
	n, err := unix.Read(fd, b[:])
	if err != nil || n < 0 {
		return ""
	}
	return string(b[:n])
}
