package test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// without runs a program on a kernel that seems to lack something, overlay or nftables, and returns its exit code. It is a process of its own
// between a test and the program: it answers the calls of the program, and of all that this starts, that could ask for what is missing.
func without(what string, args []string) int {
	runtime.LockOSThread() // which is the only one with the filter, and the one that forks
	listener, err := askFor(unix.SYS_FSOPEN, unix.SYS_MOUNT, unix.SYS_SOCKET)
	if err != nil {
		fmt.Fprintln(os.Stderr, "seccomp:", err)
		return 127
	}
	go answer(listener, what)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 127
	}
	return cmd.ProcessState.ExitCode()
}

// askFor makes the kernel ask about some calls of this thread and of the processes that it starts.
func askFor(calls ...uint32) (int, error) {
	load, equal, ret := uint16(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS), uint16(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K), uint16(unix.BPF_RET|unix.BPF_K)
	filter := []unix.SockFilter{{Code: load}}
	for i, nr := range calls {
		filter = append(filter, unix.SockFilter{Code: equal, K: nr, Jt: uint8(len(calls) - i)})
	}
	filter = append(filter, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF})
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// question and reply are struct seccomp_notif and seccomp_notif_resp of linux/seccomp.h.
type question struct {
	ID         uint64
	Pid, Flags uint32
	Nr         int32
	Arch       uint32
	IP         uint64
	Args       [6]uint64
}

type reply struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

func answer(listener int, what string) {
	for {
		var q question
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&q))); errno != 0 {
			if errno == unix.EINTR || errno == unix.ENOENT { // whoever asked was killed
				continue
			}
			return
		}
		r := reply{ID: q.ID, Flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if errno := missing(what, &q); errno != 0 {
			r.Flags, r.Error = 0, -int32(errno)
		}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
	}
}

// missing is the answer of a kernel that lacks something, 0 for any other call.
func missing(what string, q *question) unix.Errno {
	const fsType = 2 // the argument of mount(2)
	switch {
	case what == "nftables" && q.Nr == unix.SYS_SOCKET && q.Args[0] == unix.AF_NETLINK && q.Args[2] == unix.NETLINK_NETFILTER:
		return unix.EPROTONOSUPPORT
	case what == "overlay" && q.Nr == unix.SYS_FSOPEN && textOf(q.Pid, q.Args[0]) == "overlay",
		what == "overlay" && q.Nr == unix.SYS_MOUNT && textOf(q.Pid, q.Args[fsType]) == "overlay":
		return unix.ENODEV
	}
	return 0
}

// textOf reads a string of a process, as far as short ones go.
func textOf(pid uint32, at uint64) string {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil || at == 0 {
		return ""
	}
	defer mem.Close()
	var b [8]byte
	n, _ := mem.ReadAt(b[:], int64(at))
	text, _, _ := strings.Cut(string(b[:n]), "\x00")
	return text
}
