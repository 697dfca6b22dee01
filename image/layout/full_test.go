package layout_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layout"
)

// TestFullDisk runs itself in a mount namespace of its own, where it can mount
// a small file system that goes with it. On the full disk no ref moves, and
// what was there stays right.
func TestFullDisk(t *testing.T) {
	if os.Getenv("LAYOUT_TEST_FULL") == "" {
		if os.Getuid() != 0 {
			t.Skip("mounting a small file system needs root")
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
		cmd.Env = append(os.Environ(), "LAYOUT_TEST_FULL="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) {
			t.Skipf("no mount namespace here: %v", err)
		}
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestFullDisk")) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	root := os.Getenv("LAYOUT_TEST_FULL")
	check(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	check(t, syscall.Mount("tmpfs", root, "tmpfs", 0, "size=256k"))
	refs := layout.Open(root)
	set(t, refs, "app:1", "one")

	// Leave n pages free, so that the move fails at different steps.
	failed := 0
	for n := range 12 {
		filler := filepath.Join(root, "filler")
		f, err := os.Create(filler)
		check(t, err)
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		f.Close()
		fi, err := os.Stat(filler)
		check(t, err)
		check(t, os.Truncate(filler, max(0, fi.Size()-int64(n)*4096)))

		name := fmt.Sprintf("new%d:1", n)
		d := desc(name)
		d.Annotations = map[string]string{"long": strings.Repeat("x", 3000)}
		err = refs.Set(t.Context(), parse(t, name), d, image.SetOptions{Verb: "test"})
		check(t, os.Remove(filler))
		if err != nil {
			failed++
			if !errdefs.IsUnavailable(err) || !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%d pages free: %v", n, err)
			}
			wantRef(t, refs, name, "")
		} else {
			wantRef(t, refs, name, name)
		}
		wantRef(t, refs, "app:1", "one")
		wantValid(t, root, refs)
	}
	if failed == 0 || failed == 12 {
		t.Errorf("%d of 12 moves failed: the disk was never full at the right time", failed)
	}
}
