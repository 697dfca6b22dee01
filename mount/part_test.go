package mount

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// TestPart mounts files and directories of overlays and of plain directories.
func TestPart(t *testing.T) {
	needRoot(t)
	for _, n := range []int{1, 3} {
		lower := layers(t, t.TempDir(), n)
		bottom := lower[n-1]
		if err := os.MkdirAll(bottom+"/dir/sub", 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, bottom+"/dir/file", "inside")
		for name, to := range map[string]string{"link": "/dir", "dir/up": "../../../../dir/sub", "magic": "/proc/self/root"} {
			if err := os.Symlink(to, filepath.Join(bottom, name)); err != nil {
				t.Fatal(err)
			}
		}
		for _, m := range []Mount{{Kind: Overlay, Lower: lower}, writable(t, Mount{Kind: Overlay, Lower: lower}), {Kind: Bind, Source: bottom}} {
			for name, want := range map[string]string{"dir": "file", "/link": "file", "": "dir/file", "/": "dir/file", "dir/file": ""} {
				f, err := Part(m, name, true)
				if err != nil {
					t.Errorf("%s of %s: %v", name, m, err)
					continue
				}
				at := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
				if want != "" {
					at += "/" + want
				}
				if b, err := os.ReadFile(at); err != nil || string(b) != "inside" {
					t.Errorf("%s of %s: %q, %v", name, m, b, err)
				}
				if err := os.WriteFile(at, nil, 0o644); !errors.Is(err, unix.EROFS) {
					t.Errorf("%s of %s is not read-only: %v", name, m, err)
				}
				f.Close()
			}
			for _, name := range []string{"nothing", "dir/file/x", "magic"} {
				if f, err := Part(m, name, true); !errdefs.IsNotFound(err) {
					t.Errorf("%s of %s: %v, %v", name, m, f, err)
				}
			}
		}
	}
	m := writable(t, Mount{Kind: Overlay, Lower: layers(t, t.TempDir(), 2)})
	if err := os.Mkdir(m.Upper+"/in", 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := Part(m, "in", false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write(t, fmt.Sprintf("/proc/self/fd/%d/new", f.Fd()), "x")
	if _, err := os.Stat(m.Upper + "/in/new"); err != nil {
		t.Error(err)
	}
	checkUnseen(t)
}

// TestMemoryFile makes a file that is in memory, with owner and mode, and that nobody can change.
func TestMemoryFile(t *testing.T) {
	needRoot(t)
	f, err := MemoryFile([]byte("secret"), 0o440, 5, 6)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if b, err := os.ReadFile(at); err != nil || string(b) != "secret" {
		t.Errorf("%q, %v", b, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(at, &st); err != nil || st.Mode != unix.S_IFREG|0o440 || st.Uid != 5 || st.Gid != 6 {
		t.Errorf("%o %d:%d, %v", st.Mode, st.Uid, st.Gid, err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(at, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || fs.Flags&unix.ST_NOEXEC == 0 {
		t.Errorf("file system %x, flags %x, %v", fs.Type, fs.Flags, err)
	}
	if err := os.WriteFile(at, nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("it can be written: %v", err)
	}
	checkUnseen(t)
	private(t, func() error { // it can be put on a file
		place := filepath.Join(t.TempDir(), "place")
		write(t, place, "")
		if err := Attach(f, place); err != nil {
			return err
		}
		b, err := os.ReadFile(place)
		if string(b) != "secret" {
			return fmt.Errorf("%q: %w", b, err)
		}
		return nil
	})
}

// TestMemorySocket talks over a socket that has no name in any file system of the machine.
func TestMemorySocket(t *testing.T) {
	needRoot(t)
	name, listener, err := MemorySocket(0o600, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer name.Close()
	l, err := net.FileListener(listener)
	listener.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Write([]byte("hello"))
			c.Close()
		}
	}()
	c, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d", name.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 5)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "hello" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	checkUnseen(t)
}

// TestPartWhileOthersSwap takes a part of a directory in which somebody exchanges a directory and a link to the outside all the time,
// as the steps of a build can that share a cache, and containers that share a volume.
func TestPartWhileOthersSwap(t *testing.T) {
	needRoot(t)
	outside, top := t.TempDir(), t.TempDir()
	write(t, outside+"/file", "outside")
	if err := os.Mkdir(top+"/d", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, top+"/d/file", "inside")
	if err := os.Symlink(outside, top+"/l"); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, top+"/d", unix.AT_FDCWD, top+"/l", unix.RENAME_EXCHANGE)
			}
		}
	}()
	defer func() { close(stop); <-done }()
	seen, byName := 0, 0
	for range 3000 {
		if b, err := os.ReadFile(top + "/d/file"); err == nil && string(b) == "outside" {
			byName++
		}
		f, err := Part(Mount{Kind: Bind, Source: top}, "d/file", true)
		if err != nil {
			continue // a link to what is not there
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		f.Close()
		if err != nil || string(b) != "inside" {
			t.Fatalf("%q, %v", b, err)
		}
		seen++
	}
	if seen == 0 {
		t.Error("the part was never there: the test shows nothing")
	}
	t.Logf("%d times there; %d times outside by its name", seen, byName)
}
