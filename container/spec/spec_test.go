package spec_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func make1(t *testing.T, o spec.Options) *specs.Spec {
	t.Helper()
	if o.Args == nil {
		o.Args = []string{"true"}
	}
	s, err := spec.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDefaultsAreDockers(t *testing.T) {
	s := make1(t, spec.Options{})
	if got := len(s.Process.Capabilities.Bounding); got != 14 {
		t.Errorf("%d capabilities, want 14", got)
	}
	if slices.Contains(s.Process.Capabilities.Bounding, "CAP_SYS_ADMIN") {
		t.Error("CAP_SYS_ADMIN is granted")
	}
	var kinds []string
	for _, n := range s.Linux.Namespaces {
		kinds = append(kinds, string(n.Type))
	}
	slices.Sort(kinds)
	if diff := cmp.Diff([]string{"cgroup", "ipc", "mount", "network", "pid", "uts"}, kinds); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	for _, want := range []string{"/proc/kcore", "/proc/keys", "/sys/firmware"} {
		if !slices.Contains(s.Linux.MaskedPaths, want) {
			t.Errorf("%s is not masked", want)
		}
	}
	if !slices.Contains(s.Linux.ReadonlyPaths, "/proc/sys") {
		t.Error("/proc/sys is writable")
	}
	if s.Linux.Seccomp == nil || s.Linux.Seccomp.DefaultAction != specs.ActErrno {
		t.Errorf("seccomp = %+v, want a profile that refuses by default", s.Linux.Seccomp)
	}
	if d := s.Linux.Resources.Devices; len(d) == 0 || d[0].Allow || d[0].Access != "rwm" {
		t.Errorf("devices = %+v, want a refusal first", d)
	}
}

func TestPrivileged(t *testing.T) {
	s := make1(t, spec.Options{Privileged: true})
	if s.Linux.Seccomp != nil || len(s.Linux.MaskedPaths)+len(s.Linux.ReadonlyPaths) > 0 {
		t.Error("a privileged container is confined")
	}
	if !slices.Contains(s.Process.Capabilities.Effective, "CAP_SYS_ADMIN") {
		t.Error("a privileged container has not all capabilities")
	}
	i := slices.IndexFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == "/sys" })
	if slices.Contains(s.Mounts[i].Options, "ro") {
		t.Error("/sys is read-only")
	}
}

func TestCapabilities(t *testing.T) {
	for _, tc := range []struct {
		name      string
		add, drop []string
		want      string
	}{
		{"drop all", nil, []string{"ALL"}, ""},
		{"drop all, add one", []string{"net_bind_service"}, []string{"all"}, "CAP_NET_BIND_SERVICE"},
		{"with and without prefix", []string{"CAP_SYS_TIME", "SYS_TIME"}, []string{"ALL"}, "CAP_SYS_TIME"},
		{"drop wins over add", []string{"SYS_TIME"}, []string{"ALL", "SYS_TIME"}, ""},
		{"drop one", nil, []string{"MKNOD", "ALL"}, ""},
	} {
		s := make1(t, spec.Options{CapAdd: tc.add, CapDrop: tc.drop})
		if got := strings.Join(s.Process.Capabilities.Bounding, " "); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	all := make1(t, spec.Options{CapAdd: []string{"ALL"}, CapDrop: []string{"MKNOD"}}).Process.Capabilities.Bounding
	if len(all) != 40 || slices.Contains(all, "CAP_MKNOD") {
		t.Errorf("ALL less MKNOD = %d capabilities", len(all))
	}
	if _, err := spec.New(spec.Options{Args: []string{"true"}, CapAdd: []string{"FLY"}}); !errdefs.IsInvalid(err) {
		t.Errorf("an unknown capability: %v", err)
	}
	user := make1(t, spec.Options{User: spec.User{UID: 7}}).Process.Capabilities
	if len(user.Effective)+len(user.Permitted) > 0 || len(user.Bounding) == 0 {
		t.Error("another user than root has capabilities at once, or can get none by a setuid program")
	}
}

func TestSeccompFollowsCapabilities(t *testing.T) {
	allows := func(s *specs.Spec, call string) bool {
		return slices.ContainsFunc(s.Linux.Seccomp.Syscalls, func(r specs.LinuxSyscall) bool {
			return r.Action == specs.ActAllow && slices.Contains(r.Names, call) && len(r.Args) == 0
		})
	}
	if allows(make1(t, spec.Options{}), "mount") {
		t.Error("mount(2) is allowed by default")
	}
	if !allows(make1(t, spec.Options{CapAdd: []string{"SYS_ADMIN"}}), "mount") {
		t.Error("mount(2) is not allowed with CAP_SYS_ADMIN")
	}
	// The profile is that of the container, whoever its process is.
	root, user := make1(t, spec.Options{CapAdd: []string{"SYS_ADMIN"}}), make1(t, spec.Options{CapAdd: []string{"SYS_ADMIN"}, User: spec.User{UID: 7}})
	if diff := cmp.Diff(root.Linux.Seccomp, user.Linux.Seccomp); diff != "" {
		t.Errorf("root and another user differ:\n%s", diff)
	}
}

func TestMounts(t *testing.T) {
	s := make1(t, spec.Options{Mounts: []specs.Mount{
		{Destination: "/data/deep", Type: "bind", Source: "/b"}, {Destination: "/data", Type: "bind", Source: "/a"}, {Destination: "/dev/shm/", Type: "bind", Source: "/c"},
	}})
	var order []string
	for _, m := range s.Mounts {
		order = append(order, m.Destination)
	}
	if slices.Index(order, "/data") > slices.Index(order, "/data/deep") {
		t.Errorf("what lies below is mounted first: %v", order)
	}
	if slices.Contains(order, "/dev/shm") {
		t.Errorf("the user's /dev/shm does not replace the default one: %v", order)
	}
}

func TestLimits(t *testing.T) {
	r := make1(t, spec.Options{Memory: 64 << 20, NanoCPUs: 1_500_000_000, PidsLimit: 10}).Linux.Resources
	if *r.Memory.Limit != 64<<20 || *r.CPU.Quota != 150_000 || *r.CPU.Period != 100_000 || *r.Pids.Limit != 10 {
		t.Errorf("resources = %+v %+v %+v", r.Memory, r.CPU, r.Pids)
	}
	none := make1(t, spec.Options{}).Linux.Resources
	if none.Memory != nil || none.CPU != nil || none.Pids != nil {
		t.Errorf("limits that nobody asked for: %+v", none)
	}
}

func TestRefusals(t *testing.T) {
	for name, o := range map[string]spec.Options{"no command": {}, "relative directory": {Args: []string{"x"}, Cwd: "a/b"}} {
		if _, err := spec.New(o); !errdefs.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResolveUser(t *testing.T) {
	files := fstest.MapFS{
		"etc/passwd": {Data: []byte("root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\napp:x:1000:1001::/home/app:/bin/sh\n")},
		"etc/group":  {Data: []byte("root:x:0:\nstaff:x:50:app,root\nextra:x:60:app\n")},
	}
	for who, want := range map[string]spec.User{
		"":          {Home: "/root", Groups: []uint32{0, 50}},
		"app":       {UID: 1000, GID: 1001, Groups: []uint32{1001, 50, 60}, Home: "/home/app"},
		"1000":      {UID: 1000, GID: 1001, Groups: []uint32{1001, 50, 60}, Home: "/home/app"},
		"app:staff": {UID: 1000, GID: 50, Groups: []uint32{50}, Home: "/home/app"},
		"7:8":       {UID: 7, GID: 8, Groups: []uint32{8}, Home: "/"},
		"7":         {UID: 7, Groups: []uint32{0}, Home: "/"},
	} {
		got, err := spec.ResolveUser(files, who)
		if err != nil {
			t.Errorf("%q: %v", who, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", who, diff)
		}
	}
	for _, who := range []string{"nobody-here", "app:nogroup", "-1", "99999999999"} {
		if u, err := spec.ResolveUser(files, who); !errdefs.IsInvalid(err) {
			t.Errorf("%q = %+v, %v; want an invalid argument", who, u, err)
		}
	}
	if u, err := spec.ResolveUser(fstest.MapFS{}, "0"); err != nil || u.UID != 0 {
		t.Errorf("root without any files = %+v, %v", u, err)
	}
}

func FuzzResolveUser(f *testing.F) {
	f.Add([]byte("root:x:0:0::/root:/bin/sh\n"), []byte("root:x:0:\n"), "root")
	f.Add([]byte(":::::::"), []byte("a:b:c:d,e"), "1:a")
	f.Fuzz(func(t *testing.T, passwd, group []byte, who string) {
		u, err := spec.ResolveUser(fstest.MapFS{"etc/passwd": {Data: passwd}, "etc/group": {Data: group}}, who)
		if err == nil && (u.UID > 1<<31-1 || u.GID > 1<<31-1) {
			t.Errorf("%q gives %+v", who, u)
		}
	})
}
