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

// TestMachine boots a machine with systemd and cgroup v2 alone, checks camada there, turns the machine off and on again, and looks what came back:
// see machine/checks.sh. CAMADA_TEST_LONG=1 looks at more.
func TestMachine(t *testing.T) {
	inVM(t, 20*time.Minute)
}

// TestFreshMachine types the README's first command on a machine that has Go, git and make and nothing else, as an ordinary user.
func TestFreshMachine(t *testing.T) {
	inVM(t, 20*time.Minute, "-bu", "make", "demo")
}

// TestFreshMachineOfRoot does it as root, on a kernel that has no nftables for IPv4.
func TestFreshMachineOfRoot(t *testing.T) {
	if !long() {
		t.Skip("boots a third machine: CAMADA_TEST_LONG=1")
	}
	inVM(t, 20*time.Minute, "-b", "make", "demo")
}

// inVM runs machine/run.sh, which ends within limit, or with the tests.
func inVM(t *testing.T, limit time.Duration, args ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a machine, which takes minutes")
	}
	t.Parallel() // it has a machine of its own
	if end, ok := t.Deadline(); ok {
		const least = 8 * time.Minute
		if limit = min(limit, time.Until(end)-time.Minute); limit < least {
			t.Skipf("may need %v: go test -timeout", least)
		}
	}
	cmd := exec.CommandContext(t.Context(), "machine/run.sh", append([]string{"-t", strconv.Itoa(int(limit / time.Second))}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("machine/run.sh: %v\n%s", err, out)
	}
	if strings.HasPrefix(string(out), "SKIP  ") {
		t.Skipf("%s", out)
	}
	t.Logf("%s", out)
}
