package tasks

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refused reports whether the kernel does not let this process have n more threads. Where it cannot be tried, it is not.
func refused(n int) bool { return nested(n) == unix.EAGAIN }

// nested makes n threads, each of which waits for the next one to end, and returns the error of the kernel that ended that, 0 for none. The threads use
// no stack and no memory but one word, so that Go does not have to know of them; no signal reaches them.
func nested(n int) unix.Errno {
	if n <= 0 {
		return 0
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const setSize = 8
	all, was := ^uint64(0), uint64(0)
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&was)), setSize, 0, 0)
	if errno != 0 {
		return errno
	}
	errno = unix.Errno(nest(n))
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&was)), 0, setSize, 0, 0)
	return errno
}

// nest is nested without a care for signals; n is more than 0.
//
//go:noescape
func nest(n int) (errno int)
