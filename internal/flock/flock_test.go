package flock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/camada/camada/internal/flock"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func want(t *testing.T, what string, want bool) func(bool, error) {
	return func(got bool, err error) {
		t.Helper()
		if got != want || err != nil {
			t.Fatalf("%s: %v, %v; want %v", what, got, err, want)
		}
	}
}

func TestExclusion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	a, b, c := open(t, path), open(t, path), open(t, path)
	want(t, "first shared", true)(flock.TryShared(a))
	want(t, "second shared", true)(flock.TryShared(b))
	want(t, "exclusive beside shared", false)(flock.TryExclusive(c))
	if err := errors.Join(flock.Unlock(a), flock.Unlock(b)); err != nil {
		t.Fatal(err)
	}
	want(t, "exclusive alone", true)(flock.TryExclusive(c))
	want(t, "shared beside exclusive", false)(flock.TryShared(a))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := flock.Shared(ctx, b); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Shared beside exclusive: %v", err)
	}
	b.Close()

	done := make(chan error)
	go func() { done <- flock.Exclusive(t.Context(), a) }()
	c.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// The wait that was given up must not hold a lock now or later.
	a.Close()
	if err := flock.Exclusive(t.Context(), open(t, path)); err != nil {
		t.Fatal(err)
	}
	if _, err := flock.TryShared(a); err == nil {
		t.Error("a closed file was locked")
	}
}
