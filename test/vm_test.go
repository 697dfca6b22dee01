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
	bootMachine(t, 8*time.Minute)
}

// TestFresh types the README's commands in a machine that has git and make, and nothing else that camada could want.
func TestFresh(t *testing.T) {
	if long() {
		bootMachine(t, 40*time.Minute, "make demo && make test")
		return
	}
	bootMachine(t, 8*time.Minute, "make demo")
}

func bootMachine(t *testing.T, limit time.Duration, command ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a machine, which takes minutes")
	}
	if end, ok := t.Deadline(); ok && time.Until(end) < limit+time.Minute {
		t.Skipf("may need %v: go test -timeout", limit)
	}
	cmd := exec.Command("machine/run.sh", append([]string{"-t", strconv.Itoa(int(limit / time.Second)), "--"}, command...)...)
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
