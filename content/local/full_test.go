package local_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// TestFullDisk runs itself in a mount namespace of its own, where it can mount
// a small file system that goes with it.
func TestFullDisk(t *testing.T) {
	if os.Getenv("LOCAL_TEST_FULL") == "" {
		if os.Getuid() != 0 {
			t.Skip("mounting a small file system needs root")
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
		cmd.Env = append(os.Environ(), "LOCAL_TEST_FULL="+t.TempDir())
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
	root := os.Getenv("LOCAL_TEST_FULL")
	check(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	check(t, syscall.Mount("tmpfs", root, "tmpfs", 0, "size=1m"))
	s := local.Open(root, local.Options{})
	small, err := content.WriteBlob(t.Context(), s, []byte("small"))
	check(t, err)

	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	if _, err := content.WriteBlob(t.Context(), s, big); !errdefs.IsUnavailable(err) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("an unnamed blob of 2 MiB: %v", err)
	}
	if got := files(t, root); len(got) != 1 {
		t.Errorf("left: %v", got)
	}
	w, err := s.Writer(t.Context(), content.WriterOptions{Ref: "big"})
	check(t, err)
	n, err := w.Write(big)
	if !errors.Is(err, syscall.ENOSPC) || w.Offset() != int64(n) || w.Digest() != digest.FromBytes(big[:n]) {
		t.Errorf("Write: %d bytes, %v; offset %d", n, err, w.Offset())
	}
	// Even without room for its state the ingest can go on.
	w.Close()
	_, err = content.ReadAll(t.Context(), s, small, 100)
	check(t, err)
	check(t, syscall.Mount("", root, "", syscall.MS_REMOUNT, "size=8m"))
	w, err = s.Writer(t.Context(), content.WriterOptions{Ref: "big"})
	check(t, err)
	if w.Offset() != int64(n) {
		t.Errorf("resumed at %d, want %d", w.Offset(), n)
	}
	_, err = w.Write(big[n:])
	check(t, err)
	_, err = w.Commit(t.Context(), int64(len(big)), digest.FromBytes(big))
	check(t, err)
	if ingests, _ := filepath.Glob(filepath.Join(root, "ingest/*")); len(ingests) != 0 {
		t.Errorf("left: %v", ingests)
	}
}
