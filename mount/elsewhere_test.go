package mount_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
)

func TestElsewhere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := os.Symlink(dir, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "-m", "sh", "-c", "mount -t tmpfs t "+dir+"; touch "+dir+"/inside; mkdir "+dir+"/d; ln -s d "+dir+"/l; echo ready; read x")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no unshare: %v", err)
	}
	defer func() {
		in.Close()
		_ = cmd.Wait()
	}()
	var line [6]byte
	if _, err := out.Read(line[:]); err != nil || strings.TrimSpace(string(line[:])) != "ready" {
		t.Fatalf("%q %v", line, err)
	}
	f, err := mount.Elsewhere(cmd.Process.Pid, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil || len(entries) != 3 {
		t.Errorf("%v %v, want what the other process sees", entries, err)
	}
	if _, err := mount.Elsewhere(cmd.Process.Pid, filepath.Join(dir, "l")); err == nil {
		t.Error("a symbolic link was followed")
	}
	if _, err := mount.Elsewhere(cmd.Process.Pid, filepath.Join(dir, "nosuch")); !errdefs.IsNotFound(err) {
		t.Errorf("%v, want ErrNotFound", err)
	}
}
