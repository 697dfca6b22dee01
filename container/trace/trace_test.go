package trace_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/seccomp"
	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/container/trace"
	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// root makes a root file system of busybox, with links.
func root(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to start a container without a store")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox: install busybox-static")
	}
	dir := t.TempDir()
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"bin", "proc", "dev", "sys", "etc", "srv/data", "jail/bin", "jail/etc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string][]byte{"bin/busybox": data, "jail/bin/busybox": data, "srv/data/a": []byte("a\n"), "etc/x": []byte("x\n"), "jail/etc/y": []byte("y\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"bin/sh": "busybox", "bin/cat": "/bin/busybox", "data": "srv/data", "etc/link": "../data/a"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// traced runs a command line and returns what it did with which path.
func traced(t *testing.T, dir, line string, more func(*specs.Spec)) map[string][]string {
	t.Helper()
	s, err := spec.New(spec.Options{Args: []string{"/bin/sh", "-c", line}, Env: []string{"PATH=/bin"}, Cwd: "/", Hostname: "t", CgroupsPath: "/camada-test-trace-" + t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	s.Root = &specs.Root{Path: dir}
	if more != nil {
		more(s)
	}
	got := map[string][]string{}
	tr := trace.New(func(e trace.Event) {
		text := strings.Join(e.How.Words(), ",")
		if e.NoFollow {
			text += " itself"
		}
		if e.Real != "" && e.Real != e.Path {
			text += " -> " + e.Real
		}
		if e.Real == "" {
			text += " missing"
		}
		if !slices.Contains(got[e.Path], text) {
			got[e.Path] = append(got[e.Path], text)
		}
	})
	cfg := container.Config{ID: "trace-" + strings.ReplaceAll(t.Name(), "/", "-"), Spec: s, DieWithParent: true, Stdout: os.Stderr, Stderr: os.Stderr}
	if err := tr.Start(&cfg); err != nil {
		t.Fatal(err)
	}
	p, err := container.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	status, err := p.Wait(context.Background())
	if err != nil || status.Code != 0 {
		t.Errorf("%q ended with %d, %v", line, status.Code, err)
	}
	tr.Wait()
	tr.Close()
	return got
}

func TestTrace(t *testing.T) {
	dir := root(t)
	profile := specs.LinuxSeccompFlagLog
	for _, c := range []struct {
		name, line string
		more       func(*specs.Spec)
		want       map[string][]string
	}{
		{name: "executed by a link", line: "exec /bin/cat /etc/x", want: map[string][]string{"/bin/cat": {"exec -> /bin/busybox"}, "/etc/x": {"open"}}},
		{name: "through links", line: "cat /etc/link", want: map[string][]string{"/etc/link": {"open -> /srv/data/a"}}},
		{name: "from a directory", line: "cd /data; cat ./a ../../etc/x", want: map[string][]string{"/srv/data/./a": {"open -> /srv/data/a"}, "/srv/data/../../etc/x": {"open -> /etc/x"}}},
		{name: "not there", line: "cat /etc/none || :", want: map[string][]string{"/etc/none": {"open missing"}}},
		{name: "listed", line: "busybox ls /data/", want: map[string][]string{"/srv/data": {"list"}}},
		{name: "written", line: "echo b > /srv/new; busybox rm /srv/new", want: map[string][]string{"/srv/new": {"write missing", "change itself"}}},
		{name: "a link itself", line: "busybox readlink /etc/link", want: map[string][]string{"/etc/link": {"stat itself"}}},
		{name: "made meanwhile", line: "busybox ln -s /etc /now; cat /now/x; busybox rm /now", want: map[string][]string{"/now/x": {"open -> /etc/x"}}},
		{name: "another root", line: "busybox chroot /jail /bin/busybox cat /etc/y", want: map[string][]string{"/jail/bin/busybox": {"exec"}, "/jail/etc/y": {"open"}}},
		{name: "no profile", line: "cat /etc/x", more: func(s *specs.Spec) { s.Linux.Seccomp = nil }, want: map[string][]string{"/etc/x": {"open"}}},
		{name: "no new privileges", line: "cat /etc/x", more: func(s *specs.Spec) { s.Process.NoNewPrivileges = true }, want: map[string][]string{"/etc/x": {"open"}}},
		{name: "flags", line: "cat /etc/x", more: func(s *specs.Spec) { s.Linux.Seccomp.Flags = []specs.LinuxSeccompFlag{profile} }, want: map[string][]string{"/etc/x": {"open"}}},
		{name: "many processes", line: "i=0; while [ $i -lt 40 ]; do cat /etc/x > /dev/null & i=$((i+1)); done; wait; cat /etc/link", want: map[string][]string{"/etc/link": {"open -> /srv/data/a"}}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			got := traced(t, dir, c.line, c.more)
			for name, want := range c.want {
				for _, w := range want {
					if !slices.Contains(got[name], w) {
						t.Errorf("%s: got %q, want %q among them", name, got[name], w)
					}
				}
			}
		})
	}
}

// TestNewCalls makes the calls that no C library makes yet: that they are traced does not depend on whether the kernel knows them.
func TestNewCalls(t *testing.T) {
	dir := root(t)
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin/calls"), "./testdata/calls")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build calls: %v\n%s", err, out)
	}
	line, want := "calls", map[string]string{}
	for _, c := range []struct {
		number, flags int
		how           string
	}{
		{unix.SYS_OPEN_TREE, 2, "open"}, {unix.SYS_OPEN_TREE_ATTR, 2, "open"},
		{unix.SYS_GETXATTRAT, 2, "stat"}, {unix.SYS_LISTXATTRAT, 2, "stat"}, {unix.SYS_SETXATTRAT, 2, "change"}, {unix.SYS_REMOVEXATTRAT, 2, "change"},
		{unix.SYS_FILE_GETATTR, 4, "stat"}, {unix.SYS_FILE_SETATTR, 4, "change"},
	} {
		path := fmt.Sprintf("/etc/%d", c.number)
		line += fmt.Sprintf(" %d %d %s", c.number, c.flags, path)
		want[path] = c.how + " itself missing"
	}
	got := traced(t, dir, line, func(s *specs.Spec) { s.Linux.Seccomp = nil })
	for path, w := range want {
		if !slices.Contains(got[path], w) {
			t.Errorf("%s: got %q, want %q", path, got[path], w)
		}
	}
}

func TestAgentOfItsOwn(t *testing.T) {
	tr := trace.New(func(trace.Event) {})
	cfg := container.ExecConfig{Seccomp: &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/x", Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}}}}
	if err := tr.Exec(&cfg); !errdefs.IsUnsupported(err) {
		t.Errorf("got %v, want that a container has one agent", err)
	}
}

// TestRefusedStaysRefused looks that tracing allows nothing that the profile does not.
func TestRefusedStaysRefused(t *testing.T) {
	tr := trace.New(func(trace.Event) {})
	before := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"openat", "read", "stat"}, Action: specs.ActAllow},
		{Names: []string{"stat"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 1, Op: specs.OpEqualTo}}},
	}}
	cfg := container.ExecConfig{Seccomp: before}
	if err := tr.Exec(&cfg); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"openat"}, cfg.Seccomp.Syscalls[0].Names); diff != "" {
		t.Error(diff)
	}
	if len(before.Syscalls) != 2 {
		t.Error("the caller's profile was changed")
	}
}

// TestNoProfile looks that tracing kills no program that ran without a profile: one for 32 bits.
func TestNoProfile(t *testing.T) {
	tr := trace.New(func(trace.Event) {})
	var cfg container.ExecConfig
	if err := tr.Exec(&cfg); err != nil {
		t.Fatal(err)
	}
	for _, a := range []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchAARCH64, specs.ArchARM} {
		if !slices.Contains(cfg.Seccomp.Architectures, a) {
			t.Errorf("%s is killed", a)
		}
	}
	if _, err := seccomp.Compile(cfg.Seccomp, runtime.GOARCH); err != nil {
		t.Error(err)
	}
}

func TestWords(t *testing.T) {
	all := trace.Exec | trace.Open | trace.Write | trace.List | trace.Stat | trace.Change
	h, err := trace.ParseHow(all.Words())
	if err != nil || h != all || len(all.Words()) != 6 {
		t.Errorf("%v: got %v, %v", all.Words(), h, err)
	}
	if _, err := trace.ParseHow([]string{"seen"}); !errdefs.IsInvalid(err) {
		t.Errorf("got %v", err)
	}
}
