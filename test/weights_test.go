package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/container/cgroup"
	"golang.org/x/sys/unix"
)

// TestBlockWeights looks at weights for block devices in the control group, with a loop device whose scheduler heeds them.
func TestBlockWeights(t *testing.T) {
	onMachine(t, func(m *machine) {
		device, numbers := weighed(t)
		m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\n")
		m.camada("build", "-q", "-t", "box", m.path("ctx"))
		r := m.run("run", "-d", "--name", "job", "--network", "none", "--blkio-weight", "300", "--blkio-weight-device", device+":200", "box", "sleep", "1000")
		if r.code != 0 || strings.Contains(r.errors, "WARNING") {
			t.Fatal(r)
		}
		pid := m.camada("inspect", "-f", "{{.State.Pid}}", "job")
		dir, unified := groupOf(t, pid, "blkio")
		names := []string{"blkio.bfq.weight", "blkio.bfq.weight_device"}
		if unified {
			names = []string{"io.bfq.weight", "io.bfq.weight"}
		}
		look := func(file, want string) {
			t.Helper()
			b, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains("\n"+string(b), want) {
				t.Errorf("%s: %q, want %q", file, b, want)
			}
		}
		general := func(n int) string {
			if unified {
				return fmt.Sprintf("\ndefault %d\n", n)
			}
			return fmt.Sprintf("\n%d\n", n)
		}
		look(names[0], general(300))
		look(names[1], "\n"+numbers+" 200\n")
		m.camada("update", "--blkio-weight", "400", "job")
		look(names[0], general(400))
		look(names[1], "\n"+numbers+" 200\n")
		m.camada("rm", "-f", "job")
	})
}

// weighed gives a block device, and its numbers, whose scheduler is BFQ until the end of the test.
func weighed(t *testing.T) (device, numbers string) {
	t.Helper()
	l, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	if l.V1["blkio"] == "" && l.Unified == "" {
		t.Skip("no controller for block devices")
	}
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", file).Output()
	if err != nil {
		t.Skipf("losetup: %v", err)
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("losetup: %v %s", err, out)
		}
	})
	scheduler := filepath.Join("/sys/block", filepath.Base(device), "queue/scheduler")
	before, err := os.ReadFile(scheduler)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(scheduler, []byte("bfq"), 0); err != nil {
		t.Skipf("no scheduler of this kernel heeds weights: %s has %s: %v", scheduler, before, err)
	}
	t.Cleanup(func() {
		_, rest, _ := strings.Cut(string(before), "[")
		name, _, _ := strings.Cut(rest, "]")
		if err := os.WriteFile(scheduler, []byte(name), 0); err != nil {
			t.Error(err)
		}
	})
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		t.Fatal(err)
	}
	return device, fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
}
