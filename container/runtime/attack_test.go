package runtime_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/container/runtime"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestDescriptorsDoNotLeak looks for descriptors in a container that waited to be started, and in what joins it: those of the
// caller, and the pipes that it waited by (CVE-2024-21626).
func TestDescriptorsDoNotLeak(t *testing.T) {
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0) // without O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const list = "(ls -l /proc/self/fd 2>/dev/null; echo end) > "
	ctx := context.Background()
	f := setup(t, list+"/first; exec sleep 1000")
	if err := os.Symlink("busybox", filepath.Join(f.dir, "rootfs/bin/ls")); err != nil {
		t.Fatal(err)
	}
	if err := f.Create(ctx, f.o); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(ctx, f.o.ID); err != nil {
		t.Fatal(err)
	}
	p, err := f.Exec(ctx, f.o.ID, runtime.ExecOptions{Process: &specs.Process{Args: []string{"/bin/sh", "-c", list + "/second"}, Cwd: "/", Env: []string{"PATH=/bin"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(ctx); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"first", "second"} {
		for line := range strings.Lines(f.file(name)) {
			_, to, ok := strings.Cut(strings.TrimSpace(line), " -> ")
			if ok && to != "/"+name && to != "/dev/null" && !(strings.HasPrefix(to, "/proc/") && strings.HasSuffix(to, "/fd")) {
				t.Errorf("%s: a descriptor of %s", name, to)
			}
		}
	}
}

// TestHomeOfAHostileContainer has other things than a file where the home directories of users stand when something is executed. An open
// of the pipe would wait for ever.
func TestHomeOfAHostileContainer(t *testing.T) {
	ctx := context.Background()
	f := setup(t, "exec sleep 1000")
	if err := f.Create(ctx, f.o); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(ctx, f.o.ID); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(outside, []byte("root:x:0:0::/outside:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	passwd := filepath.Join(f.dir, "rootfs/etc/passwd")
	for name, c := range map[string]struct {
		put  func() error
		want string
	}{
		"file":   {func() error { return os.WriteFile(passwd, []byte("root:x:0:0::/inside:/bin/sh\n"), 0o644) }, "/inside"},
		"pipe":   {func() error { return unix.Mkfifo(passwd, 0o644) }, "/"},
		"device": {func() error { return unix.Mknod(passwd, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))) }, "/"},
		"link":   {func() error { return os.Symlink(outside, passwd) }, "/"},
	} {
		out := filepath.Join(f.dir, "rootfs/out")
		if err := errors.Join(os.MkdirAll(filepath.Dir(passwd), 0o755), os.RemoveAll(passwd), os.RemoveAll(out), c.put()); err != nil {
			t.Fatal(err)
		}
		p, err := f.Exec(ctx, f.o.ID, runtime.ExecOptions{Process: &specs.Process{Args: []string{"/bin/sh", "-c", "echo $HOME > /out"}, Cwd: "/", Env: []string{"PATH=/bin"}}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := p.Wait(ctx); err != nil {
			t.Error(err)
		}
		if got := f.file("out"); got != c.want {
			t.Errorf("%s: HOME is %s, want %s", name, got, c.want)
		}
	}
}
