package test

import (
	"encoding/base64"
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

// users is a file of htpasswd: tester, with the password "secret pass".
const users = "tester:$2y$05$abcdefghijklmnopqrstuuFzejfplTChgPyZNQOF2kNcZhBC.ObAS\n"

// TestRegistries pushes to other people's registries, pulls from them, and takes the cache to a machine that has nothing.
func TestRegistries(t *testing.T) {
	need := peers.Need(t, "busybox")
	bin := shipped(t)
	dir := system(t, need.Path("ctx"))
	write(t, dir, "Dockerfile", cachedDockerfile)
	for _, tc := range []struct{ name, program, users string }{
		{"crane", "crane", ""},
		{"distribution 2", "docker-registry", ""},
		{"distribution 3", "registry", ""},
		{"distribution 2 with credentials", "docker-registry", users},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := peers.Need(t, tc.program, "skopeo")
			var host, file string
			if tc.users != "" {
				file = p.Path("users")
				p.Write("users", tc.users)
			}
			if tc.program == "crane" {
				host = p.StartRegistry()
			} else {
				host = p.StartDistribution(tc.program, file)
			}
			t.Setenv("DOCKER_CONFIG", p.Path(""))
			t.Setenv("REGISTRY_AUTH_FILE", "")
			p.Write("config.json", `{"auths": {"`+host+`": {"auth": "`+base64.StdEncoding.EncodeToString([]byte("tester:secret pass"))+`"}}}`)
			throughRegistry(t, bin, p, host, dir)
		})
	}
}

func throughRegistry(t *testing.T, bin string, p *peers.Peers, host, dir string) {
	app, cache := host+"/team/app:1", host+"/team/cache:1"
	first := &ours{t: t, bin: bin, root: p.Path("first")}
	_, said, code := first.talk("build", "--push", "-t", app, "--cache-to", "type=registry,mode=max,ref="+cache, "--cache-to", "type=inline",
		"--metadata-file", p.Path("meta"), dir)
	if code != 0 {
		t.Fatal(said)
	}
	digest := strings.Fields(first.run("images", "--digests", "--format", "{{.Digest}}", app))[0]
	got := p.Run("skopeo", "inspect", "--tls-verify=false", "--authfile", p.Path("config.json"), "--format", "{{.Digest}}", "docker://"+app)
	if got != digest {
		t.Errorf("skopeo sees %s, not %s", got, digest)
	}
	p.Run("skopeo", "copy", "--src-tls-verify=false", "--src-authfile", p.Path("config.json"), "docker://"+app, "oci:"+p.Path("copied")+":app")
	// Other tools copy a cache as any artifact.
	p.Run("skopeo", "copy", "--src-tls-verify=false", "--src-authfile", p.Path("config.json"), "--dest-tls-verify=false", "--dest-authfile", p.Path("config.json"),
		"docker://"+cache, "docker://"+host+"/elsewhere/cache:copied")
	for _, from := range []string{"type=registry,ref=" + cache, app, host + "/elsewhere/cache:copied"} {
		other := &ours{t: t, bin: bin, root: filepath.Join(p.Path("others"), strings.ReplaceAll(from, "/", "_"))}
		_, said, code := other.talk("build", "--progress", "plain", "-t", "app", "--cache-from", from, dir)
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
	last := &ours{t: t, bin: bin, root: p.Path("last")}
	last.run("pull", "-q", app)
	if out := last.run("run", "--rm", "--network", "none", app); out != "made\nran" {
		t.Errorf("the pulled image prints %q", out)
	}
	if _, said, code := last.talk("pull", host+"/team/none:1"); code == 0 || !strings.Contains(said, host) {
		t.Errorf("what is not there: %d, %s", code, said)
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
