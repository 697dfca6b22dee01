package cachemount

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	store := Open(t.TempDir())
	epoch := time.Unix(1_600_000_000, 0)
	use := func(below string, work func(dir string)) {
		t.Helper()
		h, err := store.Acquire(context.Background(), Key{ID: "x"}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Release()
		if err := h.Age(below, epoch); err != nil {
			t.Fatal(err)
		}
		work(h.Dir())
	}
	younger := func(dir, name string) bool {
		t.Helper()
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return !info.ModTime().Before(epoch)
	}
	long := string(make([]byte, 200))
	use("one", func(dir string) {
		for _, n := range []string{"a", "old"} {
			if err := os.WriteFile(filepath.Join(dir, n), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(filepath.Join(dir, "old"), time.Unix(5, 0), time.Unix(5, 0)); err != nil {
			t.Fatal(err)
		}
	})
	use("one", func(dir string) {
		if !younger(dir, "a") {
			t.Error("on the same sources, what was made is older than they")
		}
	})
	use(long, func(dir string) {
		if younger(dir, "a") {
			t.Error("on other sources, what was made is younger than they")
		}
		if info, err := os.Stat(filepath.Join(dir, "old")); err != nil || info.ModTime().Unix() != 5 {
			t.Errorf("a file that was older: %v, %v", info, err)
		}
	})
	use("one", func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	})
	use("one", func(dir string) {
		if !younger(dir, "a") {
			t.Error("a shorter note does not replace a longer one")
		}
	})
}
