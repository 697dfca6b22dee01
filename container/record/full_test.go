package record

import (
	"context"
	"os"
	"path/filepath"
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
