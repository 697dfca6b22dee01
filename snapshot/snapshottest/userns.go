package snapshottest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// outerID is an ordinary user, and the first of the ids that a namespace maps.
const outerID = 200_000

// InUserNamespace runs the tests that match run again, as root of a user and mount
// namespace that maps ids 0 to n-1 to ordinary ones; with n = 0 as an ordinary user and
// without a namespace. It needs root.
func InUserNamespace(t *testing.T, n int, run string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "snapshottest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bin, err := os.ReadFile("/proc/self/exe") // its own directory may be closed to others
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "test"), bin, 0o755)
	}
	if err == nil {
		err = os.Chown(dir, outerID, outerID)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "test"), "-test.run="+run, "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: outerID, Gid: outerID}}
	if n > 0 {
		cmd.SysProcAttr = mapped(n)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS") {
		t.Errorf("nothing was run:\n%s", out)
	}
}

// mapped are the attributes of a process in a namespace with n ids.
func mapped(n int) *syscall.SysProcAttr {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: outerID, Size: n}}
	return &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
	}
}
