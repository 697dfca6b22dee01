package join

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is also the program inside: its exit code says what it found.
func TestMain(m *testing.M) {
	if want := os.Getenv("JOIN_TEST_NAMESPACE"); want != "" {
		got, err := os.Readlink("/proc/self/ns/user")
		outer := os.Getenv("JOIN_TEST_MOUNTS")
		mounts, merr := os.Readlink("/proc/self/ns/mnt")
		switch {
		case err != nil || merr != nil:
			os.Exit(10)
		case got != want:
			os.Exit(11)
		case mounts == outer:
			os.Exit(12)
		case os.Geteuid() != 0 || unix.Mount("none", "/tmp", "tmpfs", 0, "") != nil:
			os.Exit(13)
		case len(os.Args) != 2 || os.Args[1] != "argument":
			os.Exit(14)
		}
		os.Exit(42)
	}
	os.Exit(m.Run())
}

func TestStart(t *testing.T) {
	holder := exec.Command("sleep", "100")
	holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	if err := holder.Start(); err != nil {
		t.Skipf("no user namespace: %v", err)
	}
	defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
	file := "/proc/" + strconv.Itoa(holder.Process.Pid) + "/ns/user"
	ns, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	name, err := os.Readlink(file)
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := Start(ns, []string{"joined", "argument"}, []string{"JOIN_TEST_NAMESPACE=" + name, "JOIN_TEST_MOUNTS=" + mounts})
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	st, err := p.Wait()
	if err != nil || st.ExitCode() != 42 {
		t.Errorf("inside: %v, %v", st, err)
	}
	// What is no user namespace cannot be joined.
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if pid, err := Start(null, nil, nil); err == nil {
		t.Errorf("joined %s as %d", os.DevNull, pid)
	}
}
