package container_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mountAt gives the fields of /proc/self/mountinfo for each mount point: options, optional fields (propagation), type.
func mountAt(t *testing.T, mountinfo, point string) (options, propagation string) {
	t.Helper()
	options = "no mount"
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line)
		if len(f) < 7 || f[4] != point {
			continue
		}
		options, propagation = f[5], ""
		for _, o := range f[6:] {
			if o == "-" {
				break
			}
			name, _, _ := strings.Cut(o, ":")
			propagation += name + " "
		}
	}
	return options, strings.TrimSpace(propagation)
}

// nested makes a directory with a tmpfs mounted on sub, shared with its copies when shared is set.
func nested(t *testing.T, shared bool) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount")
	}
	dir := t.TempDir()
	for _, point := range []string{dir, filepath.Join(dir, "sub")} {
		if err := os.MkdirAll(point, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", point, "tmpfs", 0, "size=1m"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) })
		if shared {
			if err := unix.Mount("", point, "", unix.MS_SHARED, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestMountOptions(t *testing.T) {
	source := nested(t, true)
	for _, c := range []struct {
		options              string
		top, sub             string // among the options of the mount, and of that below it
		topShared, subShared string
	}{
		{"rbind", "rw,relatime", "rw,relatime", "", ""},
		{"rbind,ro", "ro,relatime", "rw,relatime", "", ""},
		{"rbind,rro", "ro,relatime", "ro,relatime", "", ""},
		{"rbind,rro,rw", "rw,relatime", "ro,relatime", "", ""},
		{"rbind,rnosuid,rnodev,rnoexec", "rw,nosuid,nodev,noexec,relatime", "rw,nosuid,nodev,noexec,relatime", "", ""},
		{"rbind,nosuid,nodev,noexec", "rw,nosuid,nodev,noexec,relatime", "rw,relatime", "", ""},
		{"rbind,noatime,rnodiratime", "rw,noatime,nodiratime", "rw,nodiratime,relatime", "", ""},
		{"rbind,rnoatime,relatime", "rw,relatime", "rw,noatime", "", ""},
		{"rbind,strictatime", "rw", "rw,relatime", "", ""},
		{"rbind,rnosymfollow", "rw,relatime,nosymfollow", "rw,relatime,nosymfollow", "", ""},
		{"rbind,rslave", "rw,relatime", "rw,relatime", "master", "master"},
		{"rbind,rshared", "rw,relatime", "rw,relatime", "shared", "shared"},
		{"rbind,runbindable", "rw,relatime", "rw,relatime", "unbindable", "unbindable"},
		{"bind,ro,rnodev", "ro,nodev,relatime", "no mount", "", ""},
	} {
		t.Run(c.options, func(t *testing.T) {
			out, _ := shell(t, "cat /proc/self/mountinfo", func(s *specs.Spec) {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m", Source: source, Options: strings.Split(c.options, ",")})
			})
			top, topShared := mountAt(t, out, "/m")
			sub, subShared := mountAt(t, out, "/m/sub")
			if top != c.top || sub != c.sub || topShared != c.topShared || subShared != c.subShared {
				t.Errorf("/m is %q %q, /m/sub %q %q; want %+v", top, topShared, sub, subShared, c)
			}
		})
	}
}

// TestPropagation mounts on the host after the container started, and in the container.
func TestPropagation(t *testing.T) {
	for _, c := range []struct {
		option            string
		toInside, outside bool
	}{{"rprivate", false, false}, {"rslave", true, false}, {"rshared", true, true}} {
		t.Run(c.option, func(t *testing.T) {
			source := nested(t, true)
			for _, dir := range []string{"in", "out"} {
				if err := os.Mkdir(filepath.Join(source, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			p := sleeper(t, func(s *specs.Spec) {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m", Source: source, Options: []string{"rbind", c.option}})
			})
			host := filepath.Join(source, "in")
			if err := unix.Mount("tmpfs", host, "tmpfs", 0, "size=1m"); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Unmount(host, unix.MNT_DETACH) }()
			mountinfo := func(pid string) string {
				b, err := os.ReadFile("/proc/" + pid + "/mountinfo")
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			if options, _ := mountAt(t, mountinfo(fmt.Sprint(p.Pid())), "/m/in"); (options != "no mount") != c.toInside {
				t.Errorf("a mount of the host is seen inside as %q", options)
			}
			s := defaults(t, "mount", "-t", "tmpfs", "x", "/m/out")
			s.Process.Capabilities.Effective = []string{"CAP_SYS_ADMIN"}
			s.Process.Capabilities.Permitted, s.Process.Capabilities.Bounding = s.Process.Capabilities.Effective, s.Process.Capabilities.Effective
			e, err := container.Exec(t.Context(), container.ExecConfig{Pid: p.Pid(), ID: unique(t), Process: s.Process})
			if err != nil {
				t.Fatal(err)
			}
			if status, err := e.Wait(t.Context()); err != nil || status.Code != 0 {
				t.Fatalf("mount inside: %+v, %v", status, err)
			}
			out := filepath.Join(source, "out")
			defer func() { _ = unix.Unmount(out, unix.MNT_DETACH) }()
			if options, _ := mountAt(t, mountinfo("self"), out); (options != "no mount") != c.outside {
				t.Errorf("a mount of the container is seen outside as %q", options)
			}
		})
	}
}

// TestPropagationInOrder shows that the copies of mounts in order share what the first ones did, whose end reaches nobody.
func TestPropagationInOrder(t *testing.T) {
	for option, want := range map[string]string{"rshared": "shared", "rslave": "master", "runbindable": "unbindable", "rprivate": ""} {
		source := nested(t, true)
		made := filepath.Join(source, "made")
		if err := os.Mkdir(made, 0o755); err != nil {
			t.Fatal(err)
		}
		s := defaults(t, "sh", "-c", "mount -t tmpfs x /m/made && cat /proc/self/mountinfo")
		rights := []string{"CAP_SYS_ADMIN"}
		s.Process.Capabilities.Effective, s.Process.Capabilities.Permitted, s.Process.Capabilities.Bounding = rights, rights, rights
		s.Linux.Seccomp = nil
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m", Source: source, Options: []string{"rbind", option}},
			specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"unbindable"}})
		out, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, busybox(t)), InOrder: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Unmount(made, unix.MNT_DETACH) }()
		for point, want := range map[string]string{"/m": want, "/m/sub": want, "/tmp": "unbindable"} {
			if _, got := mountAt(t, out, point); got != want {
				t.Errorf("%s: %s is %q, want %q", option, point, got, want)
			}
		}
		host, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		if options, _ := mountAt(t, string(host), filepath.Join(source, "sub")); options == "no mount" {
			t.Errorf("%s: the host lost its mount", option)
		}
		if options, _ := mountAt(t, string(host), made); (options != "no mount") != (option == "rshared") {
			t.Errorf("%s: the host has %q of the container's mount", option, options)
		}
	}
}

func TestRootPropagation(t *testing.T) {
	for option, want := range map[string]string{"": "", "rprivate": "", "shared": "shared", "rshared": "shared", "unbindable": "unbindable", "slave": ""} {
		out, _ := shell(t, "cat /proc/self/mountinfo", func(s *specs.Spec) { s.Linux.RootfsPropagation = option })
		_, root := mountAt(t, out, "/")
		_, below := mountAt(t, out, "/dev/shm")
		if root != want || below != map[bool]string{true: "shared"}[option == "rshared"] {
			t.Errorf("%s: / is %q, /dev/shm %q", option, root, below)
		}
	}
	out, _ := shell(t, "cat /proc/self/mountinfo", func(s *specs.Spec) {
		for i := range s.Mounts {
			if s.Mounts[i].Type == "proc" || s.Mounts[i].Destination == "/dev/shm" {
				s.Mounts[i].Options = append(s.Mounts[i].Options, "shared")
			}
		}
	})
	for _, point := range []string{"/proc", "/dev/shm"} {
		if _, got := mountAt(t, out, point); got != "shared" {
			t.Errorf("%s is %q", point, got)
		}
	}
}

func TestRemount(t *testing.T) {
	out, _ := shell(t, "cat /proc/self/mountinfo", func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/dev/shm", Options: []string{"remount", "ro", "nosuid"}})
	})
	if options, _ := mountAt(t, out, "/dev/shm"); !strings.HasPrefix(options, "ro,nosuid") {
		t.Errorf("/dev/shm is %q", options)
	}
}

// TestCopyUp puts a tmpfs over a directory of the image and expects its files in it.
func TestCopyUp(t *testing.T) {
	root := busybox(t)
	dir := filepath.Join(root, "data")
	if err := os.MkdirAll(filepath.Join(dir, "deep/er"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"file": "one\n", "deep/er/file": "two\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o1731); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(dir, 0o1731); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, "file"), 12, 34); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/../file", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := "cat /data/file /data/deep/er/file; stat -c '%a %u %g' /data/file; stat -c %a /data; readlink /data/link; test -p /data/fifo && echo fifo; rm /data/file 2>/dev/null; grep -c ' /data ' /proc/self/mountinfo"
	s := defaults(t, "sh", "-c", script)
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/data", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup", "size=1m"}})
	out, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)})
	if want := "one\ntwo\n640 12 34\n1731\n/etc/../file\nfifo\n1"; err != nil || out != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
	s.Mounts[len(s.Mounts)-1].Options = []string{"tmpcopyup", "size=4k"}
	if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, 100<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)}); err == nil {
		t.Error("more was copied than there is space for")
	}
}

// TestMappedOwners shows files of one owner as those of another.
func TestMappedOwners(t *testing.T) {
	source := nested(t, false)
	for _, name := range []string{"file", "sub/file"} {
		if err := os.WriteFile(filepath.Join(source, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(source, name), 1000, 2000); err != nil {
			t.Fatal(err)
		}
	}
	uids := []specs.LinuxIDMapping{{ContainerID: 1000, HostID: 5, Size: 1}}
	gids := []specs.LinuxIDMapping{{ContainerID: 2000, HostID: 6, Size: 1}}
	user := func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
	}
	for _, c := range []struct {
		name, options, want string
		uids, gids          []specs.LinuxIDMapping
		change              func(*specs.Spec)
	}{
		{"not at all", "rbind", "1000 2000\n1000 2000", nil, nil, nil},
		{"the mount alone", "rbind,idmap", "5 6\n1000 2000", uids, gids, nil},
		{"without the option", "rbind", "5 6\n1000 2000", uids, gids, nil},
		{"all below", "rbind,ridmap", "5 6\n5 6", uids, gids, nil},
		{"user namespace", "rbind", "65534 65534\n65534 65534", nil, nil, user},
		{"user namespace, mapped", "rbind,ridmap", "1000 2000\n1000 2000", nil, nil, user},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, _ := shell(t, "stat -c '%u %g' /m/file /m/sub/file", func(s *specs.Spec) {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m", Source: source, Options: strings.Split(c.options, ","), UIDMappings: c.uids, GIDMappings: c.gids})
				if c.change != nil {
					c.change(s)
				}
			})
			if out != c.want {
				t.Errorf("owners %q, want %q", out, c.want)
			}
		})
	}
	t.Run("tmpfs", func(t *testing.T) {
		out, _ := shell(t, "touch /m/x; stat -c '%u %g' /m /m/x", func(s *specs.Spec) {
			seven := []specs.LinuxIDMapping{{ContainerID: 7, HostID: 0, Size: 1}}
			s.Mounts = append(s.Mounts, specs.Mount{
				Destination: "/m", Type: "tmpfs", Source: "tmpfs", Options: []string{"uid=7", "gid=7"}, UIDMappings: seven, GIDMappings: seven,
			})
		})
		if out != "0 0\n0 0" {
			t.Errorf("owner %q", out)
		}
	})
}

func TestMountErrors(t *testing.T) {
	root := busybox(t)
	dir := t.TempDir()
	ids := []specs.LinuxIDMapping{{Size: 1}}
	for name, m := range map[string]specs.Mount{
		`option "size=1m"`:           {Destination: "/m", Source: dir, Options: []string{"bind", "size=1m"}},
		"tmpcopyup":                  {Destination: "/m", Source: dir, Options: []string{"bind", "tmpcopyup"}},
		"uidMappings and":            {Destination: "/m", Source: dir, Options: []string{"bind"}, UIDMappings: ids},
		"neither ids":                {Destination: "/m", Source: dir, Options: []string{"bind", "idmap"}},
		"no other owners":            {Destination: "/proc", Type: "proc", UIDMappings: ids, GIDMappings: ids},
		"would be hidden":            {Destination: "/", Type: "tmpfs"},
		`option "frobnicate"`:        {Destination: "/m", Type: "tmpfs", Options: []string{"frobnicate"}},
		"remount with options":       {Destination: "/dev", Options: []string{"remount", "size=1m"}},
		`file system "camada-no-fs"`: {Destination: "/m", Type: "camada-no-fs"},
	} {
		s := defaults(t, "true")
		s.Mounts = append(s.Mounts, m)
		_, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)})
		if err == nil || !strings.Contains(err.Error(), name) || !errdefs.IsInvalid(err) && !errdefs.IsUnsupported(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDevices makes nodes of all types, also where the kernel lets nobody make them.
func TestDevices(t *testing.T) {
	mode := os.FileMode(0o640)
	uid, gid := uint32(3), uint32(4)
	devices := func(s *specs.Spec) {
		s.Linux.Devices = []specs.LinuxDevice{
			{Path: "/dev/char", Type: "c", Major: 1, Minor: 5, FileMode: &mode, UID: &uid, GID: &gid},
			{Path: "/dev/also", Type: "u", Major: 1, Minor: 5},
			{Path: "/dev/sub/block", Type: "b", Major: 7, Minor: 0, FileMode: &mode},
			{Path: "/etc/pipe", Type: "p", FileMode: &mode},
		}
	}
	script := "stat -c '%F %t:%T %a %u:%g' /dev/char /dev/also /dev/sub/block /etc/pipe; head -c 3 /dev/char | wc -c"
	want := "character special file 1:5 640 3:4\ncharacter special file 1:5 666 0:0\nblock special file 7:0 640 0:0\nfifo 0:0 640 0:0\n3"
	if out, _ := shell(t, script, devices); out != want {
		t.Errorf("output:\n%s\nwant:\n%s", out, want)
	}
	out, _ := shell(t, script, func(s *specs.Spec) {
		devices(s)
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 3}, {ContainerID: 3, HostID: 300000, Size: 65536}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
	})
	if out != want {
		t.Errorf("in a user namespace:\n%s\nwant:\n%s", out, want)
	}
	// Podman binds the host's devices one by one for a privileged container of an ordinary user.
	bound, _ := shell(t, "grep -c ' /dev/zero ' /proc/self/mountinfo; head -c 3 /dev/zero | wc -c", func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/dev/zero", Type: "bind", Source: "/dev/zero", Options: []string{"bind"}})
	})
	if bound != "1\n3" {
		t.Errorf("a bind where a device belongs: %q", bound)
	}
	// What the image has instead of /dev/null must not be taken for it (CVE-2025-31133).
	root := busybox(t)
	if err := os.Symlink("/proc/sysrq-trigger", filepath.Join(root, "dev/null")); err != nil {
		t.Fatal(err)
	}
	s := defaults(t, "true")
	for i := len(s.Mounts) - 1; i >= 0; i-- {
		if strings.HasPrefix(s.Mounts[i].Destination, "/dev") {
			s.Mounts = append(s.Mounts[:i], s.Mounts[i+1:]...)
		}
	}
	if _, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)}); err == nil || !strings.Contains(err.Error(), "/dev/null") {
		t.Errorf("a link as /dev/null: %v", err)
	}
	if err := os.Remove(filepath.Join(root, "dev/null")); err != nil {
		t.Fatal(err)
	}
	if _, status, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)}); err != nil || status.Code != 0 {
		t.Errorf("without a tmpfs on /dev: %+v, %v", status, err)
	}
}
