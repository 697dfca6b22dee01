package container_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestSystemdScope runs this machine's systemd as the first process of a container, with a cgroup v2 tree of its own, and
// starts a container with the systemd driver in there.
func TestSystemdScope(t *testing.T) {
	const marker = "CAMADA_TEST_SYSTEMD"
	if os.Getenv(marker) != "" {
		inSystemd(t)
		return
	}
	static(t)
	root := busybox(t)
	const systemd = "/lib/systemd/systemd"
	if _, err := os.Stat(systemd); err != nil {
		t.Skip("needs systemd")
	}
	p, log := startSystemd(t, systemd, map[string]string{"/test": "/proc/self/exe", "/busybox": root})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := privileged(t, "/test", "-test.run=^TestSystemdScope$", "-test.v")
	s.Process.Env = append(s.Process.Env, marker+"=1")
	e, err := container.Exec(t.Context(), container.ExecConfig{Pid: p.Pid(), ID: unique(t), Process: s.Process, Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(r)
	if status, err := e.Wait(t.Context()); err != nil || status.Code != 0 || !strings.Contains(string(out), "--- PASS: TestSystemdScope") {
		text, _ := os.ReadFile(log)
		t.Errorf("%+v, %v:\n%s\nsystemd said:\n%s", status, err, out, text)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
}

// privileged is a spec with all rights and /sys/fs/cgroup as a hierarchy of version 2.
func privileged(t *testing.T, args ...string) *specs.Spec {
	t.Helper()
	s := defaults(t, args...)
	caps := container.Capabilities()
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	s.Process.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "container=camada"}
	s.Linux.Seccomp, s.Linux.MaskedPaths, s.Linux.ReadonlyPaths, s.Linux.Resources = nil, nil, nil, nil
	for i := range s.Mounts {
		if s.Mounts[i].Destination == "/sys/fs/cgroup" {
			s.Mounts[i] = specs.Mount{Destination: "/sys/fs/cgroup", Type: "bind", Options: []string{"bind", "rw"}}
		}
	}
	return s
}

// startSystemd starts it over a copy of the machine's root file system, without a unit but the target.
func startSystemd(t *testing.T, program string, binds map[string]string) (p *container.Process, log string) {
	t.Helper()
	group := ownV2(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	m := mount.Mount{Kind: mount.Overlay, Lower: []string{"/"}, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
	for _, d := range []string{m.Upper, m.Work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	unit := filepath.Join(dir, "camada-test.target")
	if err := os.WriteFile(unit, []byte("[Unit]\nDefaultDependencies=no\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := privileged(t, program, "--system", "--unit=camada-test.target", "--log-target=console")
	for i := range s.Mounts {
		if s.Mounts[i].Destination == "/sys/fs/cgroup" {
			s.Mounts[i].Source = group
		}
	}
	s.Mounts = append(s.Mounts,
		specs.Mount{Destination: "/run", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=755"}},
		specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=1777"}},
		specs.Mount{Destination: "/etc/systemd/system/camada-test.target", Source: unit, Options: []string{"bind", "ro"}})
	for dest, source := range binds {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: dest, Source: source, Options: []string{"bind"}})
	}
	s.Linux.CgroupsPath = "camada-test-systemd/" + unique(t)
	log = filepath.Join(dir, "log")
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err = container.Start(t.Context(), container.Config{ID: unique(t), Spec: s, Rootfs: m, Stdout: f, Stderr: f, DieWithParent: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Kill(context.Background())
		_, _ = p.Wait(context.Background())
	})
	return p, log
}

// ownV2 gives the directory of the v2 hierarchy in which the container of startSystemd is going to be.
func ownV2(t *testing.T) string {
	t.Helper()
	for _, base := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if unix.Statfs(base, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			dir := filepath.Join(base, "camada-test-systemd", "tree")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = exec.Command("find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run()
				_ = os.Remove(filepath.Dir(dir))
			})
			return dir
		}
	}
	t.Skip("needs a cgroup v2 hierarchy")
	return ""
}

// inSystemd is the test inside.
func inSystemd(t *testing.T) {
	for range 1000 {
		if _, err := os.Stat("/run/systemd/private"); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	s := defaults(t, "sleep", "60")
	s.Linux.CgroupsPath = "camada.slice:camada:web"
	s.Linux.Resources.Devices = nil
	p, err := container.Start(t.Context(), container.Config{
		ID: "web", Spec: s, Rootfs: mount.Mount{Kind: mount.Bind, Source: "/busybox"}, SystemdCgroup: true, DieWithParent: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	group, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid()) + "/cgroup")
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(group)), "/camada.slice/camada-web.scope/container") {
		t.Errorf("the container is in %q, %v", group, err)
	}
	show := func() string {
		out, err := exec.Command("systemctl", "show", "-p", "ActiveState,Delegate,Description,Slice", "camada-web.scope").CombinedOutput()
		if err != nil {
			t.Errorf("systemctl: %v, %s", err, out)
		}
		return string(bytes.TrimSpace(out))
	}
	out := show()
	for _, want := range []string{"ActiveState=active", "Delegate=yes", "Description=container web", "Slice=camada.slice"} {
		if !strings.Contains(out, want) {
			t.Errorf("systemd says %q, want %s", out, want)
		}
	}
	e, err := container.Exec(t.Context(), container.ExecConfig{Pid: p.Pid(), ID: "web", CgroupsPath: s.Linux.CgroupsPath, Process: defaults(t, "sleep", "60").Process})
	if err != nil {
		t.Fatal(err)
	}
	if joined, err := os.ReadFile("/proc/" + strconv.Itoa(e.Pid()) + "/cgroup"); err != nil || !bytes.Equal(joined, group) {
		t.Errorf("a further process is in %q, %v", joined, err)
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := p.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	for range 1000 { // systemd removes a scope when it hears that it is empty
		if out = show(); !strings.Contains(out, "ActiveState=active") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if strings.Contains(out, "ActiveState=active") {
		t.Errorf("the scope is left: %s", out)
	}
	s.Linux.CgroupsPath = "camada/web"
	if _, err := container.Start(t.Context(), container.Config{ID: "web", Spec: s, Rootfs: mount.Mount{Kind: mount.Bind, Source: "/busybox"}, SystemdCgroup: true}); err == nil {
		t.Error("a path that is not systemd's was taken")
	}
}
