package container_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestScheduling looks at what the kernel says of the process, not at what was asked for.
func TestScheduling(t *testing.T) {
	// Fields of /proc/PID/stat: 19 is nice, 41 the policy.
	stat := func(t *testing.T, pid int) []string {
		t.Helper()
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		return strings.Fields(rest)
	}
	ioprio := func(pid int) int {
		r, _, _ := unix.Syscall(unix.SYS_IOPRIO_GET, 1, uintptr(pid), 0)
		return int(r)
	}
	p := sleeper(t, func(s *specs.Spec) {
		s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 7}
		s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
		s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
	})
	f := stat(t, p.Pid())
	if nice, policy := f[16], f[38]; nice != "7" || policy != fmt.Sprint(unix.SCHED_BATCH) {
		t.Errorf("nice %s, policy %s", nice, policy)
	}
	if got := ioprio(p.Pid()); got != 2<<13|6 {
		t.Errorf("ioprio %#x", got)
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/personality", p.Pid())); err != nil || strings.TrimSpace(string(b)) != "00000008" {
		t.Errorf("personality %q, %v", b, err)
	}
	idle := sleeper2(t, func(s *specs.Spec) {
		s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedIdle, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}
		s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE}
	})
	if policy := stat(t, idle.Pid())[38]; policy != fmt.Sprint(unix.SCHED_IDLE) {
		t.Errorf("policy %s", policy)
	}
	if got := ioprio(idle.Pid()); got != 3<<13 {
		t.Errorf("ioprio %#x", got)
	}
}

// sleeper2 is a sleeper beside that of the test's name.
func sleeper2(t *testing.T, change func(*specs.Spec)) *container.Process {
	t.Helper()
	s := defaults(t, "sleep", "60")
	change(s)
	p, err := container.Start(context.Background(), container.Config{ID: unique(t) + "-2", Spec: s, Rootfs: overlayOf(t, busybox(t)), DieWithParent: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Kill(context.Background())
		_, _ = p.Wait(context.Background())
	})
	return p
}

func TestExecAffinityAndSize(t *testing.T) {
	p := sleeper(t, nil)
	s := defaults(t, "sh", "-c", "grep Cpus_allowed_list /proc/self/status; stty size; uname -m 2>/dev/null || true")
	s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "0"}
	s.Process.Terminal = true
	s.Process.ConsoleSize = &specs.Box{Width: 91, Height: 17}
	e, err := container.Exec(t.Context(), container.ExecConfig{Pid: p.Pid(), ID: unique(t), Process: s.Process, Seccomp: s.Linux.Seccomp})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Console.Close()
	buf := make([]byte, 200)
	out := ""
	for !strings.Contains(out, "17 91") {
		n, err := e.Console.Read(buf)
		if err != nil {
			t.Fatalf("%q, %v", out, err)
		}
		out += string(buf[:n])
	}
	if !strings.Contains(out, "Cpus_allowed_list:\t0\r\n") {
		t.Errorf("output %q", out)
	}
	if _, err := e.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAllRlimits compares with what the kernel says of the process. No limit is above that of the tests.
func TestAllRlimits(t *testing.T) {
	names := map[string]string{
		"RLIMIT_CPU": "Max cpu time", "RLIMIT_FSIZE": "Max file size", "RLIMIT_DATA": "Max data size", "RLIMIT_STACK": "Max stack size",
		"RLIMIT_CORE": "Max core file size", "RLIMIT_RSS": "Max resident set", "RLIMIT_NPROC": "Max processes", "RLIMIT_NOFILE": "Max open files",
		"RLIMIT_MEMLOCK": "Max locked memory", "RLIMIT_AS": "Max address space", "RLIMIT_LOCKS": "Max file locks",
		"RLIMIT_SIGPENDING": "Max pending signals", "RLIMIT_MSGQUEUE": "Max msgqueue size", "RLIMIT_NICE": "Max nice priority",
		"RLIMIT_RTPRIO": "Max realtime priority", "RLIMIT_RTTIME": "Max realtime timeout",
	}
	values := map[string][2]uint64{
		"RLIMIT_NICE": {0, 0}, "RLIMIT_RTPRIO": {0, 0}, "RLIMIT_CORE": {0, 0}, "RLIMIT_MEMLOCK": {4096, 8192}, "RLIMIT_NPROC": {501, 502},
		"RLIMIT_NOFILE": {101, 102}, "RLIMIT_SIGPENDING": {301, 302}, "RLIMIT_MSGQUEUE": {4001, 4002}, "RLIMIT_STACK": {8 << 20, 8 << 20},
	}
	p := sleeper(t, func(s *specs.Spec) {
		for name := range names {
			v, ok := values[name]
			if !ok {
				v = [2]uint64{1 << 30, 1<<30 + 1}
				values[name] = v
			}
			s.Process.Rlimits = append(s.Process.Rlimits, specs.POSIXRlimit{Type: name, Soft: v[0], Hard: v[1]})
		}
	})
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for name, line := range names {
		_, rest, _ := strings.Cut(string(b), line+" ")
		f := strings.Fields(rest)
		if v := values[name]; len(f) < 2 || f[0] != fmt.Sprint(v[0]) || f[1] != fmt.Sprint(v[1]) {
			t.Errorf("%s is %.40q, want %v", name, rest, v)
		}
	}
}

// TestNoCapabilities has a spec that grants none.
func TestNoCapabilities(t *testing.T) {
	out, _ := shell(t, "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | sort -u -k 2 | wc -l; grep CapBnd /proc/self/status", func(s *specs.Spec) { s.Process.Capabilities = nil })
	if !strings.Contains(out, "CapBnd:\t0000000000000000") {
		t.Errorf("output %q", out)
	}
}

// TestRefusedByName asks for what cannot be done, and expects to be told what that is.
func TestRefusedByName(t *testing.T) {
	root := busybox(t)
	for name, change := range map[string]func(*specs.Spec){
		"intelRdt":        func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "x"} },
		"netDevices":      func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"eth0": {}} },
		"another kind":    func(s *specs.Spec) { s.VM = &specs.VM{} },
		"not an absolute": func(s *specs.Spec) { s.Process.Cwd = "tmp" },
		"listed twice": func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1, Hard: 1}, {Type: "RLIMIT_NOFILE", Soft: 1, Hard: 1}}
		},
		"above the hard": func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 2, Hard: 1}}
		},
		"RLIMIT_FUN":        func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_FUN"}} },
		"SCHED_FAST":        func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: "SCHED_FAST"} },
		"nice is for":       func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedFIFO, Nice: 1} },
		"priority is for":   func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedOther, Priority: 1} },
		"IOPRIO_CLASS_FAST": func(s *specs.Spec) { s.Process.IOPriority = &specs.LinuxIOPriority{Class: "IOPRIO_CLASS_FAST"} },
		"not within 0 and 7": func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 8}
		},
		"domain \"BSD\"": func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: "BSD"} },
		"MPOL_RANDOM":    func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: "MPOL_RANDOM"} },
		"consoleSize": func(s *specs.Spec) {
			s.Process.Terminal = true
			s.Process.ConsoleSize = &specs.Box{Width: 1 << 20, Height: 1}
		},
		"root propagation": func(s *specs.Spec) { s.Linux.RootfsPropagation = "sideways" },
		"needs a listenerPath": func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}}}
		},
	} {
		s := defaults(t, "true")
		change(s)
		_, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)})
		if err == nil || !strings.Contains(err.Error(), name) || !errdefs.IsInvalid(err) && !errdefs.IsUnsupported(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLabels expects a label to be taken where the kernel has the module, and an error that names it where not.
func TestLabels(t *testing.T) {
	root := busybox(t)
	for name, change := range map[string]func(*specs.Spec){
		"apparmorProfile": func(s *specs.Spec) { s.Process.ApparmorProfile = "camada-not-there" },
		"selinuxLabel":    func(s *specs.Spec) { s.Process.SelinuxLabel = "system_u:system_r:camada_not_there_t:s0" },
	} {
		s := defaults(t, "true")
		change(s)
		if _, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)}); err == nil {
			t.Errorf("%s: started without", name)
		} else if !strings.Contains(err.Error(), name) && !strings.Contains(err.Error(), "camada") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err != nil {
		if out, _ := shell(t, "echo started", func(s *specs.Spec) { s.Linux.MountLabel = "system_u:object_r:camada_not_there_t:s0" }); out != "started" {
			t.Errorf("mountLabel: %q", out)
		}
	}
	if b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err != nil || b[0] != 'Y' {
		if out, _ := shell(t, "echo started", func(s *specs.Spec) { s.Process.ApparmorProfile = "unconfined" }); out != "started" {
			t.Errorf("unconfined: %q", out)
		}
	}
}

// agent listens as a seccomp agent, and answers mkdir with the errno given.
func agent(t *testing.T, errno syscall.Errno) (path string, states <-chan specs.ContainerProcessState) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "agent.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := make(chan specs.ContainerProcessState, 4)
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			text, oob := make([]byte, 64<<10), make([]byte, 64)
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			n, oobn, _, _, err := conn.ReadMsgUnix(text, oob)
			conn.Close()
			var state specs.ContainerProcessState
			if err != nil || json.Unmarshal(text[:n], &state) != nil {
				t.Errorf("agent: %v, %q", err, text[:n])
				return
			}
			messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
			if err != nil || len(messages) != 1 {
				t.Errorf("agent: %d messages, %v", len(messages), err)
				return
			}
			fds, err := syscall.ParseUnixRights(&messages[0])
			if err != nil || len(fds) != 1 {
				t.Errorf("agent: descriptors %v, %v", fds, err)
				return
			}
			c <- state
			go answer(fds[0], errno)
		}
	}()
	return path, c
}

// answer gives each call that is asked about the errno: struct seccomp_notif {u64 id; u32 pid, flags; struct seccomp_data},
// struct seccomp_notif_resp {u64 id; s64 val; s32 error; u32 flags}.
func answer(fd int, errno syscall.Errno) {
	defer syscall.Close(fd)
	const receive, send = 0xc0502100, 0xc0182101
	for {
		var ask [80]byte
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), receive, uintptr(unsafe.Pointer(&ask[0]))); e != 0 {
			if e == syscall.EINTR {
				continue
			}
			return
		}
		var reply [24]byte
		copy(reply[:8], ask[:8])
		code := int32(-int(errno))
		reply[16], reply[17], reply[18], reply[19] = byte(code), byte(code>>8), byte(code>>16), byte(code>>24)
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), send, uintptr(unsafe.Pointer(&reply[0]))); e != 0 && e != syscall.ENOENT {
			return
		}
	}
}

// TestSeccompNotify has an agent refuse mkdir with an errno that nobody else would give.
func TestSeccompNotify(t *testing.T) {
	for _, nnp := range []bool{false, true} {
		t.Run(fmt.Sprintf("no_new_privs %v", nnp), func(t *testing.T) {
			path, states := agent(t, syscall.ENOTUNIQ)
			profile := &specs.LinuxSeccomp{
				DefaultAction: specs.ActAllow, ListenerPath: path, ListenerMetadata: "about it",
				Flags:    []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv},
				Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActNotify}},
			}
			s := defaults(t, "sh", "-c", "mkdir /tmp/x; sleep 60")
			s.Linux.Seccomp, s.Process.NoNewPrivileges, s.Annotations = profile, nnp, map[string]string{"a": "b"}
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			p, err := container.Start(t.Context(), container.Config{
				ID: unique(t), Bundle: "/the/bundle", Spec: s, Rootfs: overlayOf(t, busybox(t)), Stderr: w, DieWithParent: true,
			})
			w.Close()
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = p.Kill(context.Background())
				_, _ = p.Wait(context.Background())
			}()
			state := <-states
			if state.Pid != p.Pid() || state.State.Pid != p.Pid() || state.Metadata != "about it" || state.State.Bundle != "/the/bundle" ||
				state.State.ID != unique(t) || state.State.Annotations["a"] != "b" || len(state.Fds) != 1 || state.Fds[0] != specs.SeccompFdName {
				t.Errorf("the agent was told %+v", state)
			}
			buf := make([]byte, 200)
			n, _ := r.Read(buf)
			if !strings.Contains(string(buf[:n]), syscall.ENOTUNIQ.Error()[:10]) && !strings.Contains(strings.ToLower(string(buf[:n])), "not unique") {
				t.Errorf("mkdir said %q", buf[:n])
			}
			outR, outW, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer outR.Close()
			e, err := container.Exec(t.Context(), container.ExecConfig{
				Pid: p.Pid(), ID: unique(t), Process: defaults(t, "mkdir", "/tmp/y").Process, Seccomp: profile, Stderr: outW,
			})
			outW.Close()
			if err != nil {
				t.Fatal(err)
			}
			if state := <-states; state.Pid != e.Pid() || state.State.Pid != p.Pid() || state.State.Status != specs.StateRunning {
				t.Errorf("the agent was told of the exec %+v", state)
			}
			n, _ = outR.Read(buf)
			if !strings.Contains(strings.ToLower(string(buf[:n])), "not unique") {
				t.Errorf("mkdir of the exec said %q", buf[:n])
			}
			if _, err := e.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	s := defaults(t, "true")
	s.Linux.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, ListenerPath: "/not/there", Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}},
	}
	if _, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, busybox(t))}); err == nil || !strings.Contains(err.Error(), "seccomp agent /not/there") {
		t.Errorf("without an agent: %v", err)
	}
}
