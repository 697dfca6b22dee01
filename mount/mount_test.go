package mount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
}

// layers makes n directories below dir, each with a file of its own number and the
// file "top" with the number of the layer; the topmost is first.
func layers(t *testing.T, dir string, n int) []string {
	t.Helper()
	list := make([]string, n)
	for i := range n {
		d := filepath.Join(dir, fmt.Sprintf("l%06d", i), "fs")
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(d, fmt.Sprint(i)), "x")
		write(t, filepath.Join(d, "top"), fmt.Sprint(i))
		list[n-1-i] = d
	}
	return list
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func writable(t *testing.T, m Mount) Mount {
	t.Helper()
	return writableIn(t, m, t.TempDir())
}

func writableIn(t *testing.T, m Mount, dir string) Mount {
	t.Helper()
	m.Upper, m.Work = filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{m.Upper, m.Work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// checkLayers looks whether all n layers show at path.
func checkLayers(path string, n int) error {
	for i := range n {
		if _, err := os.Lstat(filepath.Join(path, fmt.Sprint(i))); err != nil {
			return fmt.Errorf("layer %d of %d: %w", i, n, err)
		}
	}
	got, err := os.ReadFile(filepath.Join(path, "top"))
	if err != nil || string(got) != fmt.Sprint(n-1) {
		return fmt.Errorf("the file top is %q, %w: the order of the layers is wrong", got, err)
	}
	return nil
}

// checkUnseen looks whether something of this test is mounted in this process's namespace.
func checkUnseen(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "/"+t.Name()) {
		t.Errorf("a mount was seen outside of its namespace:\n%s", b)
	}
}

// private runs fn on a thread with a mount namespace of its own.
func private(t *testing.T, fn func() error) {
	t.Helper()
	var err error
	onThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return
		}
		if err = Propagation("/", Private|Recursive); err == nil {
			err = fn()
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDetached(t *testing.T) {
	needRoot(t)
	counts := []int{1, 2, 400, 501, MaxLower}
	if testing.Short() {
		counts = []int{1, 2, 400}
	}
	for _, n := range counts {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			long := filepath.Join(t.TempDir(), strings.Repeat("d", 60))
			m := Mount{Kind: Overlay, Lower: layers(t, long, n)}
			for _, m := range []Mount{m, writableIn(t, m, long)} {
				f, err := Detached(m)
				if n == MaxLower && !layerwise() && errdefs.IsLimit(err) {
					t.Skip("before 6.5 the kernel cannot take as many")
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := checkLayers(fdPath(int(f.Fd())), n); err != nil {
					t.Error(err)
				}
				err = os.WriteFile(filepath.Join(fdPath(int(f.Fd())), "new"), nil, 0o644)
				if wants := m.Upper != ""; wants != (err == nil) {
					t.Errorf("write with upper %q: %v", m.Upper, err)
				}
				f.Close()
			}
		})
	}
	checkUnseen(t)
}

// TestInNamespace takes the way of kernels before 6.5.
func TestInNamespace(t *testing.T) {
	needRoot(t)
	wd, _ := os.Getwd()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 200))
	counts := []int{2, 320, 550}
	if testing.Short() {
		counts = []int{2, 320}
	}
	for _, n := range counts {
		m := Mount{Kind: Overlay, Lower: layers(t, filepath.Join(dir, fmt.Sprint(n)), n)}
		fd, err := inNamespace(m, viewAttrs)
		if err != nil {
			t.Errorf("%d layers: %v", n, err)
			continue
		}
		if err := checkLayers(fdPath(fd), n); err != nil {
			t.Error(err)
		}
		unix.Close(fd)
	}
	m := Mount{Kind: Overlay}
	for i := range 900 { // refused before any of them is looked at
		m.Lower = append(m.Lower, fmt.Sprintf("%s/l%06d/fs", dir, i))
	}
	if _, err := inNamespace(m, 0); !errdefs.IsLimit(err) {
		t.Errorf("900 layers in two pages: %v, want ErrLimit", err)
	}
	checkUnseen(t)
	if now, _ := os.Getwd(); now != wd {
		t.Errorf("the working directory is %s, was %s", now, wd)
	}
}

func TestLayerwiseIn(t *testing.T) {
	for release, want := range map[string]bool{
		"6.18.44-fc-v657": true, "6.5.0": true, "7.0-rc1": true, "10.2": true, "?": true,
		"6.4.16-200.fc38.x86_64": false, "6.1.0-56-cloud-amd64": false, "5.15.0-1": false, "4.19": false,
	} {
		if got := layerwiseIn(release); got != want {
			t.Errorf("layerwiseIn(%q) = %v, want %v", release, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	needRoot(t)
	for _, name := range []string{"a,b", "a:b", `a\b`, `a\:b`, `a\`, "a b", "ä\n", "x=y", strings.Repeat("n", 250)} {
		m := Mount{Kind: Overlay, Lower: layers(t, filepath.Join(t.TempDir(), name), 2)}
		m.Upper, m.Work = filepath.Join(t.TempDir(), name+"u"), filepath.Join(t.TempDir(), name+"w")
		m.Work = filepath.Join(filepath.Dir(m.Upper), filepath.Base(m.Work))
		if err := errors.Join(os.Mkdir(m.Upper, 0o755), os.Mkdir(m.Work, 0o755)); err != nil {
			t.Fatal(err)
		}
		f, err := Detached(m)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if err := checkLayers(fdPath(int(f.Fd())), 2); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		f.Close()
		target := t.TempDir()
		private(t, func() error {
			if err := At(m, target); err != nil {
				return fmt.Errorf("%q: %w", name, err)
			}
			return checkLayers(target, 2)
		})
	}
}

func TestAt(t *testing.T) {
	needRoot(t)
	for _, n := range []int{1, 3, 400, 600} {
		m := Mount{Kind: Overlay, Lower: layers(t, t.TempDir(), n)}
		target := t.TempDir()
		private(t, func() error {
			if err := At(m, target); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(target, "new"), nil, 0o644); !errors.Is(err, unix.EROFS) {
				return fmt.Errorf("write to a read-only mount: %w", err)
			}
			if err := checkLayers(target, n); err != nil {
				return err
			}
			if err := Unmount(target, false); err != nil {
				return err
			}
			if err := Unmount(target, false); !errdefs.IsInvalid(err) {
				return fmt.Errorf("unmount of nothing: %w", err)
			}
			return nil
		})
	}
	checkUnseen(t)
}

func TestBind(t *testing.T) {
	needRoot(t)
	dir, target := t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, "f"), "x")
	private(t, func() error {
		for _, readOnly := range []bool{false, true} {
			m := Mount{Kind: Bind, Source: dir, ReadOnly: readOnly}
			f, err := Detached(m)
			if err != nil {
				return err
			}
			defer f.Close()
			if err := At(m, target); err != nil {
				return err
			}
			for _, path := range []string{target, fdPath(int(f.Fd()))} {
				err := os.WriteFile(filepath.Join(path, "f"), []byte("y"), 0o644)
				if readOnly == (err == nil) {
					return fmt.Errorf("read-only %t: write to %s: %w", readOnly, path, err)
				}
			}
			if err := Unmount(target, false); err != nil {
				return err
			}
			if err := Attach(f, target); err != nil {
				return err
			}
			if _, err := os.Lstat(filepath.Join(target, "f")); err != nil {
				return err
			}
			if err := Unmount(target, true); err != nil {
				return err
			}
		}
		if err := unix.Mount(dir, target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		if err := remountReadOnly(target); err != nil {
			return fmt.Errorf("remount: %w", err)
		}
		if err := os.WriteFile(filepath.Join(target, "f"), nil, 0o644); !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("write after remount: %w", err)
		}
		return nil
	})
}

func TestViewAttributes(t *testing.T) {
	needRoot(t)
	for _, m := range []Mount{
		{Kind: Overlay, Lower: layers(t, t.TempDir(), 2)},
		{Kind: Bind, Source: t.TempDir()},
	} {
		f, err := View(m)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		const want = unix.ST_RDONLY | unix.ST_NODEV | unix.ST_NOSUID | unix.ST_NOEXEC
		if st.Flags&want != want {
			t.Errorf("%s: flags %#x", m, st.Flags)
		}
	}
}

func TestVolatileMark(t *testing.T) {
	needRoot(t)
	m := writable(t, Mount{Kind: Overlay, Lower: layers(t, t.TempDir(), 1), Volatile: true})
	f, err := Detached(m)
	if errdefs.IsUnsupported(err) {
		t.Skip("this kernel has no volatile overlays: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := os.Stat(filepath.Join(m.Work, "work/incompat/volatile")); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	needRoot(t)
	dirs := layers(t, t.TempDir(), 2)
	tests := []struct {
		name  string
		m     Mount
		class errdefs.Class
	}{
		{"kind", Mount{Kind: "tmpfs"}, errdefs.ErrInvalid},
		{"no source", Mount{Kind: Bind}, errdefs.ErrInvalid},
		{"no lower", Mount{Kind: Overlay, Upper: dirs[0], Work: dirs[1]}, errdefs.ErrInvalid},
		{"no work", Mount{Kind: Overlay, Lower: dirs, Upper: dirs[0]}, errdefs.ErrInvalid},
		{"relative", Mount{Kind: Overlay, Lower: []string{"a", "b"}}, errdefs.ErrInvalid},
		{"too many", Mount{Kind: Overlay, Lower: make([]string, MaxLower+1)}, errdefs.ErrLimit},
		{"missing", Mount{Kind: Overlay, Lower: []string{dirs[0], dirs[1] + "-gone"}}, errdefs.ErrNotFound},
		{"missing source", Mount{Kind: Bind, Source: dirs[1] + "-gone"}, errdefs.ErrNotFound},
		{"a file", Mount{Kind: Overlay, Lower: []string{dirs[0], dirs[0] + "/top"}}, errdefs.ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Detached(tt.m)
			if err == nil {
				f.Close()
			}
			if !errors.Is(err, tt.class) {
				t.Errorf("Detached: %v, want %v", err, tt.class)
			}
			private(t, func() error {
				if err := At(tt.m, dirs[0]); !errors.Is(err, tt.class) {
					return fmt.Errorf("At: %w, want %w", err, tt.class)
				}
				return nil
			})
		})
	}
}

// TestUnprivileged runs again as an ordinary user, without and with a user namespace.
func TestUnprivileged(t *testing.T) {
	if os.Getenv("MOUNT_TEST_LOWER") != "" {
		m := Mount{Kind: Overlay, Lower: strings.Split(os.Getenv("MOUNT_TEST_LOWER"), ":"), UserXattr: true}
		f, err := View(m)
		if os.Geteuid() != 0 {
			if !errdefs.IsPermission(err) {
				t.Errorf("View as an ordinary user: %v, want ErrPermission", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := checkLayers(fdPath(int(f.Fd())), len(m.Lower)); err != nil {
			t.Error(err)
		}
		return
	}
	needRoot(t)
	dir, err := os.MkdirTemp("", "mount-test")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "test")
	bin, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(exe, bin, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"plain": 2, "userns": 2, "userns600": 600} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(exe, "-test.run=^TestUnprivileged$")
			cmd.Dir = dir
			cmd.Env = []string{"MOUNT_TEST_LOWER=" + strings.Join(layers(t, filepath.Join(dir, name), n), ":")}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
			if name != "plain" {
				cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 0, Gid: 0}
				cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
				cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 12345, Size: 1}}
				cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 12345, Size: 1}}
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func BenchmarkAt(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("mounts need root")
	}
	dir := b.TempDir()
	m := Mount{Kind: Overlay}
	for i := range 7 {
		d := filepath.Join(dir, fmt.Sprintf("abcdefg%d", i), "fs")
		if err := os.MkdirAll(d, 0o755); err != nil {
			b.Fatal(err)
		}
		m.Lower = append(m.Lower, d)
	}
	b.Run("detached", func(b *testing.B) {
		for b.Loop() {
			f, err := Detached(m)
			if err != nil {
				b.Fatal(err)
			}
			f.Close()
		}
	})
	b.Run("classic", func(b *testing.B) {
		var err error
		onThread(func() {
			if err = unix.Unshare(unix.CLONE_NEWNS); err == nil {
				err = Propagation("/", Private|Recursive)
			}
			for err == nil && b.Loop() {
				if err = At(m, dir); err == nil {
					err = Unmount(dir, true)
				}
			}
		})
		if err != nil {
			b.Fatal(err)
		}
	})
}
