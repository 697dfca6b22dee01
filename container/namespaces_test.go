package container_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// nsFiles are the files of /proc/PID/ns by type.
func nsFiles() map[specs.LinuxNamespaceType]string {
	return map[specs.LinuxNamespaceType]string{
		specs.PIDNamespace: "pid", specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts",
		specs.MountNamespace: "mnt", specs.CgroupNamespace: "cgroup", specs.TimeNamespace: "time", specs.UserNamespace: "user",
	}
}

// without takes a namespace out of a spec.
func without(s *specs.Spec, kinds ...specs.LinuxNamespaceType) {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return slices.Contains(kinds, n.Type) })
}

func nsLink(t *testing.T, pid, file string) string {
	t.Helper()
	link, err := os.Readlink("/proc/" + pid + "/ns/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// TestJoinByPath has a container join the namespaces of another one, one type at a time.
func TestJoinByPath(t *testing.T) {
	holder := sleeper(t, func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace}, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
	})
	pid := fmt.Sprint(holder.Pid())
	before, _ := execIn(t, holder.Pid(), "cat /proc/self/mountinfo")
	for kind, file := range nsFiles() {
		t.Run(file, func(t *testing.T) {
			theirs := nsLink(t, pid, file)
			if theirs == nsLink(t, "self", file) {
				t.Fatal("the holder is in the caller's namespace: the test shows nothing")
			}
			out, _ := shell(t, "readlink /proc/self/ns/"+file+"; id -u; ls /bin/busybox; echo > /dev/null && echo ok", func(s *specs.Spec) {
				without(s, kind)
				if kind == specs.UserNamespace {
					s.Process.User = specs.User{}
				}
				s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: "/proc/" + pid + "/ns/" + file})
			})
			if want := theirs + "\n0\n/bin/busybox\nok"; out != want {
				t.Errorf("output %q, want %q", out, want)
			}
		})
	}
	t.Run("user and net", func(t *testing.T) {
		out, _ := shell(t, "readlink /proc/self/ns/net; touch /dev/x; stat -c %u /dev/x; cat /proc/self/uid_map", func(s *specs.Spec) {
			without(s, specs.NetworkNamespace)
			for _, kind := range []specs.LinuxNamespaceType{specs.UserNamespace, specs.NetworkNamespace} {
				s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: "/proc/" + pid + "/ns/" + nsFiles()[kind]})
			}
		})
		if want := nsLink(t, pid, "net") + " 0 0 100000 65536"; strings.Join(strings.Fields(out), " ") != want {
			t.Errorf("output %q, want %q", out, want)
		}
	})
	if after, _ := execIn(t, holder.Pid(), "cat /proc/self/mountinfo"); after != before {
		t.Errorf("the mounts of the holder were changed:\n%s\nbefore:\n%s", after, before)
	}
}

// TestSharedNamespaces starts a container without any namespace.
func TestSharedNamespaces(t *testing.T) {
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	volume := t.TempDir()
	if err := os.WriteFile(filepath.Join(volume, "file"), []byte("shown\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	script := "ls /; cat /volume/file; cat /proc/timer_list | wc -c; (echo 1 > /proc/sys/vm/drop_caches) 2>/dev/null || echo refused"
	var want []string
	for _, file := range []string{"mnt", "pid", "net", "ipc", "uts", "cgroup", "time", "user"} {
		script += "; readlink /proc/self/ns/" + file
		want = append(want, nsLink(t, "self", file))
	}
	out, status := shell(t, script, func(s *specs.Spec) {
		s.Linux.Namespaces = nil
		s.Hostname = ""
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/volume", Source: volume, Type: "bind", Options: []string{"bind", "ro"}})
	})
	if head := "bin\ndev\netc\nproc\nsys\ntmp\nvolume\nshown\n0\nrefused\n"; out != head+strings.Join(want, "\n") || status.Code != 0 {
		t.Errorf("output:\n%s\nwant:\n%s", out, head+strings.Join(want, "\n"))
	}
	if after, err := os.ReadFile("/proc/self/mountinfo"); err != nil || string(after) != string(before) {
		t.Errorf("mounts of the host were changed:\n%s", after)
	}
}

// TestExecWithSharedMounts has a further process see what the first one sees.
func TestExecWithSharedMounts(t *testing.T) {
	holder := sleeper(t, nil)
	for name, path := range map[string]string{"the caller's": "", "of another container": fmt.Sprintf("/proc/%d/ns/mnt", holder.Pid())} {
		t.Run(name, func(t *testing.T) {
			p := sleeper2(t, func(s *specs.Spec) {
				without(s, specs.MountNamespace)
				if path != "" {
					s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.MountNamespace, Path: path})
				}
				s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mine", Type: "tmpfs", Source: "tmpfs"})
			})
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			cfg := container.ExecConfig{Pid: p.Pid(), ID: unique(t) + "-2", Process: defaults(t, "sh", "-c", "ls / | tr '\\n' ' '; readlink /proc/self/ns/mnt").Process, Stdout: w, SharedMounts: true}
			e, err := container.Exec(t.Context(), cfg)
			w.Close()
			if err != nil {
				t.Fatal(err)
			}
			out, _ := io.ReadAll(r)
			if want := "bin dev etc mine proc sys tmp " + nsLink(t, fmt.Sprint(p.Pid()), "mnt") + "\n"; string(out) != want {
				t.Errorf("output %q, want %q", out, want)
			}
			if _, err := e.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTimeNamespace(t *testing.T) {
	const days = 4000 * 86400
	far := func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: days}, "monotonic": {Secs: days, Nanosecs: 5}}
	}
	// The clock since boot, and what the kernel says of offsets.
	script := `read up rest < /proc/uptime; test ${up%.*} -gt 345600000 && echo far; cat /proc/self/timens_offsets; echo $$`
	const want = "far monotonic 345600000 5 boottime 345600000 0 1"
	for name, change := range map[string]func(*specs.Spec){
		"root": far,
		"user namespace": func(s *specs.Spec) {
			far(s)
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
			s.Linux.GIDMappings = s.Linux.UIDMappings
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, _ := shell(t, script, change)
			if got := strings.Join(strings.Fields(out), " "); got != want {
				t.Errorf("output %q, want %q", got, want)
			}
		})
	}
	t.Run("exec", func(t *testing.T) {
		p := sleeper(t, far)
		if out, _ := execIn(t, p.Pid(), script); !strings.HasPrefix(out, "far\n") {
			t.Errorf("output %q", out)
		}
	})
}

func TestNamespaceErrors(t *testing.T) {
	root := busybox(t)
	for name, c := range map[string]struct {
		change func(*specs.Spec)
		class  func(error) bool
	}{
		"host name without uts": {func(s *specs.Spec) { without(s, specs.UTSNamespace); s.Hostname = "x" }, errdefs.IsInvalid},
		"offsets without time":  {func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1}} }, errdefs.IsInvalid},
		"another clock": {func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"realtime": {Secs: 1}}
		}, errdefs.IsInvalid},
		"ids without user": {func(s *specs.Spec) { s.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 1}} }, errdefs.IsInvalid},
		"twice":            {func(s *specs.Spec) { s.Linux.Namespaces = append(s.Linux.Namespaces, s.Linux.Namespaces[0]) }, errdefs.IsInvalid},
		"of another type": {func(s *specs.Spec) {
			without(s, specs.NetworkNamespace)
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: "/proc/self/ns/ipc"})
		}, errdefs.IsInvalid},
		"user without mount": {func(s *specs.Spec) {
			without(s, specs.MountNamespace)
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		}, errdefs.IsUnsupported},
	} {
		s := defaults(t, "true")
		c.change(s)
		if _, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)}); err == nil || !c.class(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSysctlNames writes a parameter of an interface whose name has a dot.
func TestSysctlNames(t *testing.T) {
	for _, key := range []string{"net.ipv4.conf.lo.forwarding", "net/ipv4/conf/lo/forwarding"} {
		out, _ := shell(t, "cat /proc/sys/net/ipv4/conf/lo/forwarding", func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{key: "1"} })
		if out != "1" {
			t.Errorf("%s: %q", key, out)
		}
	}
}
