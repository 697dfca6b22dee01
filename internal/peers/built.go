package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// gvisor is the version of the Go module that runsc is built from.
const gvisor = "v0.0.0-20260905035102-160fafc42237"

// Runsc is the path of gVisor's runtime, which is built when there is none: see Built.
func Runsc(t testing.TB) string {
	t.Helper()
	return Built(t, "runsc", "gvisor.dev/gvisor/runsc", gvisor)
}

// Regctl is the path of regclient's command, which is built when there is none: see Built.
func (p *Peers) Regctl() string {
	p.t.Helper()
	return Built(p.t, "regctl", "github.com/regclient/regclient/cmd/regctl", "v0.11.7")
}

// Cosign is the path of sigstore's command of the third version, which is built when there is none: see Built.
func (p *Peers) Cosign() string {
	p.t.Helper()
	return Built(p.t, "cosign", "github.com/sigstore/cosign/v3/cmd/cosign", "v3.1.3")
}

// Built is the path of a program: the one on PATH, or one that is built from its Go package, once, which takes minutes; it is kept in the user's
// cache directory. Without CAMADA_TEST_LONG=1 nothing is built, and the test is skipped when there is none.
func Built(t testing.TB, program, pkg, version string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(cache, "camada-peers", program, version)
	path := filepath.Join(dir, program)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if os.Getenv("CAMADA_TEST_LONG") == "" {
		t.Skipf("%s is not installed; CAMADA_TEST_LONG=1 builds it", program)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	building, err := os.MkdirTemp(dir, "building-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(building)
	cmd := exec.CommandContext(t.Context(), "go", "install", "-trimpath", pkg+"@"+version)
	cmd.Dir, cmd.Env = building, append(os.Environ(), "GOBIN="+building, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("%s cannot be built: %v\n%s", program, err, out)
	}
	if err := os.Rename(filepath.Join(building, program), path); err != nil {
		t.Fatal(err)
	}
	return path
}
