package container_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/container"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Each of these has a script that prints what a confined process gets, and a
// way to take the protection away, with which it has to print something else.
func TestIsolation(t *testing.T) {
	host := func(kind specs.LinuxNamespaceType) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
		}
	}
	grant := func(name string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			c := s.Process.Capabilities
			for _, set := range []*[]string{&c.Bounding, &c.Effective, &c.Permitted} {
				*set = append(slices.Clone(*set), name)
			}
			s.Linux.Seccomp = nil
		}
	}
	both := func(a, b func(*specs.Spec)) func(*specs.Spec) { return func(s *specs.Spec) { a(s); b(s) } }
	noSeccomp := func(s *specs.Spec) { s.Linux.Seccomp = nil }
	for _, c := range []struct {
		name, script, want string
		without            func(*specs.Spec)
	}{
		{"processes", `ls -d /proc/[0-9]* | wc -l | { read n; test $n -lt 5 && echo few; }`, "few", host(specs.PIDNamespace)},
		{"interfaces", `ls /sys/class/net | tr '\n' ' '; grep -c : /proc/net/dev`, "lo 1", func(s *specs.Spec) {
			host(specs.NetworkNamespace)(s)
			for i := range s.Mounts {
				if s.Mounts[i].Type == "sysfs" {
					s.Mounts[i] = specs.Mount{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "ro"}}
				}
			}
			s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Type == "cgroup" })
		}},
		{"host name", `hostname x && hostname`, "", func(s *specs.Spec) { grant("CAP_SYS_ADMIN")(s) }},
		{"write /proc/sys", `echo 1 > /proc/sys/vm/drop_caches && echo written`, "", func(s *specs.Spec) { s.Linux.ReadonlyPaths = nil }},
		{"write /sys", `touch /sys/x 2>&1 | grep -o Read-only`, "Read-only", func(s *specs.Spec) {
			for i := range s.Mounts {
				s.Mounts[i].Options = slices.DeleteFunc(slices.Clone(s.Mounts[i].Options), func(o string) bool { return o == "ro" })
			}
		}},
		{"write a cgroup", `for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/inner && rmdir $d/inner && echo made; done 2>/dev/null`, "", func(s *specs.Spec) {
			for i := range s.Mounts {
				s.Mounts[i].Options = slices.DeleteFunc(slices.Clone(s.Mounts[i].Options), func(o string) bool { return o == "ro" })
			}
		}},
		{"masked file", `cat /proc/timer_list | wc -c`, "0", func(s *specs.Spec) { s.Linux.MaskedPaths = nil; grant("CAP_SYS_ADMIN")(s) }},
		{"masked directory", `ls /sys/devices/virtual/powercap /sys/firmware | grep -v : | wc -w`, "0", func(s *specs.Spec) { s.Linux.MaskedPaths = nil }},
		{"mount", `mount -t tmpfs x /tmp && echo mounted`, "", grant("CAP_SYS_ADMIN")},
		{"capability", `ip link set lo down && echo down`, "", grant("CAP_NET_ADMIN")},
		{"system call", `unshare -U true && echo made`, "", noSeccomp},
		{"device", `mknod /tmp/fuse c 10 229 && dd if=/tmp/fuse of=/dev/null count=0 && echo opened`, "", func(s *specs.Spec) { s.Linux.Resources.Devices = nil }},
		{"read-only root", `touch /x && echo written`, "", func(s *specs.Spec) { s.Root.Readonly = false }},
	} {
		t.Run(c.name, func(t *testing.T) {
			confine := func(s *specs.Spec) {
				s.Root.Readonly = c.name == "read-only root"
			}
			got, _ := shell(t, "{ "+c.script+"; } 2>/dev/null", confine)
			if got != c.want {
				t.Errorf("confined: %q, want %q", got, c.want)
			}
			if got, _ := shell(t, "{ "+c.script+"; } 2>/dev/null", both(confine, c.without)); got == c.want {
				t.Errorf("without protection it is %q, too: the test shows nothing", got)
			}
		})
	}
}

// TestMountsOfTheHost looks for anything of the host in the container's mounts.
func TestMountsOfTheHost(t *testing.T) {
	marker := t.TempDir()
	out, _ := shell(t, "cat /proc/self/mountinfo; ls -a /", nil)
	hostOnly := []string{marker, "/mnt", "/home"}
	for _, name := range hostOnly {
		if strings.Contains(out, " "+name+" ") {
			t.Errorf("%s of the host is seen:\n%s", name, out)
		}
	}
	first := strings.Fields(out)[4]
	if first != "/" {
		t.Errorf("the first mount is not the root:\n%s", out)
	}
}

// TestLinksDoNotLeadOut has symbolic links in the image where mounts and the
// working directory go.
func TestLinksDoNotLeadOut(t *testing.T) {
	outside := t.TempDir()
	root := busybox(t)
	for name, target := range map[string]string{
		"abs": outside, "up": strings.Repeat("../", 30) + outside, "etc/hosts": filepath.Join(outside, "hosts"), "loop": "loop",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, []byte("shown"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dest := range []string{"/abs/file", "/up/file", "/etc/hosts", "/abs/../../../" + outside + "/x"} {
		s := defaults(t, "cat", dest)
		s.Mounts = append(s.Mounts, specs.Mount{Destination: dest, Source: source, Options: []string{"bind", "ro"}})
		out, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)})
		if err != nil || out != "shown" {
			t.Errorf("%s: %q, %v", dest, out, err)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside the root was written: %v, %v", entries, err)
	}
	s := defaults(t, "true")
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/loop/x", Source: source, Options: []string{"bind"}})
	if _, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)}); err == nil {
		t.Error("a loop of links was accepted")
	}
}

// TestProcIsNoLink has /proc lead elsewhere by a link of the image.
func TestProcIsNoLink(t *testing.T) {
	root := busybox(t)
	if err := os.Remove(filepath.Join(root, "proc")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("etc", filepath.Join(root, "proc")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := runContainer(t, container.Config{Spec: defaults(t, "true"), Rootfs: overlayOf(t, root)}); err == nil {
		t.Error("proc was mounted elsewhere")
	}
}

// TestWorkDir wants descriptors of the host out of reach (CVE-2024-21626).
func TestWorkDir(t *testing.T) {
	host, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	root := busybox(t)
	for fd := range 40 {
		s := defaults(t, "true")
		s.Process.Cwd = "/proc/self/fd/" + string(rune('0'+fd/10)) + string(rune('0'+fd%10))
		if fd < 10 {
			s.Process.Cwd = "/proc/self/fd/" + string(rune('0'+fd))
		}
		if _, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)}); err == nil {
			t.Fatalf("%s was entered", s.Process.Cwd)
		}
	}
	out, _ := shell(t, "pwd; ls /proc/self/fd | wc -l", func(s *specs.Spec) { s.Process.Cwd = "/not/there" })
	if out != "/not/there\n4" { // 0 to 2, and ls's own
		t.Errorf("output %q", out)
	}
}

// TestHostProgramIsOutOfReach runs a script whose interpreter is the program
// that started the container (CVE-2019-5736).
func TestHostProgramIsOutOfReach(t *testing.T) {
	root := busybox(t)
	if err := os.WriteFile(filepath.Join(root, "bin/evil"), []byte("#!/proc/self/exe\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, status, err := runContainer(t, container.Config{Spec: defaults(t, "evil"), Rootfs: overlayOf(t, root)})
	if out != "" || err == nil && status.Code == 0 {
		t.Errorf("output %q, status %+v, %v", out, status, err)
	}
}

func TestUser(t *testing.T) {
	out, _ := shell(t, "id -u; id -g; grep -E 'CapEff|CapPrm|CapAmb|Groups' /proc/self/status; cat /etc/secret || echo refused; echo x > /dev/stdout", func(s *specs.Spec) {
		mask := uint32(0o077)
		s.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{5, 7}, Umask: &mask}
		s.Process.Capabilities.Effective, s.Process.Capabilities.Permitted = nil, nil
	})
	want := "1000\n1001\nGroups:\t5 7 \nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\ncat: can't open '/etc/secret': No such file or directory\nrefused\nx"
	if out != want {
		t.Errorf("output:\n%s\nwant:\n%s", out, want)
	}
}

func TestAmbientCapability(t *testing.T) {
	out, _ := shell(t, "grep CapEff /proc/self/status", func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 1000, GID: 1000}
		caps := []string{"CAP_NET_BIND_SERVICE"}
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps, Inheritable: caps, Ambient: caps}
	})
	if out != "CapEff:\t0000000000000400" {
		t.Errorf("output %q", out)
	}
}

func TestNoNewPrivilegesAndLimits(t *testing.T) {
	out, _ := shell(t, "grep -E 'NoNew|Seccomp:' /proc/self/status; ulimit -n; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; cat /proc/self/oom_score_adj; unshare -U true || echo blocked", func(s *specs.Spec) {
		s.Process.NoNewPrivileges = true
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}}
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "80"}
		score := 500
		s.Process.OOMScoreAdj = &score
	})
	if want := "NoNewPrivs:\t1\nSeccomp:\t2\n100\n80\n500\nunshare: unshare(0x10000000): Operation not permitted\nblocked"; out != want {
		t.Errorf("output:\n%s\nwant:\n%s", out, want)
	}
	s := defaults(t, "true")
	s.Linux.Sysctl = map[string]string{"vm.overcommit_memory": "1"}
	if _, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, busybox(t))}); err == nil {
		t.Error("a parameter of the host was accepted")
	}
}
