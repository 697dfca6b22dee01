// Package flock locks files among processes with flock(2).
//
//	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o644)
//	if err := flock.Exclusive(ctx, f); err != nil { ... }
//	defer f.Close() // ends the lock
//
// A lock belongs to the open file, so two opens of one path exclude each other
// even in one process, and it ends with the last descriptor: a killed process
// leaves none behind. Waiting ends with the context; the file must then be
// closed, because the kernel may still grant the lock for a moment.
package flock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Exclusive waits for the only lock on f.
func Exclusive(ctx context.Context, f *os.File) error { return wait(ctx, f, unix.LOCK_EX) }

// Shared waits for a lock on f that others may share.
func Shared(ctx context.Context, f *os.File) error { return wait(ctx, f, unix.LOCK_SH) }

// TryExclusive is Exclusive without waiting; false when others hold a lock.
func TryExclusive(f *os.File) (bool, error) { return lock(f, unix.LOCK_EX|unix.LOCK_NB) }

// TryShared is Shared without waiting; false when another holds the only lock.
func TryShared(f *os.File) (bool, error) { return lock(f, unix.LOCK_SH|unix.LOCK_NB) }

// Unlock ends the lock, as closing f does.
func Unlock(f *os.File) error {
	_, err := lock(f, unix.LOCK_UN)
	return err
}

func wait(ctx context.Context, f *os.File, how int) error {
	if ok, err := lock(f, how|unix.LOCK_NB); ok || err != nil {
		return err
	}
	// The kernel wakes who waits in turn; trying again and again would starve.
	done := make(chan error, 1)
	go func() {
		_, err := lock(f, how)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the lock on %s: %w", f.Name(), ctx.Err())
	}
}

// lock keeps f's descriptor from being closed and used anew during the call.
func lock(f *os.File, how int) (ok bool, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	cerr := conn.Control(func(fd uintptr) {
		for {
			if err = unix.Flock(int(fd), how); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	switch {
	case cerr != nil:
		return false, fmt.Errorf("lock %s: %w", f.Name(), cerr)
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return true, nil
}

// Directory makes a directory of mode 0700 and takes the only lock on the file name in it. Who removes such a directory holds that lock: then
// it is made again.
func Directory(ctx context.Context, dir, name string) (*os.File, error) {
	path := filepath.Join(dir, name)
	for {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if err := Exclusive(ctx, f); err != nil {
			f.Close()
			return nil, err
		}
		have, err1 := f.Stat()
		now, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(have, now) {
			return f, nil
		}
		f.Close()
	}
}
