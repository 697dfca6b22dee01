// Package fsid lets a thread make files as somebody else.
//
//	err := fsid.As(uid, gid, func() error { return unix.Mkdirat(dir, name, 0o755) })
package fsid

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// noFixup is SECBIT_NO_SETUID_FIXUP (capabilities(7)): changes of user ids leave capabilities as they are.
const noFixup = 1 << 2

// As calls f on a thread whose new files belong to uid and gid, with all rights that the caller has. It is for file systems that
// are shown with the owners of a user namespace, where the caller's own ids have no meaning, so that the kernel lets it make nothing. f must not
// leave its goroutine's work to another one.
func As(uid, gid int, f func() error) error {
	if uid == unix.Geteuid() && gid == unix.Getegid() {
		return f()
	}
	runtime.LockOSThread() // it stays locked, and ends with this goroutine, when it could not be made what it was
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(bits|noFixup), 0, 0, 0)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return f() // who may not do this is left to what he may
	}
	oldGID, _ := unix.SetfsgidRetGid(gid)
	oldUID, _ := unix.SetfsuidRetUid(uid)
	err = f()
	_, _ = unix.SetfsuidRetUid(oldUID)
	_, _ = unix.SetfsgidRetGid(oldGID)
	if unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(bits), 0, 0, 0) == nil {
		runtime.UnlockOSThread()
	}
	return err
}
