package container_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestMasksNeedTheDevice has a directory of others on /dev: paths are masked by what is /dev/null there (CVE-2025-31133).
func TestMasksNeedTheDevice(t *testing.T) {
	root := busybox(t)
	dev := t.TempDir()
	null := filepath.Join(dev, "null")
	start := func() error {
		s := defaults(t, "true")
		s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return strings.HasPrefix(m.Destination, "/dev") })
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/dev", Source: dev, Options: []string{"bind"}})
		_, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)})
		return err
	}
	for name, put := range map[string]func() error{
		"none": func() error { return nil },
		"file": func() error { return os.WriteFile(null, []byte("shown"), 0o666) },
		"link": func() error { return os.Symlink("/proc/sysrq-trigger", null) },
		"zero": func() error { return unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) },
	} {
		if err := errors.Join(os.RemoveAll(null), put()); err != nil {
			t.Fatal(err)
		}
		if err := start(); err == nil || !strings.Contains(err.Error(), "/dev/null") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := errors.Join(os.RemoveAll(null), unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))); err != nil {
		t.Fatal(err)
	}
	if err := start(); err != nil {
		t.Errorf("with the device: %v", err)
	}
}

// TestTerminalOfOthers has another thing than a terminal where terminals come from.
func TestTerminalOfOthers(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim") // a pipe, which tells when it is opened
	if err := errors.Join(unix.Mkfifo(victim, 0o600), os.Symlink(victim, filepath.Join(dir, "ptmx"))); err != nil {
		t.Fatal(err)
	}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		if f, err := os.Open(victim); err == nil {
			f.Close()
		}
	}()
	time.Sleep(100 * time.Millisecond)
	s := defaults(t, "true")
	s.Process.Terminal = true
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/dev/pts", Source: dir, Options: []string{"bind"}})
	if _, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, busybox(t))}); err == nil || !strings.Contains(err.Error(), "terminal") {
		t.Errorf("%v", err)
	}
	select {
	case <-opened:
		t.Error("a file of the host was opened")
	case <-time.After(100 * time.Millisecond):
		fd, err := unix.Open(victim, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		<-opened
		unix.Close(fd)
	}
}

// TestNothingIsMountedInProc tries to hide the files by which a process is confined, and kernel parameters, behind files of others
// (CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-52881).
func TestNothingIsMountedInProc(t *testing.T) {
	root, dir := busybox(t), t.TempDir()
	if err := errors.Join(os.Symlink("/proc/sys", filepath.Join(root, "alias")), os.Symlink("proc", filepath.Join(root, "p"))); err != nil {
		t.Fatal(err)
	}
	try := func(m specs.Mount) error {
		s := defaults(t, "true")
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "80"}
		s.Mounts = append(s.Mounts, m)
		_, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)})
		return err
	}
	for _, target := range []string{"/proc", "/proc/self/attr", "/proc/sys", "/proc/sys/net", "/alias", "/alias/net", "/p", "/p/sys/kernel", "/dev/../proc/acpi"} {
		for _, m := range []specs.Mount{
			{Source: dir, Options: []string{"bind"}}, {Type: "tmpfs", Source: "tmpfs"}, {Type: "sysfs", Source: "sysfs"}, {Type: "mqueue", Source: "mqueue"},
		} {
			m.Destination = target
			if err := try(m); !errdefs.IsInvalid(err) {
				t.Errorf("%s on %s: %v", m.Type, target, err)
			}
		}
	}
	uptime := filepath.Join(dir, "uptime")
	if err := os.WriteFile(uptime, []byte("1.0 1.0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, m := range []specs.Mount{
		{Destination: "/proc/uptime", Source: uptime, Options: []string{"bind", "ro"}}, {Destination: "/proc", Source: "/proc", Options: []string{"rbind"}},
	} {
		if err := try(m); err != nil {
			t.Errorf("on %s: %v", m.Destination, err)
		}
	}
}

// TestInheritableCapabilities wants none, also when something is executed with more (CVE-2022-24769, CVE-2022-29162).
func TestInheritableCapabilities(t *testing.T) {
	const look = "grep CapInh /proc/self/status"
	const none = "CapInh:\t0000000000000000"
	if out, _ := shell(t, look, nil); out != none {
		t.Errorf("first process: %q", out)
	}
	p := sleeper(t, nil)
	if out, _ := execIn(t, p.Pid(), look); out != none {
		t.Errorf("joining process: %q", out)
	}
	t.Run("asked for", func(t *testing.T) {
		if out, _ := shell(t, look, func(s *specs.Spec) { s.Process.Capabilities.Inheritable = []string{"CAP_CHOWN"} }); out == none {
			t.Errorf("it is %q, too: the test shows nothing", out)
		}
	})
}

// TestReleaseAgent looks for the file that names a program which the kernel executes on the host when a group of cgroup v1 gets empty
// (CVE-2022-0492).
func TestReleaseAgent(t *testing.T) {
	if _, err := os.Stat("/sys/fs/cgroup/pids/release_agent"); err != nil {
		t.Skip("needs cgroup v1")
	}
	const script = `mkdir /tmp/g; mount -t cgroup -o pids x /tmp/g; ls /tmp/g/release_agent /sys/fs/cgroup/*/release_agent;
		for f in /sys/fs/cgroup/*/notify_on_release; do test -e $f && (echo 1 > $f) && echo written; done
		unshare -UrmC sh -c 'mount -t cgroup -o pids x /tmp/g && ls /tmp/g/release_agent'`
	grouped := func(s *specs.Spec) { // so that it has a group of its own there
		limit := int64(100)
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
	}
	confined, _ := shell(t, "{ "+script+"; } 2>/dev/null", grouped)
	if confined != "" {
		t.Errorf("confined: %q", confined)
	}
	// A name space of groups keeps the file away even from a container that may mount.
	mayMount := func(s *specs.Spec) {
		grouped(s)
		s.Linux.Seccomp = nil
		for _, set := range []*[]string{&s.Process.Capabilities.Bounding, &s.Process.Capabilities.Effective, &s.Process.Capabilities.Permitted} {
			*set = append(slices.Clone(*set), "CAP_SYS_ADMIN")
		}
	}
	if out, _ := shell(t, "{ mkdir /tmp/g; mount -t cgroup -o pids x /tmp/g && echo mounted; ls /tmp/g/release_agent; } 2>/dev/null", mayMount); out != "mounted" {
		t.Errorf("in a cgroup namespace: %q", out)
	}
	free, _ := shell(t, "{ "+script+"; } 2>/dev/null", func(s *specs.Spec) {
		mayMount(s)
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.CgroupNamespace })
	})
	if !strings.Contains(free, "/tmp/g/release_agent") {
		t.Errorf("without protection it is %q: the test shows nothing", free)
	}
}

// TestSignalsToTheFirstProcess sends them from inside: the first process of a namespace gets only those that it asked for.
func TestSignalsToTheFirstProcess(t *testing.T) {
	out, status := shell(t, "sh -c 'kill -9 1; kill -15 1; kill -19 1'; echo lives", nil)
	if out != "lives" || status.Code != 0 {
		t.Errorf("%q, %+v", out, status)
	}
	if out, _ := shell(t, "kill -0 "+fmt.Sprint(os.Getpid())+" 2>&1", nil); !strings.Contains(strings.ToLower(out), "no such process") {
		t.Errorf("a process of the host: %q", out)
	}
}

// TestLongValues has names and values that are longer than any field of a message (CVE-2021-43784).
func TestLongValues(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 70_000)
	out, status := shell(t, "echo ${#LONG}; id -u; grep -E 'Seccomp:|CapEff' /proc/self/status", func(s *specs.Spec) {
		s.Process.Env = append(s.Process.Env, "LONG="+string(long))
		s.Process.User = specs.User{UID: 1000, GID: 1000}
		s.Process.Capabilities.Effective, s.Process.Capabilities.Permitted = nil, nil
	})
	if want := "70000\n1000\nCapEff:\t0000000000000000\nSeccomp:\t2"; out != want || status.Code != 0 {
		t.Errorf("%q, %+v", out, status)
	}
}
