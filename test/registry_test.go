package test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// cachedDockerfile has a stage of which the image has one file only.
const cachedDockerfile = `FROM scratch AS base
COPY rootfs /

FROM base AS work
RUN mkdir /out && head -c 1000000 /dev/urandom > /out/random && echo made > /out/made

FROM base
COPY --from=work /out/made /made
RUN echo ran > /ran
CMD ["cat", "/made", "/ran"]
`

// cache pushes an image with the cache of its build, and takes the cache to machines that have nothing.
func (r *trial) cache(t *testing.T) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo is not installed")
	}
	app, cache := r.host+"/built/app:1", r.host+"/built/cache:1"
	credentials := r.Path("docker/config.json")
	first := &ours{t: t, bin: r.bin, root: r.Path("first")}
	_, said, code := first.talk("build", "--push", "-t", app, "--cache-to", "type=registry,mode=max,ref="+cache, "--cache-to", "type=inline", r.context)
	if code != 0 {
		t.Fatal(said)
	}
	digest := strings.Fields(first.run("images", "--digests", "--format", "{{.Digest}}", app))[0]
	if got := r.Run("skopeo", "inspect", "--tls-verify=false", "--authfile", credentials, "--format", "{{.Digest}}", "docker://"+app); got != digest {
		t.Errorf("skopeo sees %s, not %s", got, digest)
	}
	// Other tools copy a cache as any artifact.
	r.Run("skopeo", "copy", "--src-tls-verify=false", "--src-authfile", credentials, "--dest-tls-verify=false", "--dest-authfile", credentials,
		"docker://"+cache, "docker://"+r.host+"/elsewhere/cache:copied")
	for _, from := range []string{"type=registry,ref=" + cache, app, r.host + "/elsewhere/cache:copied"} {
		other := &ours{t: t, bin: r.bin, root: filepath.Join(r.Path("others"), strings.ReplaceAll(from, "/", "_"))}
		_, said, code := other.talk("build", "--progress", "plain", "-t", "app", "--cache-from", from, r.context)
		if n := strings.Count(said, " CACHED\n"); code != 0 || n != 4 {
			t.Errorf("with the cache of %s %d of 4 steps are cached:\n%s", from, n, said)
		}
		if got := strings.Fields(other.run("images", "--digests", "--format", "{{.Digest}}", "app"))[0]; got != digest {
			t.Errorf("with the cache of %s the digest is %s, not %s", from, got, digest)
		}
		if out := other.run("fsck"); !strings.Contains(out, "no problems") {
			t.Error(out)
		}
	}
}

// TestOthersPull pulls with daemons what camada pushed.
func TestOthersPull(t *testing.T) {
	need := peers.Need(t, "busybox", "crane")
	bin := shipped(t)
	dir := system(t, need.Path("ctx"))
	write(t, dir, "Dockerfile", cachedDockerfile)
	host := need.StartRegistry()
	app := host + "/team/app:1"
	(&ours{t: t, bin: bin, root: need.Path("first")}).run("build", "-q", "--push", "-t", app, dir)
	need.Run("crane", "validate", "--insecure", "--remote", app)
	t.Run("docker", func(t *testing.T) {
		p := peers.Need(t, "dockerd", "docker", "runc")
		p.StartDocker()
		p.Run("docker", "pull", "-q", app)
		if out := p.Run("docker", "run", "--rm", "--network", "none", app); out != "made\nran" {
			t.Errorf("it prints %q", out)
		}
	})
	t.Run("buildkit", func(t *testing.T) {
		p := peers.Need(t, "buildkitd", "buildctl")
		p.StartBuildkit()
		write(t, p.Path("ctx"), "Dockerfile", "FROM "+app+"\nRUN cat /made /ran > /both\n")
		p.Run("buildctl", "build", "--frontend", "dockerfile.v0", "--local", "context="+p.Path("ctx"), "--local", "dockerfile="+p.Path("ctx"),
			"--output", "type=oci,dest="+p.Path("out.tar"))
	})
}
