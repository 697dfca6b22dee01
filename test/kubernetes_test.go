package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUnderKubernetes runs pods of a Kubernetes with camada as their runtime: see kubernetes/run.sh.
func TestUnderKubernetes(t *testing.T) {
	if os.Getenv("CAMADA_TEST_LONG") == "" {
		t.Skip("builds and starts a Kubernetes, which takes minutes: CAMADA_TEST_LONG=1")
	}
	if end, ok := t.Deadline(); ok && time.Until(end) < 15*time.Minute {
		t.Skip("to build a Kubernetes may need a quarter of an hour: go test -timeout 30m")
	}
	c, p := withPeers(t, "containerd", "ctr", "containerd-shim-runc-v2", "openssl", "script", "unshare", "ip")
	cni := os.Getenv("CNI_BIN")
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil && cni == "" {
			cni = dir
		}
	}
	if cni == "" {
		t.Skip("no network plugins: install containernetworking-plugins")
	}
	dir := os.Getenv("CAMADA_KUBERNETES")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		dir = filepath.Join(cache, "camada-peers/kubernetes")
	}
	if out, err := exec.Command("kubernetes/build.sh", dir).CombinedOutput(); err != nil {
		t.Skipf("Kubernetes cannot be built here: %v\n%s", err, out)
	}
	engineImage(c, p)
	write(t, p.Path("pause"), "Dockerfile", "FROM img:1\nCMD [\"sleep\", \"1000000\"]\n")
	c.run("build", "-q", "-t", "pause:1", p.Path("pause"))
	c.run("save", "-o", p.Path("pods.tar"), "img:1", "pause:1")
	cmd := exec.Command("kubernetes/run.sh", dir, runtimeLink(t, c), p.Path("pods.tar"))
	cmd.Env = append(os.Environ(), "CNI_BIN="+cni)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("kubernetes/run.sh: %v", err)
	}
	if !strings.Contains(string(out), "PASS  ") {
		t.Skip("Kubernetes was not started: see above")
	}
}
