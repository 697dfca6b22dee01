package container_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestMain(m *testing.M) {
	if names := os.Getenv(swapVariable); names != "" {
		swap(names)
	}
	if container.IsInit() {
		container.RunInit()
	}
	os.Exit(m.Run())
}

// busybox makes a root file system with nothing but busybox.
func busybox(t testing.TB) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to start containers")
	}
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs /bin/busybox (Debian's busybox-static)")
	}
	root := t.TempDir()
	for _, dir := range []string{"bin", "etc", "tmp", "proc", "sys", "dev"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, applet := range strings.Fields("sh ls cat id true false ps mount umount ip hostname touch mkdir mknod chown chroot sleep kill stat readlink grep ping tty stty dd seq env pwd ulimit test wc head nproc unshare tr echo") {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// overlayOf is a writable overlay over root.
func overlayOf(t testing.TB, root string) mount.Mount {
	t.Helper()
	dir := t.TempDir()
	m := mount.Mount{Kind: mount.Overlay, Lower: []string{root}, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
	for _, d := range []string{m.Upper, m.Work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// unique is a container id of this test.
func unique(t testing.TB) string {
	return fmt.Sprintf("test-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
}

// runContainer runs cfg to its end and returns what it printed.
func runContainer(t testing.TB, cfg container.Config) (string, container.ExitStatus, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cfg.ID, cfg.Stdout, cfg.Stderr = unique(t), w, w
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := container.Start(ctx, cfg)
	w.Close()
	if err != nil {
		return "", container.ExitStatus{}, err
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	status, err := p.Wait(ctx)
	if err != nil {
		t.Fatalf("wait: %v", err)
	}
	return string(bytes.TrimRight(out, "\n")), status, nil
}

// shell runs a script in a default container, changed by change.
func shell(t testing.TB, script string, change func(*specs.Spec)) (string, container.ExitStatus) {
	t.Helper()
	s := defaults(t, "sh", "-c", script)
	if change != nil {
		change(s)
	}
	out, status, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, busybox(t))})
	if err != nil {
		t.Fatal(err)
	}
	return out, status
}

func TestStart(t *testing.T) {
	out, status := shell(t, "echo $$; id -u; pwd; hostname; exit 7", func(s *specs.Spec) { s.Hostname = "web" })
	if out != "1\n0\n/\nweb" || status.Code != 7 {
		t.Errorf("output %q, status %+v", out, status)
	}
}

func TestStartErrors(t *testing.T) {
	root := busybox(t)
	if err := os.WriteFile(filepath.Join(root, "bin/text"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/script"), []byte("#!/not/there\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		program string
		code    int
		text    string
	}{
		{"nonexistent", 127, `exec: "nonexistent": executable file not found in $PATH`},
		{"/nonexistent", 127, "no such file or directory"},
		{"script", 127, "exec: \"script\": no such file or directory"},
		{"/bin/text", 126, "permission denied"},
		{"text", 126, "permission denied"},
		{"/etc", 126, "permission denied"},
	} {
		_, _, err := runContainer(t, container.Config{Spec: defaults(t, c.program), Rootfs: overlayOf(t, root)})
		var se *container.StartError
		if !errors.As(err, &se) || se.Code != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want code %d and %q", c.program, err, c.code, c.text)
		}
	}
}

func TestSignalStatus(t *testing.T) {
	out, status := shell(t, "sh -c 'kill -9 $$'; echo $?", nil)
	if out != "Killed\n137" && out != "137" || status.Code != 0 {
		t.Errorf("output %q, status %+v", out, status)
	}
	p, err := container.Start(context.Background(), container.Config{ID: unique(t), Spec: defaults(t, "sleep", "60"), Rootfs: overlayOf(t, busybox(t))})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(context.Background()); err != nil {
		t.Error(err)
	}
	status, err = p.Wait(context.Background())
	if err != nil || status.Code != 137 || status.Signal != 9 {
		t.Errorf("status %+v, %v", status, err)
	}
}

// defaults is the spec of a container with Docker's defaults.
func defaults(t testing.TB, args ...string) *specs.Spec {
	t.Helper()
	s, err := spec.New(spec.Options{Args: args, Env: []string{"PATH=/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
