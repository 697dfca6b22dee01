package namespace_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/camada/camada/container/namespace"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestFlag(t *testing.T) {
	if f, err := namespace.Flag(specs.NetworkNamespace); err != nil || f != unix.CLONE_NEWNET {
		t.Errorf("Flag(network) = %#x, %v", f, err)
	}
	if f, err := namespace.Flag(specs.TimeNamespace); err != nil || f != unix.CLONE_NEWTIME {
		t.Errorf("Flag(time) = %#x, %v", f, err)
	}
	if _, err := namespace.Flag("space"); !errdefs.IsUnsupported(err) {
		t.Errorf("Flag(space): %v", err)
	}
}

func TestDiffering(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make namespaces")
	}
	cmd := exec.Command("/bin/sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUTS | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	set, err := namespace.Differing(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if len(set) != 2 || set[0].Type != specs.UTSNamespace || set[1].Type != specs.MountNamespace {
		t.Errorf("Differing = %v, want uts and mount, in this order", set)
	}
	if !set.Has(specs.UTSNamespace) || set.Has(specs.UserNamespace) {
		t.Error("Has is wrong")
	}
	if _, err := namespace.Differing(1 << 30); !errdefs.IsNotFound(err) {
		t.Errorf("no such process: %v", err)
	}
}

func TestOpenRefusesOtherTypes(t *testing.T) {
	for _, path := range []string{"/proc/self/ns/net", "/proc/self/status"} {
		if _, err := namespace.Open([]specs.LinuxNamespace{{Type: specs.UTSNamespace, Path: path}}); !errdefs.IsInvalid(err) {
			t.Errorf("Open(%s) as uts: %v", path, err)
		}
	}
}

func TestOpenLeavesOutOwn(t *testing.T) {
	set, err := namespace.Open([]specs.LinuxNamespace{{Type: specs.UTSNamespace, Path: "/proc/self/ns/uts"}, {Type: specs.IPCNamespace}})
	if err != nil || len(set) != 0 {
		t.Errorf("Open(own) = %v, %v", set, err)
	}
}
