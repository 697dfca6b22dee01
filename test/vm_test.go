package test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMachine boots a machine with systemd and cgroup v2 alone and checks camada there: see machine/checks.sh.
func TestMachine(t *testing.T) {
	bootMachine(t, 12*time.Minute)
}

func bootMachine(t *testing.T, limit time.Duration) {
	t.Helper()
	if !long() {
		t.Skip("boots a machine, which takes minutes: CAMADA_TEST_LONG=1")
	}
	if end, ok := t.Deadline(); ok && time.Until(end) < limit+time.Minute {
		t.Skipf("may need %v: go test -timeout", limit)
	}
	cmd := exec.Command("machine/run.sh", "-t", strconv.Itoa(int(limit/time.Second)))
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("machine/run.sh: %v\n%s", err, out)
	}
	if strings.HasPrefix(string(out), "SKIP  ") {
		t.Skipf("%s", out)
	}
	t.Logf("%s", out)
}
