package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEmulation builds for another architecture with qemu. The kernel is told of it in a user namespace of the test's own
// (Linux 6.7 and newer), so that nothing of the machine changes.
func TestEmulation(t *testing.T) {
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("needs root, and time")
	}
	for _, p := range []string{"/usr/bin/qemu-aarch64-static", "/usr/bin/unshare"} {
		if _, err := os.Stat(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
	dir := t.TempDir()
	write(t, dir, "hello.go", "package main\n\nimport (\n\t\"os\"\n\t\"runtime\"\n)\n\nfunc main() { os.WriteFile(\"/made\", []byte(runtime.GOARCH), 0o644) }\n",
		"ctx/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY hello-$TARGETARCH /hello\nRUN [\"/hello\"]\n", "emulate.sh", `set -e
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || { echo "the kernel has no binfmt_misc for user namespaces"; exit 77; }
printf '%s' ':qemu-aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:OCF' > /proc/sys/fs/binfmt_misc/register
exec "$@"
`)
	for _, arch := range []string{"amd64", "arm64"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "ctx/hello-"+arch), filepath.Join(dir, "hello.go"))
		cmd.Env = append(os.Environ(), "GOARCH="+arch, "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	build := []string{shipped(t), "--root", filepath.Join(dir, "store"), "build", "--progress=plain", "--platform", "linux/amd64,linux/arm64",
		"-o", filepath.Join(dir, "out"), filepath.Join(dir, "ctx")}
	out, err := exec.Command(build[0], build[1:]...).CombinedOutput()
	if err == nil {
		t.Skip("this machine executes programs of arm64 already")
	}
	if !strings.Contains(string(out), "qemu-user-static") || !strings.Contains(string(out), "Dockerfile:4") {
		t.Errorf("the error does not say what to do:\n%s", out)
	}
	cmd := exec.Command("unshare", append([]string{"--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "sh", filepath.Join(dir, "emulate.sh")}, build...)...)
	if out, err = cmd.CombinedOutput(); err != nil {
		if cmd.ProcessState.ExitCode() == 77 {
			t.Skipf("%s", out)
		}
		t.Fatalf("%v\n%s", err, out)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		made, err := os.ReadFile(filepath.Join(dir, "out/linux_"+arch, "made"))
		if err != nil || string(made) != arch {
			t.Errorf("%s: %q, %v", arch, made, err)
		}
	}
}
