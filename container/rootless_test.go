package container_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestRootless runs itself as an ordinary user who is root of a user namespace
// with one id, as camada does for its users.
func TestRootless(t *testing.T) {
	static(t)
	const marker = "CAMADA_TEST_ROOTLESS"
	if root := os.Getenv(marker); root != "" {
		rootless(t, root)
		return
	}
	root := busybox(t)
	for dir := root; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	if err := filepath.Walk(root, func(name string, _ os.FileInfo, _ error) error { return os.Lchown(name, nobody, nobody) }); err != nil {
		t.Fatal(err)
	}
	one := []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(root, "test") // where nobody can reach it
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^TestRootless$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), marker+"="+root)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: one, GidMappings: one, Credential: &syscall.Credential{NoSetGroups: true},
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestRootless") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func rootless(t *testing.T, root string) {
	s, err := spec.New(spec.Options{
		Args: []string{"sh", "-c", "read x; exit 4"}, Env: []string{"PATH=/bin"}, UserNamespace: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	m := mount.Mount{Kind: mount.Bind, Source: root}
	p, err := container.Start(context.Background(), container.Config{ID: unique(t), Spec: s, Rootfs: m, Stdin: r, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	e, err := container.Exec(context.Background(), container.ExecConfig{
		Pid: p.Pid(), ID: unique(t), Process: execProcess(t), Seccomp: s.Linux.Seccomp, Stdout: outW, Stderr: outW,
	})
	outW.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(outR)
	if want := "0\nlo\nok\n/proc/sys refused\ndeny\n"; string(out) != want {
		t.Errorf("output %q, want %q", out, want)
	}
	if _, err := e.Wait(context.Background()); err != nil {
		t.Error(err)
	}
	w.Close()
	if status, err := p.Wait(context.Background()); err != nil || status.Code != 4 {
		t.Errorf("status %+v, %v", status, err)
	}
}

func execProcess(t *testing.T) *specs.Process {
	t.Helper()
	return defaults(t, "sh", "-c", "id -u; ls /sys/class/net; echo > /dev/null && echo ok; (echo 1 > /proc/sys/kernel/shmmax) 2>/dev/null || echo /proc/sys refused; cat /proc/self/setgroups; for f in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do (echo 0 > $f) 2>/dev/null && echo entered $f; done; true").Process
}
