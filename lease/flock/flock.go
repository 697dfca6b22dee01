// Package flock locks files among processes with flock(2).
//
//	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o644)
//	if err := flock.Exclusive(ctx, f); err != nil { ... }
//	defer f.Close() // ends the lock
//
// A lock belongs to the open file, so two opens of one path exclude each other
// even in one process, and it ends with the last descriptor: a killed process
// leaves none behind. Waiting ends with the context.
package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The time between two tries grows from firstWait to maxWait: locks of the
// store are held for microseconds to some milliseconds.
const (
	firstWait = 50 * time.Microsecond
	maxWait   = 5 * time.Millisecond
)

// Exclusive waits for the only lock on f.
func Exclusive(ctx context.Context, f *os.File) error { return wait(ctx, f, unix.LOCK_EX) }

// Shared waits for a lock on f that others may share.
func Shared(ctx context.Context, f *os.File) error { return wait(ctx, f, unix.LOCK_SH) }

// TryExclusive is Exclusive without waiting; false when others hold a lock.
func TryExclusive(f *os.File) (bool, error) { return try(f, unix.LOCK_EX) }

// TryShared is Shared without waiting; false when another holds the only lock.
func TryShared(f *os.File) (bool, error) { return try(f, unix.LOCK_SH) }

// Unlock ends the lock, as closing f does.
func Unlock(f *os.File) error {
	_, err := try(f, unix.LOCK_UN)
	return err
}

func wait(ctx context.Context, f *os.File, how int) error {
	for d := firstWait; ; d = min(2*d, maxWait) {
		ok, err := try(f, how)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the lock on %s: %w", f.Name(), ctx.Err())
		case <-time.After(d):
		}
	}
}

func try(f *os.File, how int) (bool, error) {
	for {
		switch err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		default:
			return false, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}
