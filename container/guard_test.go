package container

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const guardEnv = "CAMADA_TEST_GUARD"

// TestGuard has a process that guards another killed.
func TestGuard(t *testing.T) {
	if pid, err := strconv.Atoi(os.Getenv(guardEnv)); err == nil { // the process that is killed
		if _, err := newGuard(pid); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("guarded\n")
		time.Sleep(time.Hour)
	}
	victim := exec.Command("sleep", "1000")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer victim.Process.Kill() //nolint:errcheck // it has ended, as a rule
	holder := exec.Command("/proc/self/exe", "-test.run=^TestGuard$")
	holder.Env = append(os.Environ(), guardEnv+"="+strconv.Itoa(victim.Process.Pid))
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := out.Read(b); !strings.HasPrefix(string(b[:n]), "guarded") {
		t.Fatalf("%q %v", b[:n], err)
	}
	if err := unix.Kill(holder.Process.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	if err := victim.Wait(); err == nil || victim.ProcessState.String() != "signal: killed" {
		t.Errorf("the guarded process: %v", victim.ProcessState)
	}
}

// TestGuardEnds has a guard end with what it guards, and looks that it does not hit another process.
func TestGuardEnds(t *testing.T) {
	victim := exec.Command("sleep", "1000")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	g, err := newGuard(victim.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	g.close()
	if err := unix.Kill(g.child.Pid, 0); err != unix.ESRCH {
		t.Errorf("the guard is there: %v", err)
	}
}
