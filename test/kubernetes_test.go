package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnderKubernetes runs pods of a Kubernetes with camada as their runtime: see kubernetes/run.sh.
func TestUnderKubernetes(t *testing.T) {
	dir := kubernetesPrograms(t)
	c, p := withPeers(t, "containerd", "ctr", "containerd-shim-runc-v2", "openssl", "script", "unshare", "ip")
	cni := os.Getenv("CNI_BIN")
	for _, plugins := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(plugins, "bridge")); err == nil && cni == "" {
			cni = plugins
		}
	}
	if cni == "" {
		t.Skip("no network plugins: install containernetworking-plugins")
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
