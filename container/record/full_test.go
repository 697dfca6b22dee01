package record

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStopOnFullDisk notes that a container is to end where there can be no further file.
func TestStopOnFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small disk")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "nr_inodes=20"); err != nil {
		t.Skip(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	ctx := context.Background()
	c, err := Open(filepath.Join(dir, "containers")).Create(ctx, Config{})
	if err != nil {
		t.Fatal(err)
	}
	keep, err := c.Keep(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	for os.Mkdir(filepath.Join(dir, NewID()), 0o700) == nil { // until it is full
	}
	if err := c.RequestStop(); err != nil || !c.StopRequested() {
		t.Errorf("a full disk kept the container from being stopped: %v", err)
	}
	if err := c.ClearStop(); err != nil || c.StopRequested() {
		t.Errorf("it stays stopped: %v", err)
	}
}

// TestStateOnFullDisk notes how a container ended where there can be no further file.
func TestStateOnFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small disk")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "nr_inodes=20"); err != nil {
		t.Skip(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	c, err := Open(filepath.Join(dir, "containers")).Create(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	long := State{Status: Exited, ExitCode: 125, Error: strings.Repeat("a long error ", 100)}
	if err := c.SetState(long); err != nil {
		t.Fatal(err)
	}
	for os.Mkdir(filepath.Join(dir, NewID()), 0o700) == nil { // until it is full
	}
	for _, st := range []State{{Status: Exited, ExitCode: 7}, long, {Status: Exited, ExitCode: 0}} {
		if err := c.SetState(st); err != nil {
			t.Fatal(err)
		}
		if err := c.Refresh(); err != nil || !reflect.DeepEqual(c.State, st) {
			t.Errorf("%+v, %v; want %+v", c.State, err, st)
		}
	}
}
