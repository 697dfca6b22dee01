package test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// TestEstargz pulls and runs an image whose layers BuildKit made estargz: gzip in many members, with a table of contents at its end.
func TestEstargz(t *testing.T) {
	p := peers.Need(t, "buildkitd", "buildctl", "busybox")
	bin := shipped(t)
	p.StartBuildkit()
	s := startServe(t, bin, t.TempDir(), "127.0.0.1:0")
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nRUN echo made > /made\nCMD [\"cat\", \"/made\"]\n")
	name := s.host + "/app:1"
	p.Run("buildctl", "build", "--frontend", "dockerfile.v0", "--local", "context="+dir, "--local", "dockerfile="+dir, "--output",
		"type=image,name="+name+",push=true,registry.insecure=true,compression=estargz,force-compression=true,oci-mediatypes=true")
	c := &ours{t: t, bin: bin, root: filepath.Join(t.TempDir(), "store")}
	if raw := c.run("manifest", "inspect", "--raw", name); !strings.Contains(raw, "containerd.io/snapshot/stargz/toc.digest") {
		t.Fatalf("it is not estargz: %s", raw)
	}
	c.run("pull", "-q", name)
	if out := c.run("run", "--rm", "--network", "none", name); out != "made" {
		t.Errorf("it prints %q", out)
	}
	settled(t, c, "after a pull")
}
