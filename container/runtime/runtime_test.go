package runtime_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/bundle"
	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/runtime"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// createVariable makes the test's program create the container of a bundle and end: see TestCreatorIsKilled.
const createVariable = "CAMADA_TEST_CREATE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(createVariable); dir != "" {
		s, err := bundle.Load(dir)
		if err == nil {
			r := runtime.Runtime{Root: filepath.Join(dir, "state")}
			err = r.Create(context.Background(), runtime.CreateOptions{ID: filepath.Base(dir), Bundle: dir, Spec: s})
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// fixture is a bundle with busybox, and a runtime.
type fixture struct {
	*runtime.Runtime
	t   *testing.T
	dir string
	o   runtime.CreateOptions
}

func setup(t *testing.T, script string) *fixture {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to start containers")
	}
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs /bin/busybox (Debian's busybox-static)")
	}
	dir := filepath.Join(t.TempDir(), fmt.Sprintf("rt%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-")))
	bin := filepath.Join(dir, "rootfs/bin")
	if err := errors.Join(os.MkdirAll(bin, 0o755), os.WriteFile(bin+"/busybox", program, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "cat", "sleep", "id", "readlink"} {
		if err := os.Symlink("busybox", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := bundle.Example()
	s.Root = &specs.Root{Path: filepath.Join(dir, "rootfs")}
	s.Process.Terminal, s.Process.Args = false, []string{"sh", "-c", script}
	f := &fixture{t: t, dir: dir, Runtime: &runtime.Runtime{Root: filepath.Join(dir, "state")}}
	f.o = runtime.CreateOptions{ID: filepath.Base(dir), Bundle: dir, Spec: s}
	t.Cleanup(func() {
		if err := f.Delete(context.Background(), f.o.ID, true); err != nil {
			t.Error(err)
		}
		f.nothingLeft()
	})
	return f
}

// nothingLeft looks for the cgroups and the directory.
func (f *fixture) nothingLeft() {
	f.t.Helper()
	if entries, _ := os.ReadDir(f.Root); len(entries) > 0 {
		f.t.Errorf("left in the directory of states: %v", entries)
	}
	layout, err := cgroup.Detect()
	if err != nil {
		f.t.Fatal(err)
	}
	if g, err := layout.Load("camada/" + f.o.ID); !errdefs.IsNotFound(err) {
		f.t.Errorf("cgroups %v are left (%v)", g, err)
	}
}

func (f *fixture) status(want specs.ContainerState) {
	f.t.Helper()
	var got specs.ContainerState
	for range 500 {
		s, err := f.State(f.o.ID)
		if err != nil {
			f.t.Fatal(err)
		}
		if got = s.Status; got == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.t.Fatalf("status %s, want %s", got, want)
}

func (f *fixture) exists(name string) bool {
	_, err := os.Stat(filepath.Join(f.dir, "rootfs", name))
	return err == nil
}

func (f *fixture) file(name string) string {
	f.t.Helper()
	for range 500 {
		if b, err := os.ReadFile(filepath.Join(f.dir, "rootfs", name)); err == nil && bytes.HasSuffix(b, []byte("\n")) {
			return strings.TrimSpace(string(b))
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.t.Fatalf("%s was not written", name)
	return ""
}

func TestLifecycle(t *testing.T) {
	ctx := context.Background()
	f := setup(t, "echo $HOME > /ran; exec sleep 1000")
	f.o.PidFile = filepath.Join(f.dir, "pid")
	f.o.Spec.Annotations = map[string]string{"a": "b"}
	if err := f.Create(ctx, f.o); err != nil {
		t.Fatal(err)
	}
	f.status(specs.StateCreated)
	s, err := f.State(f.o.ID)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := os.ReadFile(f.o.PidFile)
	if err != nil || string(pid) != fmt.Sprint(s.Pid) || s.Annotations["a"] != "b" || s.Bundle != f.dir || s.Version != specs.Version {
		t.Errorf("pid file %q (%v), state %+v", pid, err, s)
	}
	if err := f.Create(ctx, f.o); !errdefs.IsAlreadyExists(err) {
		t.Errorf("made twice: %v", err)
	}
	if f.exists("ran") {
		t.Error("the program was executed before the start")
	}
	if err := f.Start(ctx, f.o.ID); err != nil {
		t.Fatal(err)
	}
	if got := f.file("ran"); got != "/" {
		t.Errorf("HOME=%q", got)
	}
	f.status(specs.StateRunning)
	if err := f.Start(ctx, f.o.ID); !errdefs.IsConflict(err) {
		t.Errorf("started twice: %v", err)
	}
	if err := f.Delete(ctx, f.o.ID, false); !errdefs.IsConflict(err) {
		t.Errorf("removed while it runs: %v", err)
	}
	if err := f.Kill(ctx, f.o.ID, unix.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	f.status(specs.StateStopped)
	if err := f.Kill(ctx, f.o.ID, unix.SIGTERM, false); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "container not running") {
		t.Errorf("killed after its end: %v", err)
	}
	if err := f.Delete(ctx, f.o.ID, false); err != nil {
		t.Fatal(err)
	}
	if _, err := f.State(f.o.ID); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("state after the removal: %v", err)
	}
	f.nothingLeft()
}

func TestProgramsThatCannotBeExecuted(t *testing.T) {
	ctx := context.Background()
	f := setup(t, "")
	f.o.Spec.Process.Args = []string{"nosuch"}
	var se *container.StartError
	if err := f.Create(ctx, f.o); !errors.As(err, &se) || se.Code != 127 || !strings.Contains(err.Error(), "executable file not found in $PATH") {
		t.Errorf("no such program: %v", err)
	}
	f.nothingLeft()
	f.o.Spec.Process.Args = []string{"/"} // engines do not clean up for sure when it is Start that fails
	if err := f.Create(ctx, f.o); !errors.As(err, &se) || se.Code != 126 || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("a directory: %v", err)
	}
	f.nothingLeft()
	if err := os.WriteFile(filepath.Join(f.dir, "rootfs/data"), []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.o.Spec.Process.Args = []string{"/data"}
	if err := f.Create(ctx, f.o); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(ctx, f.o.ID); !errors.As(err, &se) || se.Code != 126 || !strings.Contains(err.Error(), "exec format error") {
		t.Errorf("a file of data: %v", err)
	}
	f.status(specs.StateStopped)
}

func TestHeldProcessIsKilled(t *testing.T) {
	ctx := context.Background()
	f := setup(t, "true")
	if err := f.Create(ctx, f.o); err != nil {
		t.Fatal(err)
	}
	if err := f.Kill(ctx, f.o.ID, unix.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	f.status(specs.StateStopped)
	if err := f.Start(ctx, f.o.ID); !errdefs.IsConflict(err) {
		t.Errorf("started after its end: %v", err)
	}
}

// hook makes a hook that notes its kind, the state's status and what its script prints.
func hook(kind, log, script string) specs.Hook {
	return specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", fmt.Sprintf(
		`read state; status=${state#*'"status":"'}; echo "%s ${status%%%%'"'*} $(%s)" >> %s`, kind, script, log)}, Env: []string{"PATH=/bin:/usr/bin", "KIND=" + kind}}
}

func TestHooks(t *testing.T) {
	ctx := context.Background()
	f := setup(t, "echo program >> /log; exec sleep 1000")
	log := filepath.Join(f.dir, "rootfs/log")
	ns, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	where := `test "$(readlink /proc/self/ns/mnt)" = "` + ns + `" && echo host || echo inside; test -e ` + f.dir + `/rootfs/proc/self/stat && echo mounted; env | grep -c .`
	f.o.Spec.Hooks = &specs.Hooks{
		Prestart:        []specs.Hook{hook("prestart", log, where)}, //nolint:staticcheck // engines still set it
		CreateRuntime:   []specs.Hook{hook("createRuntime", log, where)},
		CreateContainer: []specs.Hook{hook("createContainer", log, where+"; grep -q 'CapEff:.*[1-9a-f]' /proc/self/status && echo rights")},
		StartContainer:  []specs.Hook{hook("startContainer", "/log", "/bin/busybox id -u; /bin/busybox test -e "+f.dir+" || echo inside")},
		Poststart:       []specs.Hook{hook("poststart", log, where)},
		Poststop:        []specs.Hook{hook("poststop", log, where)},
	}
	f.o.Spec.Process.User.UID = 7
	if err := errors.Join(os.WriteFile(log, nil, 0o666), os.Chmod(log, 0o666)); err != nil {
		t.Fatal(err)
	}
	if err := f.Create(ctx, f.o); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(ctx, f.o.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(ctx, f.o.ID, true); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	got := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(b)), "\n"), func(l string) bool { return l == "program" })
	text := strings.Join(got, "\n")
	for _, want := range []string{
		"prestart creating host\n", "createRuntime creating host\n", "createContainer creating inside\nmounted\n", "startContainer created 7\ninside\n",
		"poststart running host\n", "poststop stopped host\n",
	} {
		i := strings.Index(text+"\n", want)
		if i < 0 {
			t.Fatalf("no %q, in this order, in:\n%s", want, b)
		}
		text = text[i:]
	}
	if !strings.Contains(string(b), "\nrights\n") {
		t.Errorf("the hook in the container's namespaces had no rights:\n%s", b)
	}
	if strings.Contains(string(b), "HOME") {
		t.Errorf("hooks got the caller's environment:\n%s", b)
	}
}

func TestHooksThatFail(t *testing.T) {
	ctx := context.Background()
	second := 1
	fails := specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", "echo no luck; exit 3"}}
	sleeps := specs.Hook{Path: "/bin/sleep", Args: []string{"sleep", "1000"}, Timeout: &second}
	for _, c := range []struct {
		name  string
		hooks specs.Hooks
		text  string
		start bool
	}{
		{"createRuntime", specs.Hooks{CreateRuntime: []specs.Hook{fails}}, "no luck", false},
		{"createContainer", specs.Hooks{CreateContainer: []specs.Hook{fails}}, "no luck", false},
		{"timeout", specs.Hooks{CreateRuntime: []specs.Hook{sleeps}}, "longer than its 1 seconds", false},
		{"timeout inside", specs.Hooks{CreateContainer: []specs.Hook{sleeps}}, "longer than its 1 seconds", false},
		{"startContainer", specs.Hooks{StartContainer: []specs.Hook{fails}}, "no luck", true},
		{"poststart", specs.Hooks{Poststart: []specs.Hook{fails}}, "no luck", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := setup(t, "sleep 1000")
			f.o.Spec.Hooks = &c.hooks
			err := f.Create(ctx, f.o)
			if c.start {
				if err != nil {
					t.Fatal(err)
				}
				err = f.Start(ctx, f.o.ID)
				f.status(specs.StateStopped)
			} else {
				f.nothingLeft()
			}
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want something with %q", err, c.text)
			}
		})
	}
}

// TestCreatorIsKilled kills who makes a container, by its own hook, and then finds nothing left after the removal.
func TestCreatorIsKilled(t *testing.T) {
	f := setup(t, "sleep 1000")
	pidFile := filepath.Join(f.dir, "init")
	f.o.Spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c",
		`read state; pid=${state#*'"pid":'}; echo ${pid%%,*} > ` + pidFile + `; kill -9 $PPID; sleep 0.2`}}}}
	b, err := json.Marshal(f.o.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, bundle.ConfigFile), b, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), createVariable+"="+f.dir)
	out, err := cmd.CombinedOutput()
	var ee *exec.ExitError
	if !errors.As(err, &ee) || ee.ExitCode() != -1 {
		t.Fatalf("the creator was not killed: %v: %s", err, out)
	}
	f.status(specs.StateStopped)
	if err := f.Delete(context.Background(), f.o.ID, true); err != nil {
		t.Fatal(err)
	}
	f.nothingLeft()
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); os.IsNotExist(err) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %s of the container lives", pid)
}

func TestExecPauseUpdate(t *testing.T) {
	ctx := context.Background()
	f := setup(t, "exec sleep 1000")
	limit := int64(50)
	f.o.Spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
	if err := f.Create(ctx, f.o); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(ctx, f.o.ID); err != nil {
		t.Fatal(err)
	}
	p, err := f.Process(f.o.ID)
	if err != nil {
		t.Fatal(err)
	}
	p.Args = []string{"sh", "-c", "cat /proc/self/mountinfo > /mounts; cat /proc/self/status > /status; id -u > /id; exit 5"}
	p.User.UID, p.Capabilities = 9, nil
	if err := os.Chmod(filepath.Join(f.dir, "rootfs"), 0o777); err != nil {
		t.Fatal(err)
	}
	proc, err := f.Exec(ctx, f.o.ID, runtime.ExecOptions{Process: p})
	if err != nil {
		t.Fatal(err)
	}
	if status, err := proc.Wait(ctx); err != nil || status.Code != 5 {
		t.Errorf("exec: %+v %v", status, err)
	}
	// The host's mounts are gone, also for who joins the mount namespace and begins at its root.
	roots := 0
	for line := range strings.Lines(f.file("mounts")) {
		fields := strings.Fields(line)
		switch root, at := fields[3], fields[4]; {
		case at == "/" && strings.HasSuffix(root, filepath.Base(f.dir)+"/rootfs"):
			roots++
		case !slices.Contains([]string{"proc", "dev", "sys"}, strings.SplitN(at, "/", 3)[1]):
			t.Errorf("a mount of the host: %s", line)
		}
	}
	if roots != 1 {
		t.Errorf("%d root file systems", roots)
	}
	if got := f.file("id"); got != "9" {
		t.Errorf("exec ran as %s", got)
	}
	if got := f.file("status"); !strings.Contains(got, "CapBnd:\t0000000020000420\n") || !strings.Contains(got, "NoNewPrivs:\t1") {
		t.Errorf("exec has other rights than the container:\n%s", got)
	}
	if err := f.Pause(ctx, f.o.ID); err != nil {
		t.Fatal(err)
	}
	f.status(runtime.StatusPaused)
	if _, err := f.Exec(ctx, f.o.ID, runtime.ExecOptions{Process: p}); !errdefs.IsConflict(err) {
		t.Errorf("exec in a paused container: %v", err)
	}
	if err := f.Resume(ctx, f.o.ID); err != nil {
		t.Fatal(err)
	}
	f.status(specs.StateRunning)
	limit = 60
	if err := f.Update(ctx, f.o.ID, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}, Memory: &specs.LinuxMemory{Limit: new(int64), Swap: new(int64)}}); err != nil {
		t.Fatal(err)
	}
	s, err := f.Stats(f.o.ID)
	if err != nil || s.PIDs.Limit != 60 || s.PIDs.Current != 1 {
		t.Errorf("statistics: %+v %v", s, err)
	}
	if pids, err := f.Pids(f.o.ID); err != nil || len(pids) != 1 {
		t.Errorf("processes: %v %v", pids, err)
	}
}

// TestDetachedEnd looks whether the end of a process that was left alone is there for who inherits it, however soon it comes.
func TestDetachedEnd(t *testing.T) {
	ctx := context.Background()
	f := setup(t, "exec sleep 1000")
	if err := f.Create(ctx, f.o); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(ctx, f.o.ID); err != nil {
		t.Fatal(err)
	}
	p, err := f.Process(f.o.ID)
	if err != nil {
		t.Fatal(err)
	}
	p.Args = []string{"sh", "-c", "exit 5"}
	proc, err := f.Exec(ctx, f.o.ID, runtime.ExecOptions{Process: p, Detach: true})
	if err != nil {
		t.Fatal(err)
	}
	for { // it has ended, and may have been waited for
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", proc.Pid()))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond)
	var status unix.WaitStatus
	if _, err := unix.Wait4(proc.Pid(), &status, 0, nil); err != nil || status.ExitStatus() != 5 {
		t.Errorf("its end: exit code %d, %v", status.ExitStatus(), err)
	}
}

func TestPausedIsKilled(t *testing.T) {
	ctx := context.Background()
	f := setup(t, "exec sleep 1000")
	if err := f.Create(ctx, f.o); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Start(ctx, f.o.ID), f.Pause(ctx, f.o.ID), f.Kill(ctx, f.o.ID, unix.SIGKILL, false)); err != nil {
		t.Fatal(err)
	}
	f.status(specs.StateStopped)
}

func TestNames(t *testing.T) {
	r := runtime.Runtime{Root: t.TempDir()}
	for _, id := range []string{"", ".", "..", "a/b", "../a", "a b", "a\x00", strings.Repeat("a", 300)} {
		if _, err := r.State(id); !errdefs.IsInvalid(err) {
			t.Errorf("id %q: %v", id, err)
		}
	}
	if _, err := r.State("a_B+1-2.c"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	if err := r.Delete(context.Background(), "none", true); err != nil {
		t.Errorf("force: %v", err)
	}
}
