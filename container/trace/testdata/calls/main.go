// Command calls makes system calls that have a directory and a path first, and flags: calls NUMBER WHICH-ARGUMENT-THE-FLAGS-ARE PATH...
//
// What comes of a call does not matter: it may be one that the kernel does not know.
package main

import (
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

func main() {
	for a := os.Args[1:]; len(a) >= 3; a = a[3:] {
		number, err1 := strconv.ParseUint(a[0], 10, 32)
		flags, err2 := strconv.Atoi(a[1])
		path, err3 := syscall.BytePtrFromString(a[2])
		if err1 != nil || err2 != nil || err3 != nil {
			os.Exit(2)
		}
		const workingDirectory, noFollow = ^uintptr(99), 0x100
		args := [6]uintptr{workingDirectory, uintptr(unsafe.Pointer(path))}
		args[flags] = noFollow
		_, _, _ = syscall.Syscall6(uintptr(number), args[0], args[1], args[2], args[3], args[4], args[5])
	}
}
