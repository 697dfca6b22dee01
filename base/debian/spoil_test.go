package debian_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// spoil changes one byte of each cached file.
func spoil(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "sha256", "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("nothing is cached: %v", err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-1] ^= 1
		if err := os.WriteFile(n, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func reversed(debs []deb) []deb {
	slices.Reverse(debs)
	return debs
}
