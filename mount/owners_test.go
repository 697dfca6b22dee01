package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/fsid"
	"golang.org/x/sys/unix"
)

// namespace makes a user namespace in which user 0 is outside, as long as the test runs.
func namespace(t *testing.T, outside int) Owners {
	t.Helper()
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: outside, Size: 65536}}
	p, err := os.StartProcess("/proc/self/exe", []string{"ids"}, &os.ProcAttr{Env: []string{}, Sys: &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Ptrace: true, Pdeathsig: unix.SIGKILL,
	}})
	if err != nil {
		t.Skip("no user namespace: ", err)
	}
	defer func() {
		_ = p.Kill()
		_, _ = p.Wait()
	}()
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", p.Pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return Owners{Namespace: ns, UID: outside, GID: outside}
}

func owner(t *testing.T, name string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

// partAs is PartAs, as an old kernel needs it or as this one does.
func partAs(whole *os.File, name string, old bool) (*os.File, error) {
	if !old {
		return PartAs(whole, name, true)
	}
	var fd int
	var err error
	onThread(func() { fd, err = threadPartAs(int(whole.Fd()), name, unix.MOUNT_ATTR_RDONLY) })
	return os.NewFile(uintptr(fd), name), err
}

func TestDetachedAs(t *testing.T) {
	needRoot(t)
	const outside = 300_000
	o := namespace(t, outside)
	for _, n := range []int{1, 2, 30, maxStack + 10} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir := t.TempDir()
			m := writable(t, Mount{Kind: Overlay, Lower: layers(t, dir, n)})
			write(t, filepath.Join(m.Lower[0], "theirs"), "x")
			if err := os.Chown(filepath.Join(m.Lower[0], "theirs"), 7, 8); err != nil {
				t.Fatal(err)
			}
			f, err := DetachedAs(m, o)
			if errdefs.IsUnsupported(err) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			at := fdPath(int(f.Fd()))
			if got, want := owner(t, at+"/theirs"), fmt.Sprintf("%d:%d", outside+7, outside+8); got != want {
				t.Errorf("a file of the layers belongs to %s, want %s", got, want)
			}
			err = fsid.As(outside+5, outside+6, func() error { return os.WriteFile(at+"/new", nil, 0o600) })
			if err != nil {
				t.Fatal(err)
			}
			if got := owner(t, filepath.Join(m.Upper, "new")); got != "5:6" {
				t.Errorf("a new file belongs to %s on the disk", got)
			}
			if err := os.WriteFile(at+"/foreign", nil, 0o600); err == nil {
				t.Error("who has no id there made a file")
			}
			p, err := partAs(f, "theirs", n == 2)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			var st unix.Stat_t
			if err := unix.Fstat(int(p.Fd()), &st); err != nil || st.Uid != outside+7 {
				t.Errorf("a part belongs to %d: %v", st.Uid, err)
			}
			checkUnseen(t)
		})
	}
	t.Run("bind", func(t *testing.T) {
		dir := t.TempDir()
		f, err := DetachedAs(Mount{Kind: Bind, Source: dir, ReadOnly: true}, o)
		if errdefs.IsUnsupported(err) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got, want := owner(t, fdPath(int(f.Fd()))+"/."), fmt.Sprintf("%d:%[1]d", outside); got != want {
			t.Errorf("the directory belongs to %s, want %s", got, want)
		}
	})
	t.Run("a file system that cannot", func(t *testing.T) {
		if _, err := DetachedAs(Mount{Kind: Bind, Source: "/proc"}, o); !errdefs.IsUnsupported(err) {
			t.Errorf("the owners of /proc: %v", err)
		}
	})
}
