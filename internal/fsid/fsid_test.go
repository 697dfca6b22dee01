package fsid_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/camada/camada/internal/fsid"
	"golang.org/x/sys/unix"
)

func TestAs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: files of others cannot be made")
	}
	dir := t.TempDir() // root's, and nobody else's
	name := filepath.Join(dir, "file")
	failed := errors.New("failed")
	err := fsid.As(1234, 77, func() error {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Errorf("the rights of root are gone: %v", err)
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("the error is %v", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil || st.Uid != 1234 || st.Gid != 77 {
		t.Errorf("the file is of %d:%d: %v", st.Uid, st.Gid, err)
	}
	for range 20 { // on whatever thread
		after := filepath.Join(dir, "after")
		if err := os.WriteFile(after, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unix.Stat(after, &st); err != nil || st.Uid != 0 {
			t.Fatalf("a file that was made afterwards is of %d: %v", st.Uid, err)
		}
		if bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0); err != nil || bits&4 != 0 {
			t.Fatalf("the thread kept %#x: %v", bits, err)
		}
		os.Remove(after)
	}
}
