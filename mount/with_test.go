package mount_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/mount"
)

func TestWith(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts as root")
	}
	dir := t.TempDir()
	for _, d := range []string{"lower/vol", "lower/ro", "upper", "work", "vol/nested", "ro", "inner"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/vol", filepath.Join(dir, "lower/link")); err != nil {
		t.Fatal(err)
	}
	m := mount.Mount{Kind: mount.Overlay, Lower: []string{dir + "/lower"}, Upper: dir + "/upper", Work: dir + "/work"}
	on := []mount.On{
		{Source: dir + "/inner", Target: "link/nested"}, {Source: dir + "/vol", Target: "/vol"},
		{Source: dir + "/ro", Target: "ro", ReadOnly: true}, {Source: dir + "/inner", Target: "new/place"},
	}
	put := func(root *os.File, name string) error {
		return os.WriteFile(fmt.Sprintf("/proc/self/fd/%d/%s", root.Fd(), name), []byte("x"), 0o600)
	}
	err := mount.With(m, on, func(root *os.File) error {
		for _, name := range []string{"top", "vol/file", "vol/nested/file", "new/place/made"} {
			if err := put(root, name); err != nil {
				t.Error(err)
			}
		}
		if put(root, "ro/file") == nil {
			t.Error("the read-only part was written")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"upper/top", "vol/file", "inner/file", "inner/made"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	m.ReadOnly = true
	err = mount.With(m, on, func(root *os.File) error {
		if put(root, "more") == nil {
			t.Error("the read-only root was written")
		}
		return put(root, "vol/more")
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(b), dir) {
		t.Error("something stayed mounted")
	}
}
