// Package test runs camada as users do: whole commands in scripts, below testdata/script,
// against the real kernel and other people's tools.
package test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestScripts(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox: install busybox-static")
	}
	if os.Geteuid() != 0 {
		t.Skip("the scripts run as root; rootless.txtar becomes an ordinary user by itself")
	}
	bin := filepath.Dir(shipped(t))
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("CAMADA_ROOT", filepath.Join(e.WorkDir, "store"))
			e.Setenv("PATH", bin+":"+e.Getenv("PATH"))
			e.Setenv("NO_COLOR", "1")
			e.Setenv("DISK", disk())
			root := e.Getenv("CAMADA_ROOT")
			e.Defer(func() { endContainers(filepath.Join(bin, "camada"), root) })
			return nil
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"rootfs": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(rootfs(ts.MkAbs(args[0]), busybox))
			},
			"saved": saved,
			"serve": serve,
		},
	})
}

// endContainers ends what a script that failed left running in its store.
func endContainers(camada, root string) {
	ids, err := exec.Command(camada, "--root", root, "ps", "-aq").Output()
	if names := strings.Fields(string(ids)); err == nil && len(names) > 0 {
		_ = exec.Command(camada, append([]string{"--root", root, "rm", "-f"}, names...)...).Run()
	}
}

// rootfs makes the root file system of a small system in dir: busybox and links to it.
func rootfs(dir, busybox string) error {
	for _, d := range []string{"bin", "tmp", "etc", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	in, err := os.Open(busybox)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(dir, "bin/busybox"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	for _, a := range strings.Fields("sh cat ls echo true false id env pwd sleep mkdir rm touch hostname mount ps grep wc head stat chmod ln dd kill test printf mknod ip wget nc httpd awk sed sort date readlink tee find seq") {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", a)); err != nil {
			return err
		}
	}
	passwd := "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n"
	group := "root:x:0:\napp:x:1000:\nextra:x:2000:app\n"
	if err := os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte(passwd), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "etc/group"), []byte(group), 0o644)
}

// saved NAME keeps the last standard output, without its line end, in a variable.
func saved(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// serve NAME DIR serves a directory over HTTP until the end of the script, and keeps the server's URL in a variable.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	s := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[1]))))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}
