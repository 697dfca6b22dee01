package container_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/camada/camada/container"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// sleeper starts a container that sleeps.
func sleeper(t *testing.T, change func(*specs.Spec)) *container.Process {
	t.Helper()
	s := defaults(t, "sleep", "60")
	s.Hostname = "sleeper"
	if change != nil {
		change(s)
	}
	p, err := container.Start(context.Background(), container.Config{ID: unique(t), Spec: s, Rootfs: overlayOf(t, busybox(t)), DieWithParent: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := p.Wait(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// execIn runs a script in a running container.
func execIn(t *testing.T, pid int, script string) (string, container.ExitStatus) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := defaults(t, "sh", "-c", script)
	p, err := container.Exec(context.Background(), container.ExecConfig{Pid: pid, ID: unique(t), Process: s.Process, Seccomp: s.Linux.Seccomp, Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	status, err := p.Wait(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(string(out), "\n"), status
}

const facts = `hostname; for n in mnt pid ipc uts net cgroup user; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup; grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status; readlink /proc/self/exe; ls /`

// TestExecIsConfinedAlike compares what a joining process is with the first one.
func TestExecIsConfinedAlike(t *testing.T) {
	p := sleeper(t, nil)
	joined, status := execIn(t, p.Pid(), strings.ReplaceAll(facts, "/proc/self/", "/proc/$$/")+"; exit 3")
	if status.Code != 3 {
		t.Errorf("status %+v", status)
	}
	first, _ := execIn(t, p.Pid(), strings.ReplaceAll(facts, "/proc/self/", "/proc/1/"))
	if joined != first || !strings.HasPrefix(joined, "sleeper\n") || !strings.Contains(joined, "Seccomp:\t2") {
		t.Errorf("a joining process:\n%s\nthe first:\n%s", joined, first)
	}
	if joined, _ := execIn(t, p.Pid(), "tr '\\0' ' ' < /proc/1/cmdline"); joined != "sleep 60 " {
		t.Errorf("the container's processes are not seen: %q", joined)
	}
}

func TestExecInUserNamespace(t *testing.T) {
	p := sleeper(t, func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
	})
	out, _ := execIn(t, p.Pid(), "id -u; cat /proc/self/uid_map; touch /dev/x && stat -c %u /dev/x; echo > /dev/null && echo ok")
	if f := strings.Fields(out); strings.Join(f, " ") != "0 0 100000 65536 0 ok" {
		t.Errorf("output %q", out)
	}
}

func TestExecErrors(t *testing.T) {
	p := sleeper(t, nil)
	s := defaults(t, "nonexistent")
	_, err := container.Exec(context.Background(), container.ExecConfig{Pid: p.Pid(), Process: s.Process})
	var se *container.StartError
	if !errors.As(err, &se) || se.Code != 127 {
		t.Errorf("error %v", err)
	}
	if _, err := container.Exec(context.Background(), container.ExecConfig{Pid: os.Getpid(), Process: s.Process}); err == nil {
		t.Error("joined itself")
	}
}

func TestTerminal(t *testing.T) {
	for name, change := range map[string]func(*specs.Spec){
		"plain": func(*specs.Spec) {},
		"in a user namespace": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
			s.Linux.GIDMappings = s.Linux.UIDMappings
		},
	} {
		t.Run(name, func(t *testing.T) { terminalOf(t, change) })
	}
}

// terminalOf looks at the terminals of a container's first and of a further process.
func terminalOf(t *testing.T, change func(*specs.Spec)) {
	s := defaults(t, "sh", "-c", "tty; stat -c %u:%g $(tty); stty size; ls -l /dev/console >/dev/null && echo console; exec sleep 60")
	change(s)
	s.Process.Terminal, s.Process.Cwd = true, "/tmp"
	p, err := container.Start(context.Background(), container.Config{ID: unique(t), Spec: s, Rootfs: overlayOf(t, busybox(t)), DieWithParent: true})
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 100)
	for !strings.Contains(string(buf), "console") {
		b := make([]byte, 100)
		n, err := p.Console.Read(b)
		if err != nil {
			t.Fatalf("%v after %q", err, buf)
		}
		buf = append(buf, b[:n]...)
	}
	if !strings.HasPrefix(string(buf), "/dev/pts/0\r\n0:5\r\n") {
		t.Errorf("output %q", buf)
	}
	if err := p.Resize(99, 33); err != nil {
		t.Error(err)
	}
	joined := defaults(t, "sh", "-c", "tty; stat -c %u:%g $(tty)")
	joined.Process.Terminal, joined.Process.Cwd = true, "/tmp"
	e, err := container.Exec(context.Background(), container.ExecConfig{Pid: p.Pid(), ID: unique(t), Process: joined.Process})
	if err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(e.Console) // ends with EIO
	if !strings.HasPrefix(string(out), "/dev/pts/1\r\n0:5\r\n") {
		t.Errorf("output of exec %q", out)
	}
	e.Console.Close()
	if _, err := e.Wait(context.Background()); err != nil {
		t.Error(err)
	}
	if err := p.Kill(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := p.Wait(context.Background()); err != nil {
		t.Error(err)
	}
	p.Console.Close()
}
