package container_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/container"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// What attackers tried on other runtimes: docs/security.md lists them.

// swapVariable makes the test's program exchange two names, separated by a colon, for as long as it lives.
const swapVariable = "CAMADA_TEST_SWAP"

func swap(names string) {
	a, b, _ := strings.Cut(names, ":")
	for {
		_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	}
}

// raceTime is how long a test races against a container.
func raceTime() time.Duration {
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		return 30 * time.Second
	}
	return 2 * time.Second
}

// swapper starts a container that exchanges two names of a volume, which it sees as /vol, until the test ends.
func swapper(t *testing.T, volume, a, b string) {
	t.Helper()
	static(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := defaults(t, "/swap")
	s.Process.Env = append(s.Process.Env, swapVariable+"=/vol/"+a+":/vol/"+b)
	s.Mounts = append(s.Mounts,
		specs.Mount{Destination: "/swap", Source: self, Options: []string{"bind", "ro"}},
		specs.Mount{Destination: "/vol", Source: volume, Options: []string{"bind"}})
	p, err := container.Start(context.Background(), container.Config{ID: unique(t) + "-swapper", Spec: s, Rootfs: overlayOf(t, busybox(t)), DieWithParent: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(context.Background()); err != nil {
			t.Error(err)
		}
		_, _ = p.Wait(context.Background())
	})
}

// TestLinksSwappedInAVolume starts containers whose mounts are below a directory of a volume, while another container exchanges that
// directory and a link to a directory of the host (CVE-2021-30465, CVE-2024-45310, CVE-2025-52565).
func TestLinksSwappedInAVolume(t *testing.T) {
	root, volume, outside := busybox(t), t.TempDir(), t.TempDir()
	source := filepath.Join(t.TempDir(), "source")
	if err := errors.Join(os.WriteFile(source, []byte("shown"), 0o644), os.Mkdir(filepath.Join(volume, "d"), 0o755), os.Symlink(outside, filepath.Join(volume, "l"))); err != nil {
		t.Fatal(err)
	}
	swapper(t, volume, "d", "l")
	s := defaults(t, "cat", "/vol/d/new/file")
	s.Process.Cwd = "/vol/d/work/dir"
	s.Mounts = append(s.Mounts,
		specs.Mount{Destination: "/vol", Source: volume, Options: []string{"bind"}},
		specs.Mount{Destination: "/vol/d/new/file", Source: source, Options: []string{"bind"}},
		specs.Mount{Destination: "/vol/d/tmp", Type: "tmpfs", Source: "tmpfs"})
	s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/vol/d/masked")
	s.Linux.ReadonlyPaths = append(s.Linux.ReadonlyPaths, "/vol/d/frozen")
	outcomes := map[string]int{}
	for end := time.Now().Add(raceTime()); time.Now().Before(end); {
		out, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)})
		switch {
		case err != nil:
			outcomes["refused"]++
		case out == "shown":
			outcomes["shown"]++
		case out == "" || strings.HasPrefix(out, "cat: "): // the names were exchanged between the start and the look
			outcomes["not there"]++
		default:
			t.Fatalf("the container sees %q", out)
		}
		if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
			t.Fatalf("a directory of the host got %v, %v; %v", left, err, outcomes)
		}
	}
	t.Log(outcomes)
	// The same by path names shows that there is something to be hit.
	for end := time.Now().Add(raceTime()); time.Now().Before(end); {
		_ = os.MkdirAll(filepath.Join(volume, "d/other/file"), 0o755)
		if left, _ := os.ReadDir(outside); len(left) > 0 {
			return
		}
		_ = os.RemoveAll(filepath.Join(volume, "d/other"))
	}
	t.Log("path names were not caught in the time that there was")
}

// TestProcessOfExecIsNotSeen has a container look at what executes something in it, which is a copy of the host's program for a
// moment (CVE-2016-9962, CVE-2019-5736). The capability to trace processes shows that the moment is there.
func TestProcessOfExecIsNotSeen(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seen := func(change func(*specs.Spec)) bool {
		s := defaults(t, "sh", "-c", "while :; do ls -l /proc/[0-9]*/exe; done 2>/dev/null | grep -F -m 1 "+self)
		if change != nil {
			change(s)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		p, err := container.Start(t.Context(), container.Config{ID: unique(t), Spec: s, Rootfs: overlayOf(t, busybox(t)), Stdout: w, DieWithParent: true})
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		found := make(chan string, 1)
		go func() {
			b, _ := io.ReadAll(r)
			found <- string(b)
		}()
		end := time.After(raceTime())
		for going := true; going; {
			select {
			case <-end:
				going = false
			case <-p.Done():
				going = false
			default:
				e, err := container.Exec(t.Context(), container.ExecConfig{Pid: p.Pid(), ID: unique(t), Process: defaults(t, "true").Process, Seccomp: s.Linux.Seccomp})
				if err == nil {
					_, err = e.Wait(t.Context())
				}
				if err != nil && p.Signal(0) == nil {
					t.Error(err)
					going = false
				}
			}
		}
		_ = p.Kill(context.Background())
		_, _ = p.Wait(context.Background())
		return strings.Contains(<-found, self)
	}
	if seen(nil) {
		t.Error("the host's program was seen")
	}
	if !seen(func(s *specs.Spec) {
		for _, set := range []*[]string{&s.Process.Capabilities.Bounding, &s.Process.Capabilities.Effective, &s.Process.Capabilities.Permitted} {
			*set = append(slices.Clone(*set), "CAP_SYS_PTRACE")
		}
	}) {
		t.Log("the moment was not caught in the time that there was")
	}
}

// TestHostProgramInExec is TestHostProgramIsOutOfReach for a program that joins (CVE-2019-5736), and for one that is the link itself.
func TestHostProgramInExec(t *testing.T) {
	p := sleeper(t, nil)
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root/bin/evil", p.Pid()), []byte("#!/proc/self/exe\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"/bin/evil", "/proc/self/exe", "/proc/thread-self/exe"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		s := defaults(t, program, "-test.run=NONE")
		e, err := container.Exec(t.Context(), container.ExecConfig{Pid: p.Pid(), ID: unique(t), Process: s.Process, Stdout: w, Stderr: w})
		w.Close()
		var status container.ExitStatus
		if err == nil {
			status, _ = e.Wait(t.Context())
		}
		out, _ := io.ReadAll(r)
		r.Close()
		if len(out) > 0 || err == nil && status.Code == 0 {
			t.Errorf("exec %s: output %q, %+v", program, out, status)
		}
		got, status, err := runContainer(t, container.Config{Spec: defaults(t, "/proc/self/exe", "-test.run=NONE"), Rootfs: overlayOf(t, busybox(t))})
		if got != "" || err == nil && status.Code == 0 {
			t.Errorf("run %s: output %q, %+v", program, got, status)
		}
	}
}

// TestInitIsReadOnly lets a container write to the program that is its first process, which is the host's.
func TestInitIsReadOnly(t *testing.T) {
	static(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(self)
	if err != nil {
		t.Fatal(err)
	}
	s := defaults(t, "sh", "-c", "for f in /dev/init /proc/1/exe; do (: >> $f) && echo opened; busybox chmod 777 $f && echo changed; busybox rm $f && echo gone; done 2>/dev/null; head -c 11 /proc/1/cmdline")
	out, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, busybox(t)), Init: true})
	if err != nil || out != "camada-init" {
		t.Errorf("%q, %v", out, err)
	}
	if after, err := os.Stat(self); err != nil || after.Mode() != before.Mode() || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the program was changed: %v, %v", after, err)
	}
}

// TestDescriptorsDoNotLeak has descriptors open that programs inherit, and looks for them in a container (CVE-2024-21626).
func TestDescriptorsDoNotLeak(t *testing.T) {
	for range 5 {
		fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0) // without O_CLOEXEC
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	if out, err := exec.Command("ls", "-l", "/proc/self/fd").Output(); err != nil || !strings.Contains(string(out), "-> /\n") {
		t.Fatalf("the test leaks nothing: %v\n%s", err, out)
	}
	const list = "ls -l /proc/self/fd 2>/dev/null | grep -e '->' | grep -vE -e '-> (pipe:.*|/dev/null|/proc/[0-9]+/fd)$'; pwd"
	if out, _ := shell(t, list, nil); out != "/" {
		t.Errorf("a first process has %q", out)
	}
	p := sleeper(t, nil)
	if out, _ := execIn(t, p.Pid(), list); out != "/" {
		t.Errorf("a joining process has %q", out)
	}
	for fd := range 40 {
		s := defaults(t, "true")
		s.Process.Cwd = fmt.Sprintf("/proc/self/fd/%d", fd)
		if e, err := container.Exec(t.Context(), container.ExecConfig{Pid: p.Pid(), ID: unique(t), Process: s.Process}); err == nil {
			_, _ = e.Wait(t.Context())
			t.Fatalf("%s was entered", s.Process.Cwd)
		}
	}
}

// TestNullOfAHostileContainer has other things than the device at /dev/null when something is executed in a container, where streams
// that nobody gives are that.
func TestNullOfAHostileContainer(t *testing.T) {
	p := sleeper(t, nil)
	run := func() error {
		s := defaults(t, "true")
		e, err := container.Exec(t.Context(), container.ExecConfig{Pid: p.Pid(), ID: unique(t), Process: s.Process})
		if err == nil {
			_, err = e.Wait(t.Context())
		}
		return err
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	pid := p.Pid()
	null := fmt.Sprintf("/proc/%d/root/dev/null", pid)
	things := map[string]func() error{
		"file":   func() error { return os.WriteFile(null, nil, 0o666) },
		"pipe":   func() error { return unix.Mkfifo(null, 0o666) },
		"device": func() error { return unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) },
		"none":   func() error { return nil },
	}
	for fd := range 12 {
		things[fmt.Sprintf("descriptor %d", fd)] = func() error { return os.Symlink(fmt.Sprintf("/proc/self/fd/%d", fd), null) }
	}
	things["program"] = func() error { return os.Symlink("/proc/self/exe", null) }
	for name, put := range things {
		if err := errors.Join(os.RemoveAll(null), put()); err != nil {
			t.Fatal(err)
		}
		if err := run(); err == nil || !strings.Contains(err.Error(), "/dev/null") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestExecVerifies has the caller find out that the process is another one than it was.
func TestExecVerifies(t *testing.T) {
	p := sleeper(t, nil)
	other := errors.New("another process")
	cfg := container.ExecConfig{Pid: p.Pid(), ID: unique(t), Process: defaults(t, "touch", "/tmp/was-here").Process, Verify: func() error { return other }}
	if _, err := container.Exec(t.Context(), cfg); !errors.Is(err, other) {
		t.Errorf("%v", err)
	}
	if out, _ := execIn(t, p.Pid(), "ls /tmp"); out != "" {
		t.Errorf("it was executed: %q", out)
	}
	t.Run("start", func(t *testing.T) {
		if _, _, err := runContainer(t, container.Config{Spec: defaults(t, "true"), Rootfs: overlayOf(t, busybox(t)), Verify: cfg.Verify}); !errors.Is(err, other) {
			t.Errorf("start: %v", err)
		}
	})
	cfg.Verify = func() error { return nil }
	e, err := container.Exec(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = e.Wait(t.Context())
	if out, _ := execIn(t, p.Pid(), "ls /tmp"); out != "was-here" {
		t.Errorf("it was not executed: %q", out)
	}
}
