// Package procs reads what /proc tells of the processes of a container.
//
//	list, err := procs.List(pids)
//	for _, p := range list { fmt.Println(p.PID, p.Command, p.RSS) }
//
// What it reads was written by the container's programs in part (names, command lines): it can hold any bytes, and
// processes can vanish at any moment. A process that is gone is left out.
package procs

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// maxCommand is how much of a command line is read, in bytes.
const maxCommand = 4096

// ticks is how many ticks of /proc a second has: the kernel's USER_HZ, 100 on all platforms that Go knows.
const ticks = 100

// Process is one process, as seen from the reader's namespaces.
type Process struct {
	PID, PPID int
	UID       uint32
	// Started is since the machine's boot, CPU what it has used.
	Started, CPU time.Duration
	// TTY is the number of its terminal, 0 for none.
	TTY uint64
	// RSS is what of it is in memory, in bytes.
	RSS uint64
	// Threads is how many it has.
	Threads int
	// Command is the command line, or the name in brackets.
	Command string
}

// List reads processes.
func List(pids []int) []Process {
	list := make([]Process, 0, len(pids))
	for _, pid := range pids {
		if p, ok := one(pid); ok {
			list = append(list, p)
		}
	}
	return list
}

func one(pid int) (Process, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Process{}, false
	}
	p, name, ok := parseStat(stat)
	if !ok {
		return Process{}, false
	}
	p.PID = pid
	p.UID = owner(dir)
	p.Command = command(dir, name)
	return p, true
}

// parseStat reads /proc/<pid>/stat (proc_pid_stat(5)). The second field, the name in parentheses, can hold anything.
func parseStat(b []byte) (p Process, name string, ok bool) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return p, "", false
	}
	f := bytes.Fields(b[end+1:]) // begins with field 3
	if len(f) < 22 {
		return p, "", false
	}
	n := func(field int) uint64 { v, _ := strconv.ParseUint(string(f[field-3]), 10, 64); return v }
	p = Process{
		PPID: int(n(4)), TTY: n(7), CPU: time.Duration(n(14)+n(15)) * (time.Second / ticks), Threads: int(n(20)),
		Started: time.Duration(n(22)) * (time.Second / ticks), RSS: n(24) * uint64(os.Getpagesize()),
	}
	return p, string(b[open+1 : end]), true
}

func command(dir, name string) string {
	f, err := os.Open(filepath.Join(dir, "cmdline"))
	if err != nil {
		return "[" + name + "]"
	}
	defer f.Close() //nolint:errcheck // only read
	buf := make([]byte, maxCommand)
	n, _ := f.Read(buf)
	text := strings.TrimRight(string(buf[:n]), "\x00")
	if text == "" {
		return "[" + name + "]"
	}
	return strings.ReplaceAll(text, "\x00", " ")
}

// owner is the effective user of a process: who owns its status file, whatever its dumpable flag says.
func owner(dir string) uint32 {
	b, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			if f := bytes.Fields(rest); len(f) > 1 {
				id, _ := strconv.ParseUint(string(f[1]), 10, 32)
				return uint32(id)
			}
		}
	}
	return 0
}

// InPIDNamespaceOf lists the processes of the PID namespace of a process, and of none below it: for containers without control groups.
func InPIDNamespaceOf(pid int) ([]int, error) {
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return nil, fmt.Errorf("look at process %d: %w", pid, err)
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close() //nolint:errcheck // only read
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, n := range names {
		id, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		if got, err := os.Readlink("/proc/" + n + "/ns/pid"); err == nil && got == want {
			pids = append(pids, id)
		}
	}
	return pids, nil
}

// IO adds up what processes read from and wrote to block devices since they started (proc_pid_io(5)). Those that have ended are not in it.
func IO(pids []int) (read, written uint64) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			n, _ := strconv.ParseUint(value, 10, 64)
			switch key {
			case "read_bytes":
				read += n
			case "write_bytes":
				written += n
			}
		}
	}
	return read, written
}

// Net adds up what the interfaces of a process's network namespace received and sent, the loopback one left out.
func Net(pid int) (received, sent uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read the interfaces of process %d: %w", pid, err)
	}
	received, sent = parseNetDev(string(b))
	return received, sent, nil
}

// parseNetDev reads /proc/net/dev: "eth0: BYTES and 7 more of what was received, BYTES ... of what was sent".
func parseNetDev(text string) (received, sent uint64) {
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 9 || strings.TrimSpace(name) == "lo" {
			continue
		}
		r, err1 := strconv.ParseUint(f[0], 10, 64)
		s, err2 := strconv.ParseUint(f[8], 10, 64)
		if err1 == nil && err2 == nil {
			received += r
			sent += s
		}
	}
	return received, sent
}

// UserName is the name of a user of this machine, or the number.
func UserName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// Uptime is how long the machine has run.
func Uptime() time.Duration {
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	text, _, _ := strings.Cut(string(b), " ")
	s, _ := strconv.ParseFloat(text, 64)
	return time.Duration(s * float64(time.Second))
}
