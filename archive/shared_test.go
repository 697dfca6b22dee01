package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/camada/camada/archive"
	"golang.org/x/sys/unix"
)

// TestDevicesSwappedUnderWay packs a directory in which somebody exchanges a file and a device all the time. What a device gives must not
// be taken for the file, and is where nobody says that others change the tree.
func TestDevicesSwappedUnderWay(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make a device")
	}
	dir, aside := t.TempDir(), filepath.Join(t.TempDir(), "zero")
	name := filepath.Join(dir, "f")
	if err := errors.Join(os.WriteFile(name, []byte("text"), 0o644), unix.Mknod(aside, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, aside, unix.RENAME_EXCHANGE)
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	packed := func(shared bool) (right, wrong int) {
		for range 2000 {
			var b bytes.Buffer
			if archive.Pack(t.Context(), dir, &b, archive.DiffOptions{Shared: shared}) != nil {
				continue
			}
			for r := tar.NewReader(&b); ; {
				h, err := r.Next()
				if err != nil {
					break
				}
				if h.Typeflag != tar.TypeReg {
					continue
				}
				if text, _ := io.ReadAll(r); string(text) == "text" {
					right++
				} else {
					wrong++
				}
			}
		}
		return right, wrong
	}
	right, wrong := packed(true)
	if wrong > 0 || right == 0 {
		t.Errorf("%d times the file, %d times the device", right, wrong)
	}
	right, wrong = packed(false)
	t.Logf("without protection %d times the file, %d times the device", right, wrong)
}
