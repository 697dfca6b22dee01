package test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMachine boots a machine with cgroup v2 alone and a kernel of 2022, and checks camada there: see vm/run.sh.
func TestMachine(t *testing.T) {
	if os.Getenv("CAMADA_TEST_LONG") == "" {
		t.Skip("boots an emulated machine, which takes minutes: CAMADA_TEST_LONG=1")
	}
	for _, tool := range []string{"qemu-system-x86_64", "busybox", "mke2fs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s: install qemu-system-x86, busybox-static and e2fsprogs", tool)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("the machine's root file system is made as root")
	}
	if end, ok := t.Deadline(); ok && time.Until(end) < 9*time.Minute {
		t.Skip("an emulated machine may need nine minutes: go test -timeout 25m")
	}
	cmd := exec.Command("vm/run.sh")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "VM_TIMEOUT=480")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("vm/run.sh: %v", err)
	}
	if !strings.Contains(string(out), "PASS  ") {
		t.Skip("the machine was not booted: see above")
	}
}
